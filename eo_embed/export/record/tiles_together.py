"""Tiles that are made again because others of their raster are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from eo_embed.export.record.review import Fate
from eo_embed.writers.rasters.makers import raster_file


@dataclass(frozen=True)
class TilesTogether:
    """Which tiles are made again with others of their raster, though they are as they were.

    The file of a raster is made of all its tiles: if it has no work file any more, they are made again together. If the
    raster is another one, so are those that it does not have any more.

    Parameters
    ----------
    broken, replaced : set of str
        Rasters with tiles that are made again, and those among them that are others now.
    gone : collection of str
        Ids of tiles that are not among the samples.
    in_work : collection of str
        Files of the rasters that have a work file.
    """

    broken: set[str]
    replaced: set[str]
    gone: Collection[str]
    in_work: Collection[str]

    @classmethod
    def of(
        cls,
        unfinished: Iterable[Mapping[str, Any]],
        broken: set[str],
        in_work: Collection[str],
        seen: Mapping[Fate, Collection[str]],
    ) -> Self:
        """Return them for entries that count no more, and further rasters that are to be made again."""
        tiles = {entry["id"]: entry["raster_id"] for entry in unfinished if raster_file(entry)}
        replaced = {raster for name, raster in tiles.items() if name in seen["changed"]}
        return cls(broken | set(tiles.values()), replaced, seen["gone"], in_work)

    def again(self, entry: Mapping[str, Any]) -> bool:
        """Tell whether an item is one of them."""
        file, raster = raster_file(entry), entry.get("raster_id")
        lost = raster in self.broken and file not in self.in_work
        return file is not None and (lost or (raster in self.replaced and entry["id"] in self.gone))
