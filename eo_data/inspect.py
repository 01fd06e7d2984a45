"""Show what happens to a sample on its way to the encoder: ``python -m eo_data.inspect --config config/x.yaml``.

Prints every step - what files say of themselves and what the config makes of it, bands in order, units, dates,
geometry, values before and after, and what the encoder's preprocessing tells of tokens and memory - raises the alarm
where something is implausible, and writes an RGB quick-look. ``--facts FILE`` shows what files say, without a config;
``--dry-run`` what would be read of the places of one: grids, dates, scenes, clouds, files and bytes.
Loads neither weights nor TerraTorch.
"""

from __future__ import annotations

import argparse
import gc
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eo_core.config import read_config
from eo_core.files import write_file
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import SPLITS, Record, SceneFiles
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.plots import rgb_indices, stretched
from eo_data.raster.sample import Image, Sample
from eo_data.readers.described.report import band_verdicts, crs_name, describe_file
from eo_data.readers.described.tile_plan import plan_of_tiles
from eo_data.temporal.calendar_date import day_of_year

if TYPE_CHECKING:
    from eo_data.datamodules import ChipDataModule
    from eo_data.dataset.chip_splits import ChipSplits
    from eo_data.dataset.dataset import EoDataset

#: A mean of normalised values beyond this is no season and no landscape.
_FAR = 5.0
#: What makes the same data sets as our data modules, in another second instead of in seven: without Lightning.
_WITHOUT_LIGHTNING = {
    "eo_data.datamodules.ChipDataModule": "eo_data.dataset.chip_splits.ChipSplits",
    "eo_data.datamodules.PlaceDataModule": "eo_data.dataset.place_splits.PlaceSplits",
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
            "inspect shows what ChipDataModule, TimeSeriesDataModule and PlaceDataModule of eo_data.datamodules do; "
            f"this config has {type(module).__name__}."
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
        yield from lines_of_files(name, module.modalities[name], dataset.records[index])
        yield from _lines_of_image(module, name, image, after)
        yield from _alarms(image, after.images[name])
    yield from _lines_of_label(before)
    yield "batch"
    tensors = entry["image"] if isinstance(entry["image"], dict) else {"image": entry["image"]}
    for name, tensor in tensors.items():
        yield f"  {name:<20} {tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
    yield f"  also: {', '.join(key for key in entry if key != 'image')}"


def lines_of_files(name: str, source: ImageSource, record: Record) -> Iterator[str]:
    """Yield what the files of a modality say of themselves, and what the config makes of it."""
    whole = SceneFiles(record.files.get(name, ()), record.bands.get(name, ()))
    scene = next((own for frame in record.frames.get(name, ()) for own in frame), whole)  # of a place, the first one
    hrefs = scene.files
    yield f"modality    {name}"
    for href in hrefs[:3]:
        yield from (f"  {line}" for line in describe_file(href, source))
    if len(hrefs) > 3:
        yield f"            ... {len(record.files[name])} files"
    if hrefs:
        yield from (
            f"  verdict   {found.band:<10} {found.verdict:<11} {found.text}"
            for found in band_verdicts(name, source, hrefs, scene.bands or None, scene.said)
        )


def _alarms(before: Image, after: Image) -> Iterator[str]:
    """Yield what is implausible, so that nobody has to see it in a table of numbers."""
    for i, band in enumerate(before.bands):
        values = before.raster.pixels[..., i, :, :]
        seen = values[np.isfinite(values)]
        if not seen.size:
            yield f"  ALARM     {band}: no pixel has a value"
            continue
        if seen.size > 1 and seen.min() == seen.max():
            yield f"  ALARM     {band}: all pixels have the value {seen[0]:g}"
        given = after.raster.pixels[..., i, :, :][after.raster.valid] if i < len(after.bands) else seen[:0]
        if given.size and abs(float(given.mean())) > _FAR:
            yield (
                f"  ALARM     {band}: after normalisation its mean is {float(given.mean()):.3g}, far from what the "
                "encoder was trained on (0 +- 1). Check unit, scale, offset and the order of bands."
            )
    if before.raster.valid.mean() < 0.05:
        yield f"  ALARM     only {before.raster.valid.mean():.1%} of the pixels are observed"
    if len(before.dates) > 1 and len(set(before.dates)) == 1:
        yield f"  ALARM     all {len(before.dates)} frames have the date {before.dates[0].isoformat()}"


def _lines_of_image(module: ChipSplits, name: str, image: Image, after: Sample) -> Iterator[str]:
    source, raster = module.modalities[name], image.raster
    yield f"  bands     {', '.join(image.bands)}"
    yield f"  unit      {source.unit} -> {image.unit}"
    frames = f"{len(image.observed)} frames, " if image.is_series else ""
    yield f"  size      {frames}{raster.height} x {raster.width} px of {image.pixel_size:g} m (nominal)"
    if raster.transform is not None:
        yield f"  bounds    {', '.join(f'{value:.10g}' for value in raster.bounds)} ({crs_name(raster.crs)})"
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
    heads = f"{'min':>10} {'mean':>10} {'max':>10}"
    yield f"  {'band':<18} {heads}   {'->':<2} {'min':>8} {'mean':>8} {'max':>8}   missing"
    extra = after.bands[len(before.bands) :]
    for i, band in enumerate((*before.bands, *extra)):
        old = _range(before.raster.pixels[..., i, :, :]) if i < len(before.bands) else ("-",) * 3
        new = _range(after.raster.pixels[..., i, :, :])
        row = f"{old[0]:>10} {old[1]:>10} {old[2]:>10}   {'':<2} {new[0]:>8} {new[1]:>8} {new[2]:>8}"
        gaps = np.isnan(before.raster.pixels[..., i, :, :]).mean() if i < len(before.bands) else 0.0
        yield f"  {band:<18} {row}   {gaps:.2%}"


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
        valid = sample.reference.raster.valid
        unseen = int((~(valid.any(axis=0) if valid.ndim == 3 else valid)).sum())
        if unseen:
            yield f"  note      labels of {unseen} pixels do not count, because the image is missing there"
        yield f"label       {', '.join(shown[:12])}{' ...' if len(shown) > 12 else ''}"


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
    write_file(path, lambda file: figure.savefig(file, format="png", dpi=100))
    return path


_EXAMPLES = """examples:
  eo inspect --facts scene.tif                                       # what a file says of itself
  eo inspect --config config/embed_quickstart.yaml --out looks       # a sample, step by step, and a picture
  eo inspect --config config/my_places.yaml --dry-run                # what would be read of places
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eo inspect",
        description="Show what happens to a sample.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--config", action="append", help="may be given several times, as in terratorch")
    wanted.add_argument(
        "--facts", nargs="+", metavar="FILE", help="show what files say of themselves; no config needed"
    )
    parser.add_argument("--dry-run", action="store_true", help="of places: say what would be read, and end")
    parser.add_argument("--split", default="predict", choices=SPLITS, help="predict by default")
    parser.add_argument("--sample", default="0", help="number or id of the sample")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of the quick-look")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.facts:
        _show_facts(parser, options.facts)
        return
    from jsonargparse import ArgumentError  # noqa: PLC0415  (only now there is something to read)

    try:
        module = load_splits(options.config)
        if options.dry_run:
            _show_plan(module)
            return
        dataset = module.dataset(options.split)
        planned = []
        if options.split == "predict" and module.tiling is not None:
            planned = [str(plan_of_tiles(dataset.records, module.tiling, dataset.reader.grid))]
        index = _index(dataset, options.sample)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            before = _read(module, dataset, index)
            after = dataset.preprocess(before)
            lines = planned + list(describe_sample(module, dataset, index, before, after))
        texts = dict.fromkeys(str(entry.message) for entry in caught if issubclass(entry.category, UserWarning))
        lines += [f"ALARM       {text}" for text in texts]
        picture = write_quick_look(before, after, dataset.rgb, options.out)
    except (ValueError, OSError, ArgumentError) as error:
        parser.error(str(error))
    sys.stdout.write("\n".join([*lines, f"quick-look  {picture}"]) + "\n")


def _show_plan(module: ChipSplits) -> None:
    """Show what would be read of places; places that would fail end the command with exit code 1.

    Raises
    ------
    ValueError
        If the config is not of places.
    """
    from eo_data.dataset.place_splits import PlaceSplits  # noqa: PLC0415

    if not isinstance(module, PlaceSplits):
        msg = f"--dry-run is for places (PlaceDataModule), and this config has {type(module).__name__}. Leave it out."
        raise ValueError(msg)
    plan = module.plan()
    sys.stdout.write(f"{plan}\n")
    if plan.failures:
        sys.exit(1)


def _read(module: ChipSplits, dataset: EoDataset, index: int) -> Sample:
    """Read a sample; if it cannot be used, show first what its files say."""
    try:
        return dataset.read(index)
    except ValueError:
        record = dataset.records[index]
        for name, source in module.modalities.items():
            try:
                for line in lines_of_files(name, source, record):
                    sys.stdout.write(f"{line}\n")
            except ValueError as error:
                sys.stdout.write(f"  ALARM     {error}\n")
        raise


def _show_facts(parser: argparse.ArgumentParser, files: Sequence[str]) -> None:
    """Show what files say of themselves; one that cannot be read ends the command after the others."""
    failed = []
    for file in files:
        try:
            for line in describe_file(Href(file)):
                sys.stdout.write(f"{line}\n")
        except ValueError as error:
            failed.append(str(error))
    if failed:
        parser.error("; ".join(failed))


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
