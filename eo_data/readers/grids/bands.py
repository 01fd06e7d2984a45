"""A band that is wanted: where it is, what its numbers are before they are converted, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.facts import BandFacts, OpenLayer, Part
from eo_data.readers.formats.file_raster import BandOrigin, is_quality_layer
from eo_data.readers.grids.regrid import needed_part
from eo_data.sensors.beside import Sidecar
from eo_data.sensors.units import InputUnit


@dataclass(frozen=True, eq=False)
class WantedBand:
    """A band that is wanted, and where it is.

    Parameters
    ----------
    name : str
        As the source calls it.
    href : Href
        Its file.
    layer : OpenLayer
        Of the open file.
    position : int
        Of the band in the layer.
    beside : Sidecar, optional
        What a catalogue says of the file.
    """

    name: str
    href: Href
    layer: OpenLayer
    position: int
    beside: Sidecar | None = None

    @property
    def facts(self) -> BandFacts:
        """What the file says of it."""
        return self.layer.facts.bands[self.position]

    def decodes(self, source: ImageSource) -> bool:
        """Whether the numbers become values when they are read: CF says that packed ones stand for values."""
        packed = self.layer.facts.packing == "cf" and self.facts.is_scaled and source.file_scaling == "check"
        return packed and source.unit is not InputUnit.DIGITAL_NUMBER and not is_quality_layer(self.name, source)

    def origin(self, source: ImageSource) -> BandOrigin:
        """Return where the values come from, as they are after decoding."""
        facts = replace(self.facts, scale=None, offset=None) if self.decodes(source) else self.facts
        return BandOrigin(self.href, self.position, facts, self.beside)


def decoded(pixels: np.ndarray, group: Sequence[WantedBand], source: ImageSource) -> np.ndarray:
    """Turn the packed numbers of bands ``(..., C, H, W)`` into values, in place, as CF has it; others stay."""
    for i, band in enumerate(group):
        if band.decodes(source):
            plane = pixels[..., i, :, :]
            plane *= np.float32(band.facts.scale)
            plane += np.float32(band.facts.offset)
            if source.nodata is not None:
                plane[plane == np.float32(source.nodata)] = np.nan
    return pixels


def memory_of(bands: Sequence[WantedBand], grid: PixelGrid, part: Part, side: int) -> int:
    """Return the bytes that reading bands takes: as stored and as float32, and what they come to on the grid."""
    count = 0
    for band in bands:
        facts = band.layer.facts
        size, own = np.dtype(facts.bands[band.position].dtype).itemsize, facts.grid
        there = part
        if own != grid and own.transform is not None and grid.transform is not None:
            target = grid.window(part.top, part.left, part.height, part.width)
            there = needed_part(own, target, "cubic") or part
        here = max(part.height * part.width, side * side)
        count += (facts.frames or 1) * (
            there.height * there.width * (size + 4) + 4 * here * (there is not part or bool(side))
        )
    return count
