"""``python -m eo_embed.pictures``."""

from eo_embed.pictures.command import main

if __name__ == "__main__":
    main()
