"""Predictions on the map: a GeoTIFF per sample, or per raster that was predicted by tiles; a table of classes."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from affine import Affine
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from lightning.pytorch.utilities import rank_zero_info
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from eo_core.files import remove_partials, write_text
from eo_core.locks import FolderLock
from eo_core.paths import path_of_name
from eo_data.dataset.consistency import accepts_extra_keywords
from eo_data.dataset.contract import METADATA_KEYS
from eo_data.dataset.sample_grid import SampleGrid, hide_no_data, on_input_grid, sample_grids
from eo_data.raster.georeference import PixelGrid, compare_grids, place_of_tile
from eo_data.raster.geotiff_output import GeotiffInParts, write_geotiff
from eo_finetune.guard import guard

#: No-data of class maps, TerraTorch's ignored class; maps of numbers have NaN.
NO_CLASS = -1
#: TerraTorch's own writer, which this one replaces.
_STOCK_WRITER = "CustomWriter"
#: Rasters that are held open at once. Tiles come raster by raster, so that more than one or two are rarely begun.
_OPEN = 16


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
        Where to write; ``--predict_output_dir`` by default, or else ``maps`` in the trainer's ``default_root_dir``. One
        run at a time may write there.
    take_over : bool
        Whether to write also where a run on another machine, which has been killed, has left its lock.
    """

    #: Data modules of `eo_data` ask for this before they hand on a georeference that a model does not take.
    keeps_georeference = True

    def __init__(self, folder: str | None = None, *, take_over: bool = False) -> None:
        super().__init__(write_interval="batch")
        self.folder = folder
        self.take_over = take_over
        self._lock: FolderLock | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take the place of TerraTorch's writer, lock the folder, and remove what a killed run left half written.

        Raises
        ------
        ValueError
            If another run writes to the folder.
        """
        super().setup(trainer, pl_module, stage)
        if stage != "predict":
            return
        stated = self.folder or getattr(trainer, "predict_output_dir", None)
        self._out = Path(stated) if stated else Path(trainer.default_root_dir) / "maps"
        self._rows: list[tuple[str, ...]] = []
        self._kept: dict[str, Any] = {}
        self._rasters: dict[Path, _Raster] = {}
        self._written: dict[str, list[Path]] = {}
        others = [c for c in trainer.callbacks if type(c).__name__ != _STOCK_WRITER]  # type: ignore[attr-defined]
        trainer.callbacks = others  # type: ignore[attr-defined]
        guard(trainer, pl_module)
        if trainer.global_rank == 0:
            self._lock = FolderLock(self._out, take_over=self.take_over)
            self._lock.acquire()
            remove_partials(self._out, "*.tif")
        if trainer.world_size > 1:
            trainer.strategy.barrier()  # before another process begins a file

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
            If a prediction has another size than its image, or is NaN or infinite; if an id cannot name a file, or two
            ids name the same one; if tiles of one raster were resampled or are predicted by several processes; if
            another run has taken over the folder.
        OSError
            If a file cannot be written.
        """
        if prediction is None:
            return
        if self._lock is not None:
            self._lock.check()
        batch = {**batch, **self._kept}
        names = getattr(pl_module, "hparams", {}).get("class_names")
        located = _located(batch, trainer)
        for values, suffix in _outputs(prediction):
            dtype = torch.float32 if values.is_floating_point() else torch.int16
            arrays = values.detach().to("cpu", dtype).numpy()
            for i, (own, place) in enumerate(zip(arrays, located, strict=True)):
                if own.ndim < 2:
                    self._rows.append(_row(place.id, _finite(own, place.id, np.ones_like(own, dtype=bool)), names))
                elif place.raster_id:
                    if trainer.world_size > 1:
                        msg = "Tiles of a raster can be put together by one process only. Set trainer.devices: 1."
                        raise ValueError(msg)
                    self._write_tile(own, place, suffix, _whole(batch, i, place), names)
                else:
                    write_map(self._new(place.id, suffix), own, place, names)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish rasters that lack tiles, and write the table."""
        for path in list(self._rasters):
            self._rasters.pop(path).finish()
        if self._rows:
            rank = f"-{trainer.global_rank}" if trainer.world_size > 1 else ""
            text = io.StringIO(newline="")
            csv.writer(text).writerows([("id", "prediction", "name"), *self._rows])
            write_text(self._out / f"predictions{rank}.csv", text.getvalue())
        if trainer.world_size > 1:
            trainer.strategy.barrier()  # until the others have written, too
        self._unlock()
        rank_zero_info("Predictions are in %s", self._out)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove rasters that are not finished, and let other runs write to the folder."""
        for raster in getattr(self, "_rasters", {}).values():
            raster.discard()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def _write_tile(
        self, values: np.ndarray, place: SampleGrid, suffix: str, whole: PixelGrid, names: Sequence[str] | None
    ) -> None:
        """Write a tile to the map of its raster, which is finished with its last one."""
        path = self._path(place.raster_id, suffix)
        raster = self._rasters.pop(path, None) or _Raster(self._new(place.raster_id, suffix), whole, values, names)
        self._rasters[path] = raster
        raster.write(values, place, whole)
        if raster.is_whole:
            self._rasters.pop(path).finish()
        for other in list(self._rasters.values())[:-_OPEN]:
            other.park()

    def _path(self, name: str, suffix: str) -> Path:
        return path_of_name(self._out, name, f"_{suffix}.tif")

    def _new(self, name: str, suffix: str) -> Path:
        """Return the path of a map, once it is clear that no other map of this run is that file."""
        path = self._path(name, suffix)
        alike = self._written.setdefault(unicodedata.normalize("NFC", str(path)).casefold(), [])
        other = next((other for other in alike if other == path or _are_one_file(other, path)), None)
        if other is not None:
            msg = (
                f"The maps of two samples would be one file, {path} (before: {other}): the id {name!r} comes twice, or "
                "another id differs from it in nothing that the file system tells apart. Give them other names."
            )
            raise ValueError(msg)
        alike.append(path)
        return path


def _are_one_file(one: Path, other: Path) -> bool:
    """Whether a file system takes two names for one, or would: of files that are not there yet it is not known."""
    return one.exists() and other.exists() and one.samefile(other)


def _whole(batch: Mapping[str, Any], index: int, place: SampleGrid) -> PixelGrid:
    """Return the grid of the raster that a tile is of."""
    height, width = (int(side) for side in batch["raster_hw"][index])
    given = batch.get("raster_geotransform")
    if place.transform is None or given is None:
        msg = (
            f"The tile {place.id} has no georeference, so its place in {place.sources[0]} is not known. Give the "
            "raster an affine transform, or predict it in one piece (tile: null)."
        )
        raise ValueError(msg)
    return PixelGrid(height, width, Affine.from_gdal(*(float(value) for value in given[index])), place.crs)


def write_map(path: Path, values: np.ndarray, place: SampleGrid, class_names: Sequence[str] | None = None) -> None:
    """Write one map ``(H, W)`` or ``(C, H, W)``, whole or not at all.

    Raises
    ------
    ValueError
        If it has another size than its image, or is NaN or infinite where the input was observed.
    OSError
        If it cannot be written.
    """
    bands, transform = on_input_grid(_masked(values, place), place)
    profile = _profile(bands, PixelGrid(bands.shape[-2], bands.shape[-1], transform, place.crs))
    tags = _class_tags(bands, class_names)

    def fill(file: DatasetWriter) -> None:
        file.write(bands)
        file.update_tags(**tags)

    write_geotiff(path, profile, fill)


class _Raster:
    """One map of a raster that is predicted by tiles, written window by window."""

    def __init__(
        self, path: Path, whole: PixelGrid, values: np.ndarray, class_names: Sequence[str] | None = None
    ) -> None:
        self._whole = whole
        bands = _bands(values)
        tags = _class_tags(bands, class_names)
        profile = _profile(bands, whole) | {"tiled": True, "blockxsize": 256, "blockysize": 256, "bigtiff": "if_safer"}
        self._file = GeotiffInParts(path, profile, lambda file: file.update_tags(**tags))

    @property
    def is_whole(self) -> bool:
        """Whether every pixel has been written."""
        return self._file.covered >= self._whole.height * self._whole.width

    def write(self, values: np.ndarray, place: SampleGrid, whole: PixelGrid) -> None:
        """Write the part of a tile that it stands for; ``whole`` is the raster as the tile knows it."""
        if not compare_grids(whole, self._whole).same_grid():
            msg = (
                f"The tile {place.id} is of a raster of {whole.height} x {whole.width} pixels, other tiles of "
                f"{place.raster_id} of one of {self._whole.height} x {self._whole.width}, or they lie elsewhere. Give "
                "each raster an id of its own."
            )
            raise ValueError(msg)
        masked = _masked(values, place)
        window = _window(place, self._whole)
        rows, columns = place.cells(masked.shape[-2:])
        part = masked[:, rows.start : rows.start + window.height, columns.start : columns.start + window.width]
        self._file.write(part, window)

    def park(self) -> None:
        """Close the file until the next tile."""
        self._file.park()

    def finish(self) -> None:
        """Close the file, read it back, and give it its name."""
        self._file.finish()

    def discard(self) -> None:
        """Remove the unfinished file."""
        self._file.discard()


def _window(place: SampleGrid, whole: PixelGrid) -> Window:
    """Return the part of a raster that a tile stands for."""
    tile = PixelGrid(place.valid.shape[0], place.valid.shape[1], place.transform, whole.crs)
    corner = place_of_tile(tile, whole)
    if corner is None:
        one, other = cast("Affine", tile.transform), cast("Affine", whole.transform)
        msg = (
            f"The tile {place.id} was resampled: its pixels are {one.a} wide, those of the raster {other.a}; it begins "
            f"at ({one.c}, {one.f}), the raster at ({other.c}, {other.f}). Keep the pixels (image_size: null; a native "
            "side that holds the tile)."
        )
        raise ValueError(msg)
    rows, columns = place.cells(place.valid.shape)
    top, left = corner[0] + rows.start, corner[1] + columns.start
    height, width = (
        min(rows.stop - rows.start, whole.height - top),
        min(columns.stop - columns.start, whole.width - left),
    )
    if min(top, left) < 0 or min(height, width) < 1:
        msg = (
            f"The tile {place.id} lies outside of its raster of {whole.height} x {whole.width} pixels: at row {top} "
            f"and column {left}."
        )
        raise ValueError(msg)
    return Window(left, top, width, height)


def _outputs(prediction: Any) -> Iterator[tuple[torch.Tensor, str]]:  # noqa: ANN401
    """Tensors and their suffixes in what TerraTorch's ``predict_step`` returns: ``(values, file names)``."""
    values = prediction[0] if isinstance(prediction, tuple) and not isinstance(prediction[1], str) else prediction
    for one in values if isinstance(values, list) else [values]:
        yield one if isinstance(one, tuple) else (one, "pred")


def _located(batch: Mapping[str, Any], trainer: Trainer) -> list[SampleGrid]:
    """Places of a batch's samples; with TerraTorch's generic data modules, their files tell of no-data as well."""
    data = getattr(trainer, "datamodule", None)
    root = getattr(data, "root", None) or getattr(data, "predict_root", None)
    if isinstance(root, Mapping):  # of several modalities
        root = next(iter(root.values()), None)
    samples = sample_grids(batch, _size(batch["image"]), Path(root) if root else None)
    own = "geotransform" in batch or "valid" in batch
    return samples if own else [hide_no_data(sample) for sample in samples]


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
    _finite(bands, place.id, place.valid)
    return np.where(place.valid, bands, np.asarray(_no_data(bands), dtype=bands.dtype))


def _finite(values: np.ndarray, sample: str, observed: np.ndarray) -> np.ndarray:
    """Return values, once it is clear that the model gave a number wherever something was observed."""
    wrong = np.count_nonzero(~np.isfinite(values) & observed)
    if wrong:
        msg = (
            f"The prediction for {sample} is NaN or infinite in {wrong} places where the input was observed. Check the "
            "weights that were loaded, and the values of the input; with trainer.precision: 16-mixed, use bf16-mixed "
            "or 32-true."
        )
        raise ValueError(msg)
    return values


def _profile(bands: np.ndarray, grid: PixelGrid) -> dict[str, Any]:
    profile = {"driver": "GTiff", "count": len(bands), "height": grid.height, "width": grid.width, "crs": grid.crs}
    profile |= {"dtype": bands.dtype, "nodata": _no_data(bands), "compress": "deflate"}
    return profile if grid.transform is None else profile | {"transform": grid.transform}


def _class_tags(bands: np.ndarray, names: Sequence[str] | None) -> dict[str, str]:
    """Metadata of a class map: the name of each class."""
    return {f"class_{i}": name for i, name in enumerate(names or ())} if bands.dtype == np.int16 else {}


def _row(sample: str, value: np.ndarray, names: Sequence[str] | None) -> tuple[str, ...]:
    if value.ndim == 1 and value.size > 1:
        return (sample, " ".join(f"{number:.6g}" for number in value), "")
    number = float(value.reshape(-1)[0])
    known = names is not None and number.is_integer() and 0 <= number < len(names)
    return (sample, f"{number:.9g}", names[int(number)] if known and names else "")
