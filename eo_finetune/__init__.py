"""Around TerraTorch's fit, test and predict: callbacks for pictures, tables, label maps, reproducible runs, cached features."""
