"""The reader of the sample contract (`eo_data.dataset.contract`): where a sample's pixels lie, and which saw data."""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
import torch
import torch.nn.functional as F
from affine import Affine
from rasterio.errors import RasterioError
from shapely.geometry.base import BaseGeometry

from eo_core.addresses import without_credentials
from eo_data.catalog.hrefs import Href
from eo_data.raster.areas import covered_area
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.ground import ground_pixel_area
from eo_data.raster.raster import scaled, shifted, to_map
from eo_data.readers.formats.geotiff import open_dataset

_BYTES_BESIDE = 4000
_ISO = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")


@dataclass(frozen=True, eq=False)
class SampleGrid:
    """Georeference of one sample's pixels, as the encoder got them.

    Parameters
    ----------
    id : str
        Id of the sample.
    sources : tuple of str
        Files of the input.
    transform : affine.Affine or None
        From (column, row) of the pixels to map coordinates.
    crs : str or None
        WKT.
    valid : ndarray
        Bool ``(H, W)``: pixels that were observed.
    dates : tuple of date
        Acquisition dates.
    core : tuple of float
        Top, left, bottom and right of the part that a tile stands for, as shares (0..1) of its side; by default the
        whole.
    raster_id : str
        Id of the raster that a tile is of.
    raster : PixelGrid or None
        Grid of that raster, in pixels before preprocessing; ``None`` of a whole sample.
    raster_core : tuple of int or None
        Top, left, bottom and right of what a tile stands for, in pixels of the raster.
    to_input : affine.Affine or None
        From (column, row) of the pixels to those of the input before preprocessing; ``None`` if it is not known.
    input_shape : tuple of int or None
        Rows and columns of the input.
    inputs : mapping or None
        State of all files that were read and of the stated dates, see `eo_data.dataset.sample_reader.Inputs.state`;
        ``None`` if the data module does not tell.
    region : shapely geometry or None
        What of the ground is meant, in the CRS; ``None`` for all of it.
    notes : tuple of str
        What a user must know of how its images were chosen.
    blended : tuple of float or None
        As ``core``, of what is blended with the tiles around; ``None`` where cores are put side by side.
    plane : int
        Which of four planes a blended tile is of; those of one plane do not overlap.
    """

    id: str
    sources: tuple[str, ...]
    transform: Affine | None
    crs: str | None
    valid: np.ndarray
    dates: tuple[date, ...]
    core: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    raster_id: str = ""
    raster: PixelGrid | None = None
    raster_core: tuple[int, int, int, int] | None = None
    to_input: Affine | None = None
    input_shape: tuple[int, int] | None = None
    inputs: Mapping[str, Any] | None = None
    region: BaseGeometry | None = None
    notes: tuple[str, ...] = ()
    blended: tuple[float, float, float, float] | None = None
    plane: int = 0

    def cells(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns of a grid of ``shape`` cells that the sample stands for; all but for a tile."""
        return _cells(self.core, shape)

    def kept_cells(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Rows and columns that are kept of a grid of ``shape`` cells: `cells`, and those that are blended."""
        return _cells(self.blended or self.core, shape)

    def of_cells(self, shape: tuple[int, int], first: tuple[int, int] = (0, 0)) -> Affine | None:
        """Transform of a grid of ``shape`` cells over the same ground, from its row and column ``first`` on."""
        if self.transform is None:
            return None
        height, width = self.valid.shape
        cells = scaled(self.transform, width / shape[1], height / shape[0])
        return shifted(cells, first[1], first[0])

    def valid_share(self, shape: tuple[int, int]) -> np.ndarray:
        """Share of observed pixels per cell, float32 ``(h, w)``."""
        if self.valid.all():
            return np.ones(shape, np.float32)
        observed = torch.from_numpy(self.valid.astype(np.float32))[None, None]
        return F.adaptive_avg_pool2d(observed, shape)[0, 0].numpy()

    def covered_share(self, shape: tuple[int, int], own: tuple[slice, slice] | None = None) -> np.ndarray | None:
        """Share of each cell that lies in the region, float64 ``(h, w)``; ``None`` where all of the ground is meant.

        Of a tile, the cells ``own`` count, by default those that it stands for: those around them are of other tiles.
        """
        cells = self.of_cells(shape)
        if self.region is None or cells is None:
            return None
        own = own or self.cells(shape)
        covered = np.zeros(shape)
        covered[own] = covered_area(self.region, cells, shape)[own]
        return covered

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory it takes: its mask, and a few thousand for all else."""
        return self.valid.nbytes + _BYTES_BESIDE

    @property
    def is_blank(self) -> bool:
        """Whether nothing was observed of what the sample stands for, or nothing of that is meant."""
        height, width = self.valid.shape
        rows, columns = self.cells((height, width))
        if not self.valid[rows, columns].any():
            return True
        if self.region is None or self.transform is None:
            return False
        corners = ((columns.start, rows.start), (columns.stop, rows.start), (columns.stop, rows.stop))
        ring = [to_map(self.transform, *corner) for corner in (*corners, (columns.start, rows.stop))]
        return not shapely.Polygon(ring).intersection(self.region).area

    @functools.cached_property
    def area(self) -> float:
        """Ground of the sample in square metres, of a tile what it stands for; 0 without a georeference."""
        if self.transform is None or not self.crs:
            return 0.0
        height, width = self.valid.shape
        top, left, bottom, right = self.core
        pixel = ground_pixel_area(self.transform, self.crs, height, width)
        return pixel * height * width * (bottom - top) * (right - left)


def sample_grids(batch: Mapping[str, Any], size: tuple[int, int], root: Path | None = None) -> list[SampleGrid]:
    """Read the georeference of every sample of a batch.

    Our data modules state all of it. For others, ``bounds`` and ``crs`` are used where they are there; else the file
    that ``filename`` names is opened, and its georeference counts if it has the size of the image.

    Parameters
    ----------
    batch : mapping
        What a data loader yields, with the keys of `eo_data.dataset.contract.SampleEntry`.
    size : tuple of int
        Rows and columns of the image in pixels.
    root : Path, optional
        Folder that ids are relative to, for data modules that give no ids.

    Raises
    ------
    ValueError
        If the batch does not name its samples.
    """
    names = _names(batch)
    return [
        SampleGrid(
            _text(batch.get("id"), i) or _relative(without_credentials(name), root),
            tuple(_text(batch.get("sources"), i).split("\n")) if "sources" in batch else (without_credentials(name),),
            *_georeference(batch, i, size, name),
            _valid(batch, i, size),
            _dates(batch, i),
            *_part(batch, i),
            *_raster(batch, i),
            *_input(batch, i),
            json.loads(batch["inputs"][i]) if "inputs" in batch else None,
            shapely.from_wkt(_text(batch.get("region"), i)) if _text(batch.get("region"), i) else None,
            tuple(_text(batch.get("notes"), i).splitlines()),
            *_blended(batch, i),
        )
        for i, name in enumerate(names)
    ]


def hide_no_data(sample: SampleGrid) -> SampleGrid:
    """Return a sample of a data module that tells no ``valid`` pixels: those with data in any band of its file.

    As for the georeference, the file counts if it has the size of the image.

    Parameters
    ----------
    sample : SampleGrid
        With the file as its first source.
    """
    try:
        with open_dataset(Href(sample.sources[0])) as file:
            if file.shape != sample.valid.shape:
                return sample
            return replace(sample, valid=sample.valid & (file.dataset_mask() > 0))
    except RasterioError:
        return sample


def on_input_grid(bands: np.ndarray, place: SampleGrid) -> tuple[np.ndarray, Affine | None]:
    """Bring a map from the encoder's pixels to those of the input, by nearest neighbour.

    Parameters
    ----------
    bands : ndarray, (C, H, W)
        On the pixels that the encoder saw.
    place : SampleGrid
        Where these lie. Where it does not say what became of the input, nothing changes.

    Returns
    -------
    ndarray, affine.Affine or None
        ``(C, h, w)``: the pixels of the input whose centre the encoder saw, and their transform.
    """
    way, shape = place.to_input, place.input_shape
    if way is None or shape is None or way.b or way.d or min(way.a, way.e) <= 0:
        return bands, place.transform
    rows = _seen_pixels(way.f, way.e, bands.shape[-2], shape[0])
    columns = _seen_pixels(way.c, way.a, bands.shape[-1], shape[1])
    own_rows = np.minimum((rows + 0.5 - way.f) / way.e, bands.shape[-2] - 1).astype(np.int64)
    own_columns = np.minimum((columns + 0.5 - way.c) / way.a, bands.shape[-1] - 1).astype(np.int64)
    first = shifted(place.transform, (columns[0] - way.c) / way.a, (rows[0] - way.f) / way.e)
    return bands[:, own_rows[:, None], own_columns], scaled(first, 1 / way.a, 1 / way.e)


def _seen_pixels(start: float, step: float, count: int, of: int) -> np.ndarray:
    """Return which of the ``of`` pixels of the input have their centre in ``count`` pixels of size ``step``."""
    centres = np.arange(of) + 0.5
    return np.flatnonzero((centres >= start) & (centres < start + step * count))


def _part(batch: Mapping[str, Any], index: int) -> tuple[tuple[float, float, float, float], str]:
    if "core" not in batch:
        return (0.0, 0.0, 1.0, 1.0), ""
    top, left, bottom, right = _numbers(batch["core"][index])
    return (top, left, bottom, right), str(batch["raster_id"][index])


def _cells(part: tuple[float, float, float, float], shape: tuple[int, int]) -> tuple[slice, slice]:
    top, left, bottom, right = part
    rows, columns = shape
    last = (min(rows, math.ceil(bottom * rows - 1e-6)), min(columns, math.ceil(right * columns - 1e-6)))
    return slice(round(top * rows), last[0]), slice(round(left * columns), last[1])


def _blended(batch: Mapping[str, Any], index: int) -> tuple[tuple[float, float, float, float] | None, int]:
    if "blended" not in batch:
        return None, 0
    top, left, bottom, right = (float(value) for value in batch["blended"][index])
    return (top, left, bottom, right), int(batch["plane"][index])


def _raster(batch: Mapping[str, Any], index: int) -> tuple[PixelGrid | None, tuple[int, int, int, int] | None]:
    if "raster_core" not in batch:
        return None, None
    height, width = (int(value) for value in batch["raster_hw"][index])
    transform = None
    if "raster_geotransform" in batch:
        transform = Affine.from_gdal(*_numbers(batch["raster_geotransform"][index]))
    crs = _text(batch.get("crs"), index) or None
    top, left, bottom, right = (int(value) for value in batch["raster_core"][index])
    return PixelGrid(height, width, transform, crs), (top, left, bottom, right)


def _input(batch: Mapping[str, Any], index: int) -> tuple[Affine | None, tuple[int, int] | None]:
    if "to_input" not in batch:
        return None, None
    rows, columns = (int(value) for value in batch["input_shape"][index])
    return Affine.from_gdal(*_numbers(batch["to_input"][index])), (rows, columns)


def _names(batch: Mapping[str, Any]) -> list[str]:
    names = batch.get("filename")
    if isinstance(names, Mapping):
        names = next(iter(names.values()))
    if names is None or isinstance(names, str):
        msg = (
            "The batch has no list of file names under 'filename', by which exports are named. Use a data module that "
            "has (eo_data.datamodules, TerraTorch's generic ones)."
        )
        raise ValueError(msg)
    return [str(name) for name in names]


def _numbers(values: torch.Tensor | Sequence[float]) -> list[float]:
    return torch.as_tensor(values, dtype=torch.float64).tolist()


def _text(values: Any, index: int) -> str:  # noqa: ANN401
    return str(values[index]) if values is not None else ""


def _relative(name: str, root: Path | None) -> str:
    path = Path(name)
    if root is not None and path.is_relative_to(root):
        path = path.relative_to(root)
    elif path.is_absolute():
        path = path.relative_to(path.anchor)
    return path.with_suffix("").as_posix()


def _georeference(
    batch: Mapping[str, Any], index: int, size: tuple[int, int], name: str
) -> tuple[Affine | None, str | None]:
    """Transform and CRS: of the batch, or of the file if it has the size of the image."""
    crs = _text(batch.get("crs"), index) or None
    if "geotransform" in batch:
        return Affine.from_gdal(*_numbers(batch["geotransform"][index])), crs
    if "bounds" in batch:
        left, bottom, right, top = _numbers(batch["bounds"][index])
        return rasterio.transform.from_bounds(left, bottom, right, top, size[1], size[0]), crs
    try:
        with open_dataset(Href(name)) as file:
            if file.crs is None or file.shape != size:
                return None, None
            return file.transform, file.crs.to_wkt()
    except RasterioError:
        return None, None


def _valid(batch: Mapping[str, Any], index: int, size: tuple[int, int]) -> np.ndarray:
    given = batch.get("valid")
    return np.ones(size, dtype=bool) if given is None else given[index].cpu().numpy().astype(bool)


def _dates(batch: Mapping[str, Any], index: int) -> tuple[date, ...]:
    found = {date.fromisoformat(text) for text in _ISO.findall(_text(batch.get("acquired"), index))}
    return tuple(sorted(found))


def image_size(image: torch.Tensor | Mapping[str, torch.Tensor]) -> tuple[int, int]:
    """Return rows and columns of an image in pixels; of several, those of the first."""
    if isinstance(image, Mapping):
        image = next(value for value in image.values() if value.ndim >= 4)
    return int(image.shape[-2]), int(image.shape[-1])
