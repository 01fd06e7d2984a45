"""Google Earth Engine as a source of scenes, through its own client."""
