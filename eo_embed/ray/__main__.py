"""``python -m eo_embed.ray``."""

from eo_embed.ray.command import main

if __name__ == "__main__":
    main()
