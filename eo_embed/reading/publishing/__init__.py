"""Finished exports in the forms that others read: a Zarr store of the embeddings convention, COGs, GeoParquet, STAC."""
