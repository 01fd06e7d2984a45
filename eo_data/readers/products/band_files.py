"""Bands of a product of which each lies in a raster of its own: opened when pixels are read, and only those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import compare_grids
from eo_data.readers.formats.facts import FileFacts, OpenLayer, Part, mark_missing
from eo_data.readers.formats.file_raster import reading_errors
from eo_data.readers.formats.geotiff import open_raster
from eo_data.readers.formats.limits import check_file
from eo_data.readers.grids.differences import difference, size_of_pixels
from eo_data.sensors.tables import SENSORS


def wanted_bands(source: ImageSource | None, sensor: str) -> set[str]:
    """Return what a source wants of a product: canonical names of bands, other names as they are, its quality layer."""
    if source is None:
        return set()
    names = [source.substitutes.get(band, band) for band in source.bands]
    layer = [] if source.cloud_band is None else [source.cloud_band]
    return {SENSORS[sensor].canonical(name) or name for name in (*names, *layer)}


@dataclass(frozen=True)
class BandFile:
    """Where one band is.

    Parameters
    ----------
    href : Href
        The raster.
    position : int
        Its place in the raster, counted from 0.
    """

    href: Href
    position: int = 0


@dataclass(frozen=True, eq=False)
class BandFiles:
    """Bands of a product that lie on one grid; see `eo_data.readers.formats.facts.OpenLayer`.

    Parameters
    ----------
    facts : FileFacts
        What the product says of them.
    files : tuple of BandFile
        Where each is.
    driver : str
        GDAL's driver for these rasters, or how the names of several begin.
    """

    facts: FileFacts
    files: tuple[BandFile, ...]
    driver: str

    def stored(
        self,
        bands: Sequence[int],
        part: Part,
        *,
        nodata: float | None = None,
        alpha: bool = True,
        dtype: type = np.float32,
    ) -> np.ndarray:
        """Read bands as stored.

        Raises
        ------
        SampleError
            With the name of the raster, if it cannot be read or lies elsewhere than the product says.
        """
        planes = []
        for i in bands:
            href, position = self.files[i].href, self.files[i].position
            with reading_errors(href):
                check_file(href)
                with open_raster(href) as (raster,):
                    self._refuse_another(raster, position)
                    (plane,) = raster.stored([position], part, nodata=nodata, alpha=alpha, dtype=dtype)
                mark_missing(plane, plane, self.facts.bands[i], nodata)
            planes.append(plane)
        return np.stack(planes)

    def _refuse_another(self, raster: OpenLayer, position: int) -> None:
        """Refuse a raster of another kind, or on another grid, than the product says."""
        own, said = raster.facts.grid, self.facts.grid
        if not raster.facts.kind.startswith(self.driver):
            msg = f"it is a raster of the kind {raster.facts.kind}, expected {self.driver}."
        elif position >= len(raster.facts.bands):
            msg = f"it has {len(raster.facts.bands)} bands, expected at least {position + 1}."
        elif not compare_grids(own, said).same_grid():
            msg = (
                f"it has {own.height} x {own.width} pixels{size_of_pixels(own)}, by the metadata of its product "
                f"{said.height} x {said.width}{size_of_pixels(said)}; {difference(said, own)}."
            )
        else:
            return
        msg += " Download or unpack the product again."
        raise ValueError(msg)
