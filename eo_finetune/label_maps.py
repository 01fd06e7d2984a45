"""Predictions on the map: a GeoTIFF per sample, or per raster that was predicted by tiles; a table of classes."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from affine import Affine
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from rasterio.errors import RasterioError
from rasterio.windows import Window

from eo_core.files import atomic_path, partial_path, put_in_place
from eo_data.catalog.hrefs import Href
from eo_data.dataset.consistency import accepts_extra_keywords
from eo_data.dataset.contract import METADATA_KEYS
from eo_data.dataset.sample_grid import SampleGrid, sample_grids
from eo_data.raster.georeference import PixelGrid, place_of_tile
from eo_data.raster.raster import scaled, shifted
from eo_data.readers.formats.geotiff import open_dataset
from eo_finetune.guard import guard

#: No-data of class maps, TerraTorch's ignored class; maps of numbers have NaN.
NO_CLASS = -1
#: TerraTorch's own writer, which this one replaces.
_STOCK_WRITER = "CustomWriter"


class LabelMapWriter(BasePredictionWriter):
    """Write what a TerraTorch task predicts, on those pixels of the input that the encoder saw.

    It replaces TerraTorch's writer. Unlike that one, it knows where the cropped, padded or resampled pixels of the
    encoder lie: a map has the input's own pixels, without those that were cropped off or added as a border, and where
    the encoder saw larger or smaller ones, each has the value of the one that its centre lies in. It hides only pixels
    that were not observed, not those where one band holds the no-data value; keeps folders in names; and puts the tiles
    of a raster (``tile`` of the data module) together without holding the raster in memory.

    Class maps are int16 with -1 for no data, other maps float32 with NaN. A class per sample goes to
    ``predictions.csv``.

    Parameters
    ----------
    folder : str, optional
        Where to write; ``--predict_output_dir`` by default, or else ``maps`` in the trainer's ``default_root_dir``.
    """

    #: Data modules of `eo_data` ask for this before they hand on a georeference that a model does not take.
    keeps_georeference = True

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the place of TerraTorch's writer."""
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        stated = self.folder or getattr(trainer, "predict_output_dir", None)
        self._out = Path(stated) if stated else Path(trainer.default_root_dir) / "maps"
        self._rows: list[tuple[str, ...]] = []
        self._kept: dict[str, Any] = {}
        self._rasters: dict[Path, _Raster] = {}
        others = [c for c in trainer.callbacks if type(c).__name__ != _STOCK_WRITER]  # type: ignore[attr-defined]
        trainer.callbacks = others  # type: ignore[attr-defined]
        guard(trainer, pl_module)

    def on_predict_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Take the georeference out of a batch for a model that takes only images (a U-Net)."""
        taken = not accepts_extra_keywords(pl_module)
        self._kept = {key: batch.pop(key) for key in METADATA_KEYS if taken and key in batch}

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,  # noqa: ANN401
        batch_indices: Sequence[int] | None,
        batch: Mapping[str, Any],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write the predictions of a batch.

        Raises
        ------
        ValueError
            If a prediction has another size than its image, or tiles of one raster were resampled or are predicted
            by several processes.
        """
        if prediction is None:
            return
        batch = {**batch, **self._kept}
        names = getattr(pl_module, "hparams", {}).get("class_names")
        root = getattr(getattr(trainer, "datamodule", None), "root", None)
        for values, suffix in _outputs(prediction):
            located = sample_grids(batch, _size(batch["image"]), root)
            dtype = torch.float32 if values.is_floating_point() else torch.int16
            for own, place in zip(values.detach().to("cpu", dtype).numpy(), located, strict=True):
                if own.ndim < 2:
                    self._rows.append(_row(place.id, own, names))
                elif place.raster_id:
                    if trainer.world_size > 1:
                        msg = "Tiles of a raster can be put together by one process only. Set trainer.devices: 1."
                        raise ValueError(msg)
                    self._raster(place, suffix, batch, own, names).write(own, place)
                else:
                    write_map(self._out / f"{place.id}_{suffix}.tif", own, place, names)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish rasters and the table."""
        for raster in self._rasters.values():
            raster.finish()
        if self._rows:
            rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
            with (
                atomic_path(self._out / f"predictions{rank}.csv") as partial,
                partial.open("w", newline="", encoding="utf-8") as file,
            ):
                csv.writer(file).writerows([("id", "prediction", "name"), *self._rows])
        rank_zero_info("Predictions are in %s", self._out)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove rasters that are not finished."""
        for raster in getattr(self, "_rasters", {}).values():
            raster.discard()

    def _raster(
        self, place: SampleGrid, suffix: str, batch: Mapping[str, Any], own: np.ndarray, names: Sequence[str] | None
    ) -> _Raster:
        path = self._out / f"{place.raster_id}_{suffix}.tif"
        if path not in self._rasters:
            height, width = (int(side) for side in batch["raster_hw"][0])
            given = batch.get("raster_geotransform")
            whole = None if given is None else Affine.from_gdal(*(float(value) for value in given[0]))
            self._rasters[path] = _Raster(path, place, (height, width), own, names, whole)
        return self._rasters[path]


def write_map(path: Path, values: np.ndarray, place: SampleGrid, class_names: Sequence[str] | None = None) -> None:
    """Write one map ``(H, W)`` or ``(C, H, W)``, whole or not at all.

    Raises
    ------
    ValueError
        If it has another size than its image.
    """
    bands, transform = on_input_grid(_masked(values, place), place)
    with atomic_path(path) as partial:
        _write(partial, bands, transform, place.crs, class_names)


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


class _Raster:
    """One map of a raster that is predicted by tiles, written window by window."""

    def __init__(
        self,
        path: Path,
        place: SampleGrid,
        size: tuple[int, int],
        values: np.ndarray,
        class_names: Sequence[str] | None,
        whole: Affine | None = None,
    ) -> None:
        self._path = path
        self._partial = partial_path(path)
        try:
            with open_dataset(Href(place.sources[0])) as source:
                self._transform: Affine = source.transform
                shape, crs = source.shape, source.crs
        except RasterioError as error:
            msg = f"The raster {place.sources[0]} that the tile {place.id} is of cannot be read: {error}."
            raise ValueError(msg) from error
        if whole is not None and not math.isclose(abs(whole.a), abs(self._transform.a), rel_tol=1e-6):
            self._transform, shape, crs = whole, size, place.crs  # read at another pixel size (resample_to)
        if shape != size:
            msg = f"The tile {place.id} is of a raster of {size} pixels, but {place.sources[0]} has {shape}."
            raise ValueError(msg)
        bands = _bands(values)
        self._file = rasterio.open(
            self._partial,
            "w",
            driver="GTiff",
            width=size[1],
            height=size[0],
            count=len(bands),
            dtype=bands.dtype,
            nodata=_no_data(bands),
            crs=crs,
            transform=self._transform,
            tiled=True,
            blockxsize=256,
            blockysize=256,
            compress="deflate",
            bigtiff="if_safer",
        )
        self._file.update_tags(**_class_tags(bands, class_names))

    def write(self, values: np.ndarray, place: SampleGrid) -> None:
        """Write the part of a tile that it stands for."""
        masked = _masked(values, place)
        rows, columns = place.cells(masked.shape[-2:])
        transform, whole = place.transform, self._transform
        if transform is None:
            msg = (
                f"The tile {place.id} has no georeference, so its place in {place.sources[0]} is not known. Give the "
                "raster an affine transform, or predict it in one piece (tile: null)."
            )
            raise ValueError(msg)
        # Without the CRS: a tile has that of its raster.
        height, width = masked.shape[-2:]
        raster = PixelGrid(self._file.height, self._file.width, whole, None)
        corner = place_of_tile(PixelGrid(height, width, transform, None), raster)
        if corner is None:
            msg = (
                f"The tile {place.id} was resampled: its pixels are {transform.a} wide, those of the raster "
                f"{whole.a}; it begins at ({transform.c}, {transform.f}), the raster at ({whole.c}, {whole.f}). Keep "
                "the pixels (image_size: null; a native side that holds the tile)."
            )
            raise ValueError(msg)
        top, left = corner[0] + rows.start, corner[1] + columns.start
        height = min(rows.stop - rows.start, self._file.height - top)
        width = min(columns.stop - columns.start, self._file.width - left)
        part = masked[:, rows.start : rows.start + height, columns.start : columns.start + width]
        self._file.write(part, window=Window(left, top, width, height))

    def finish(self) -> None:
        """Close the file and give it its name."""
        self._file.close()
        put_in_place(self._partial, self._path)

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._file.close()
        self._partial.unlink(missing_ok=True)


def _outputs(prediction: Any) -> Iterator[tuple[torch.Tensor, str]]:  # noqa: ANN401
    """Tensors and their suffixes in what TerraTorch's ``predict_step`` returns: ``(values, file names)``."""
    values = prediction[0] if isinstance(prediction, tuple) and not isinstance(prediction[1], str) else prediction
    for one in values if isinstance(values, list) else [values]:
        yield one if isinstance(one, tuple) else (one, "pred")


def _size(image: torch.Tensor | Mapping[str, torch.Tensor]) -> tuple[int, int]:
    if isinstance(image, Mapping):
        image = next(value for value in image.values() if value.ndim >= 4)
    return int(image.shape[-2]), int(image.shape[-1])


def _bands(values: np.ndarray) -> np.ndarray:
    """Classes as int16, numbers as float32, ``(C, H, W)``, by their type: numbers may be whole by chance."""
    dtype = np.int16 if np.issubdtype(values.dtype, np.integer) else np.float32
    return (values[None] if values.ndim == 2 else values).astype(dtype)


def _no_data(bands: np.ndarray) -> float:
    return NO_CLASS if bands.dtype == np.int16 else float("nan")


def _masked(values: np.ndarray, place: SampleGrid) -> np.ndarray:
    bands = _bands(values)
    if bands.shape[-2:] != place.valid.shape:
        msg = (
            f"The prediction for {place.id} has {bands.shape[-2:]} pixels, its image {place.valid.shape}: the model "
            "has to return one value per pixel (rescale: true in model_args)."
        )
        raise ValueError(msg)
    return np.where(place.valid, bands, np.asarray(_no_data(bands), dtype=bands.dtype))


def _write(
    path: Path, bands: np.ndarray, transform: Affine | None, crs: str | None, names: Sequence[str] | None
) -> None:
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    profile |= {"nodata": _no_data(bands), "compress": "deflate", "crs": crs}
    if transform is not None:
        profile["transform"] = transform
    with rasterio.open(path, "w", **profile) as file:
        file.write(bands)
        file.update_tags(**_class_tags(bands, names))


def _class_tags(bands: np.ndarray, names: Sequence[str] | None) -> dict[str, str]:
    """Metadata of a class map: the name of each class."""
    return {f"class_{i}": name for i, name in enumerate(names or ())} if bands.dtype == np.int16 else {}


def _row(sample: str, value: np.ndarray, names: Sequence[str] | None) -> tuple[str, ...]:
    if value.ndim == 1 and value.size > 1:
        return (sample, " ".join(f"{number:.6g}" for number in value), "")
    number = float(value.reshape(-1)[0])
    known = names is not None and number.is_integer() and 0 <= number < len(names)
    return (sample, f"{number:.9g}", names[int(number)] if known and names else "")
