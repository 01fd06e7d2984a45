"""``python -m eo_models.export``."""

from eo_models.export.command import main

if __name__ == "__main__":
    main()
