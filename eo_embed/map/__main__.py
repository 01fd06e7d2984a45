"""``python -m eo_embed.map``."""

from eo_embed.map.command import main

if __name__ == "__main__":
    main()
