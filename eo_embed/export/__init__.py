"""The run of an export and its folder."""
