"""Show what happens to a sample on its way to the encoder: ``python -m eo_data.inspect --config config/x.yaml``.

Prints every step - files, bands in order, units, dates, geometry, values before and after, and what the encoder's
preprocessing tells of tokens and memory - and writes an RGB quick-look. Loads neither weights nor TerraTorch.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_core.config import read_config
from eo_core.files import atomic_path
from eo_data.catalog.records import SPLITS
from eo_data.dataset.plots import rgb_indices, stretched
from eo_data.raster.sample import Image, Sample
from eo_data.temporal.calendar_date import day_of_year

if TYPE_CHECKING:
    from eo_data.datamodules import ChipDataModule
    from eo_data.dataset.chip_splits import ChipSplits
    from eo_data.dataset.dataset import EoDataset

#: What makes the same data sets as our data modules, in another second instead of in seven: without Lightning.
_WITHOUT_LIGHTNING = {
    "eo_data.datamodules.ChipDataModule": "eo_data.dataset.chip_splits.ChipSplits",
    "eo_data.datamodules.TimeSeriesDataModule": "eo_data.dataset.chip_splits.SeriesSplits",
}


def load_data_module(configs: Sequence[str | Path]) -> ChipDataModule:
    """Build the data module of one or several configs, later ones over earlier ones.

    Parameters
    ----------
    configs : sequence of path
        TerraTorch configs, of which only ``data`` is read, or files of a data section alone.

    Raises
    ------
    ValueError
        If there is no ``data``, or it is not one of our data modules.
    """
    from jsonargparse import ArgumentParser  # noqa: PLC0415  (Lightning takes seconds, which --help need not wait)
    from lightning.pytorch import LightningDataModule  # noqa: PLC0415

    from eo_data.datamodules import ChipDataModule  # noqa: PLC0415

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(LightningDataModule, "data")
    module = parser.instantiate(parser.parse_object({"data": _data_section(configs)})).data
    if not isinstance(module, ChipDataModule):
        msg = (
            f"inspect shows what eo_data.datamodules.ChipDataModule and TimeSeriesDataModule do; this config has "
            f"{type(module).__name__}."
        )
        raise ValueError(msg)
    return module


def load_splits(configs: Sequence[str | Path]) -> ChipSplits:
    """Build what makes the data sets of one or several configs: of our own data modules without Lightning.

    Parameters
    ----------
    configs : sequence of path
        As for `load_data_module`.

    Raises
    ------
    ValueError
        As `load_data_module`.
    """
    from jsonargparse import ArgumentError, ArgumentParser  # noqa: PLC0415  (as above)

    from eo_data.dataset.chip_splits import ChipSplits  # noqa: PLC0415

    section = _data_section(configs)
    plain = _WITHOUT_LIGHTNING.get(str(section["class_path"]))
    if plain is None:
        return load_data_module(configs)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ChipSplits, "data")
    try:
        splits: ChipSplits = parser.instantiate(parser.parse_object({"data": section | {"class_path": plain}})).data
    except (ValueError, ArgumentError):
        return load_data_module(configs)  # whose messages name the class as the config does
    return splits


def _data_section(configs: Sequence[str | Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for config in configs:
        content = read_config(config) or {}
        merged = _merge(merged, content.get("data") or {} if "class_path" not in content else content)
    if "class_path" not in merged:
        msg = f"{', '.join(map(str, configs))}: there is no data section with a class_path to inspect."
        raise ValueError(msg)
    return merged


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    merged = dict(first)
    for key, value in second.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def describe_sample(module: ChipSplits, dataset: EoDataset, index: int, before: Sample, after: Sample) -> Iterator[str]:
    """Yield the lines of the report on one sample.

    Raises
    ------
    ValueError
        If the sample cannot be used.
    """
    entry = dataset[index]
    yield f"sample      {before.id}  ({index + 1} of {len(dataset)})"
    for name, image in before.images.items():
        yield from _lines_of_image(module, name, image, after)
    yield from _lines_of_label(before)
    yield "batch"
    tensors = entry["image"] if isinstance(entry["image"], dict) else {"image": entry["image"]}
    for name, tensor in tensors.items():
        yield f"  {name:<20} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
    yield f"  also: {', '.join(key for key in entry if key != 'image')}"


def _lines_of_image(module: ChipSplits, name: str, image: Image, after: Sample) -> Iterator[str]:
    source, raster = module.modalities[name], image.raster
    yield f"modality    {name}"
    for path in image.paths[:3]:
        yield f"  file      {path}"
    if len(image.paths) > 3:
        yield f"            ... {len(image.paths)} files"
    yield f"  bands     {', '.join(image.bands)}"
    yield f"  unit      {source.unit} -> {image.unit}"
    frames = f"{len(image.observed)} frames, " if image.is_series else ""
    yield f"  size      {frames}{raster.height} x {raster.width} px of {image.pixel_size:g} m (nominal)"
    if raster.transform is not None:
        yield f"  bounds    {', '.join(f'{value:.10g}' for value in raster.bounds)} ({_crs_name(raster.crs)})"
    seen_frames = image.observed.tolist() if image.dates else []
    for day, origin, seen in list(zip(image.dates, image.date_sources, seen_frames, strict=True))[:12]:
        left_out = "" if seen else "  not observed: masked"
        yield f"  date      {day.isoformat()} = day {day_of_year(day)} of the year (from {origin}){left_out}"
    if len(image.dates) > 12:
        yield f"            ... {len(image.dates)} dates"
    yield f"  observed  {raster.valid.mean():.1%} of the pixels"
    for note in image.notes:
        yield f"  note      {note}"
    yield "  plan"
    for key, value in module.preprocess.describe(image).items():
        yield f"    {key:<28} {value}"
    yield from _value_table(image, after.images[name])


def _value_table(before: Image, after: Image) -> Iterator[str]:
    yield f"  {'band':<18} {'min':>10} {'mean':>10} {'max':>10}   {'->':<2} {'min':>8} {'mean':>8} {'max':>8}"
    extra = after.bands[len(before.bands) :]
    for i, band in enumerate((*before.bands, *extra)):
        old = _range(before.raster.pixels[..., i, :, :]) if i < len(before.bands) else ("-",) * 3
        new = _range(after.raster.pixels[..., i, :, :])
        yield f"  {band:<18} {old[0]:>10} {old[1]:>10} {old[2]:>10}   {'':<2} {new[0]:>8} {new[1]:>8} {new[2]:>8}"


def _range(values: np.ndarray) -> tuple[str, ...]:
    seen = values[np.isfinite(values)]
    if not seen.size:
        return ("no data",) * 3
    return tuple(f"{float(value):.4g}" for value in (seen.min(), seen.mean(dtype=np.float64), seen.max()))


def _lines_of_label(sample: Sample) -> Iterator[str]:
    if sample.label is None:
        yield "label       none"
    elif isinstance(sample.label, int | float):
        yield f"label       {sample.label}"
    else:
        values, counts = np.unique(sample.label.pixels, return_counts=True)
        shown = [f"{value:g}: {count / counts.sum():.1%}" for value, count in zip(values, counts, strict=True)]
        yield f"label       {', '.join(shown[:12])}{' ...' if len(shown) > 12 else ''}"


def _crs_name(crs: str | None) -> str:
    if not crs:
        return "no CRS"
    from pyproj import CRS  # noqa: PLC0415

    system = CRS.from_wkt(crs)
    authority = system.to_authority()
    return ":".join(authority) if authority else system.name


def write_quick_look(before: Sample, after: Sample, rgb: Sequence[str], folder: Path) -> Path:
    """Write an RGB of the first modality before (physical values) and after preprocessing as PNG."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(9, 4.6), layout="constrained")
    name = next(iter(before.images))
    for i, (title, sample) in enumerate((("physical values", before), ("what the encoder sees", after))):
        image = sample.images[name]
        pixels = image.raster.pixels[len(image.raster.pixels) // 2] if image.is_series else image.raster.pixels
        valid = image.raster.valid[len(image.raster.valid) // 2] if image.is_series else image.raster.valid
        axes = figure.add_subplot(1, 2, i + 1)
        axes.imshow(stretched(pixels[rgb_indices(image.bands, rgb)], valid))
        axes.set_title(f"{title}, {pixels.shape[-2]} x {pixels.shape[-1]} px")
        axes.set_axis_off()
    figure.suptitle(f"{before.id}: {name}")
    path = folder / f"{before.id.replace('/', '_')}_{name}.png"
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=100)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eo_data.inspect", description="Show what happens to a sample.")
    parser.add_argument("--config", action="append", required=True, help="may be given several times, as in terratorch")
    parser.add_argument("--split", default="predict", choices=SPLITS, help="predict by default")
    parser.add_argument("--sample", default="0", help="number or id of the sample")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the quick-look")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    from jsonargparse import ArgumentError  # noqa: PLC0415  (only now there is something to read)

    try:
        module = load_splits(options.config)
        dataset = module.dataset(options.split)
        index = _index(dataset, options.sample)
        before = dataset.read(index)
        after = dataset.preprocess(before)
        lines = list(describe_sample(module, dataset, index, before, after))
        picture = write_quick_look(before, after, dataset.rgb, options.out)
    except (ValueError, ArgumentError) as error:
        parser.error(str(error))
    sys.stdout.write("\n".join([*lines, f"quick-look  {picture}"]) + "\n")


def _index(dataset: EoDataset, wanted: str) -> int:
    ids = [record.id for record in dataset.records]
    if wanted in ids:
        return ids.index(wanted)
    if wanted.isdigit() and int(wanted) < len(ids):
        return int(wanted)
    msg = f"There is no sample {wanted!r}. There are {len(ids)}, such as {', '.join(ids[:3])}."
    raise ValueError(msg)


def command() -> None:
    """Run the command in a process of its own, which ends with it."""
    main()
    # Or the interpreter looks half a second for cycles among PyTorch's objects. Triton reports those that are left.
    if "triton" not in sys.modules:
        gc.freeze()


if __name__ == "__main__":
    command()
