"""RGB pictures of the sources of embeddings, cut to the ground of the embedding."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import rasterio
import yaml
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.windows import Window

from eo_data.dataset.plots import rgb_indices, stretched
from eo_data.raster.georeference import same_crs
from eo_embed.export.record.manifest import read_manifest
from eo_embed.writers.layout import MANIFEST

if TYPE_CHECKING:
    from eo_data.dataset.dataset import EoDataset

#: Longest side of a picture in pixels; larger sources are read at lower resolution.
_LONGEST_SIDE = 1024


@dataclass(frozen=True)
class Ground:
    """Where a grid lies.

    Parameters
    ----------
    transform : affine.Affine
        From (column, row) to map coordinates.
    crs : str or None
        WKT.
    height, width : int
        Size of the grid in cells.
    """

    transform: Affine
    crs: str | None
    height: int
    width: int

    def in_pixels(self, transform: Affine, crs: str | None) -> tuple[int, int, int, int] | None:
        """Return top, left, bottom and right of this ground in the pixels of a raster; they may lie outside of it.

        ``None`` if it cannot be said without resampling: without georeference, in another CRS, or if the raster or
        this is rotated.
        """
        both = (self.transform, transform)
        if self.crs is None or crs is None or any(t.b or t.d for t in both) or not same_crs(self.crs, crs):
            return None
        xs = [(self.transform.c + x * self.transform.a - transform.c) / transform.a for x in (0, self.width)]
        ys = [(self.transform.f + y * self.transform.e - transform.f) / transform.e for y in (0, self.height)]
        return round(min(ys)), round(min(xs)), round(max(ys)), round(max(xs))


class QuickLooks:
    """Pictures of sources.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    config : str or Path, optional
        A TerraTorch config whose data module reads the sources. Without, GDAL reads the files.
    root : str or Path, optional
        Folder of the data set, which manifests name by its last part only; by default what the config of the export
        says, from here on.

    Raises
    ------
    ValueError
        If the config has no data module of ours.
    """

    def __init__(self, folder: Path, config: str | Path | None = None, root: str | Path | None = None) -> None:
        self._root = _stated_root(folder) if root is None else Path(root)
        self._dataset: EoDataset | None = None
        self._index: dict[str, int] = {}
        if config is not None:
            from eo_data.inspect import load_splits  # noqa: PLC0415  (imports PyTorch)

            self._dataset = dataset = load_splits([config]).dataset("predict")
            self._index = {record.id: i for i, record in enumerate(dataset.records)}

    def of(self, name: str, sources: Sequence[str], ground: Ground) -> np.ndarray | None:
        """Return float32 ``(h, w, 3)`` in 0..1, or ``None`` if no source can be read.

        Parameters
        ----------
        name : str
            Id of the embedding.
        sources : sequence of str
            Its files, absolute, or relative to here or to the root of the data.
        ground : Ground
            What the picture shall show; what lies outside of the source is white.
        """
        if self._dataset is not None:
            return self._of_sample(self._dataset, name, ground)
        files = [file for file in map(self._found, sources) if file is not None]
        looks = [look for look in (_of_file(file, ground) for file in files) if look is not None]
        return next((look for look in looks if not _is_grey(look)), looks[0] if looks else None)

    def _found(self, source: str) -> Path | None:
        candidates = [Path(source)] + ([self._root / source] if self._root else [])
        return next((path for path in candidates if path.is_file()), None)

    def _of_sample(self, dataset: EoDataset, name: str, ground: Ground) -> np.ndarray | None:
        if name not in self._index:
            return None
        images = dataset.read(self._index[name]).images.values()
        image = next((image for image in images if len(rgb_indices(image.bands)) == 3), next(iter(images)))
        raster = image.raster
        pixels, valid = raster.pixels, raster.valid
        if image.is_series:
            clearest = int(valid.mean(axis=(1, 2)).argmax())
            pixels = pixels[clearest]
        shown = pixels[rgb_indices(image.bands)]
        window = None if raster.transform is None else ground.in_pixels(raster.transform, raster.crs)
        return stretched(shown if window is None else _cut(shown, window))


def _stated_root(folder: Path) -> Path | None:
    """Return the folder of the data set as far as the manifest of an export tells it."""
    if not (folder / MANIFEST).is_file():
        return None
    provenance = read_manifest(folder).content["provenance"]
    content = yaml.safe_load(provenance.get("config") or "")
    for key in ("data", "init_args", "root"):
        content = content.get(key) if isinstance(content, dict) else None
    stated = content or provenance.get("root")
    return Path(stated) if isinstance(stated, str) else None


def _cut(pixels: np.ndarray, window: tuple[int, int, int, int]) -> np.ndarray:
    """Cut ``(C, H, W)`` to a window that may reach over the edges, where it is NaN."""
    top, left, bottom, right = window
    canvas = np.full((len(pixels), max(bottom - top, 1), max(right - left, 1)), np.nan, dtype=np.float32)
    inside = pixels[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    row, column = max(-top, 0), max(-left, 0)
    canvas[:, row : row + inside.shape[1], column : column + inside.shape[2]] = inside
    return canvas


def _of_file(path: Path, ground: Ground) -> np.ndarray | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            file = rasterio.open(path)
        with file:
            window = ground.in_pixels(file.transform, file.crs.to_wkt() if file.crs else None)
            indexes = [i + 1 for i in _rgb(file.descriptions)]
            return stretched(_read(file, indexes, window or (0, 0, file.height, file.width)))
    except RasterioError:
        return None  # a picture without its source is still a picture


def _rgb(descriptions: Sequence[str | None]) -> list[int]:
    """Bands that are called red, green and blue; else those that a sensor knows as such, else the first three."""
    names = [(name or f"band {i + 1}").strip() for i, name in enumerate(descriptions)]
    upper = [name.upper() for name in names]
    if all(name in upper for name in ("RED", "GREEN", "BLUE")):
        return [upper.index(name) for name in ("RED", "GREEN", "BLUE")]
    return rgb_indices(names)


def _read(file: DatasetReader, indexes: Sequence[int], window: tuple[int, int, int, int]) -> np.ndarray:
    """Read a window, which may reach over the edges, at no more pixels than a picture needs."""
    top, left, bottom, right = window
    step = max(1, math.ceil(max(bottom - top, right - left) / _LONGEST_SIDE))
    rows, columns = (max(top, 0), min(bottom, file.height)), (max(left, 0), min(right, file.width))
    shape = tuple(math.ceil((stop - start) / step) for start, stop in (rows, columns))
    whole = tuple(-(-value // step) for value in (bottom - top, right - left))
    canvas = np.full((len(indexes), *whole), np.nan, dtype=np.float32)
    if min(shape) < 1:
        return canvas
    read = file.read(
        list(indexes), window=Window.from_slices(rows, columns), out_shape=(len(indexes), *shape), masked=True
    )
    part = read.astype(np.float32).filled(np.nan)
    row, column = (rows[0] - top) // step, (columns[0] - left) // step
    fits = part[:, : whole[0] - row, : whole[1] - column]
    canvas[:, row : row + fits.shape[1], column : column + fits.shape[2]] = fits
    return canvas


def _is_grey(look: np.ndarray) -> bool:
    return bool(np.array_equal(look[..., 0], look[..., 1]) and np.array_equal(look[..., 0], look[..., 2]))
