"""Arguments, configs, files and fingerprints: what every room needs, without pixels or PyTorch."""
