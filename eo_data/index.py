"""Indices of public data sets: which files, dates, labels and splits belong together (``python -m eo_data.index``).

The files are written below the root of the data set, as `eo_data.catalog.records.from_index` reads them:
``pastis`` (PASTIS and PASTIS-R), ``biomassters``, and ``classes`` for scenes in one folder per class (EuroSAT).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from eo_data.catalog.records import SPLITS
from eo_data.catalog.sources import FilePattern
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_date

Row = dict[str, Any]

#: The official folds of PASTIS, as its benchmark and AnySat use them.
_FOLDS: Mapping[int, str] = MappingProxyType({1: "train", 2: "train", 3: "train", 4: "val", 5: "test"})
#: Modalities of PASTIS-R: bands, unit and scale of the published statistics.
_PASTIS: Mapping[str, tuple[tuple[str, ...], InputUnit, float]] = MappingProxyType(
    {
        "S2": (("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12"), InputUnit.REFLECTANCE, 1e-4),
        "S1A": (("VV", "VH", "VV/VH"), InputUnit.DECIBEL, 1.0),
        "S1D": (("VV", "VH", "VV/VH"), InputUnit.DECIBEL, 1.0),
    }
)
_BIOMASSTERS = re.compile(r"(?P<chip>[^_/]+)_(?P<sensor>S1|S2)_(?P<month>\d{2})\.tif")


def pastis_rows(root: Path) -> list[Row]:
    """List the patches of PASTIS or PASTIS-R.

    Dates and folds come from ``metadata.geojson``. A modality without a folder (PASTIS has no Sentinel-1) gets no
    column. The arrays have no georeference: the patches were cut from UTM tiles, and the metadata give their outline
    in another CRS (EPSG:2154), in which they are turned.

    Parameters
    ----------
    root : Path
        Folder with ``metadata.geojson``, ``DATA_S2``, ``DATA_S1A``, ``DATA_S1D`` and ``ANNOTATIONS``.

    Returns
    -------
    list of dict
        ``id``, per modality its file and dates, ``label``, ``split`` (folds 1 to 3 train, 4 val, 5 test).

    Raises
    ------
    ValueError
        If the metadata are missing or of another form.
    """
    path = root / "metadata.geojson"
    if not path.is_file():
        msg = f"There is no {path}. Give the folder that PASTIS was unpacked to, with metadata.geojson and DATA_S2."
        raise ValueError(msg)
    modalities = [name for name in _PASTIS if (root / f"DATA_{name}").is_dir()]
    try:
        patches = [feature["properties"] for feature in json.loads(path.read_text(encoding="utf-8"))["features"]]
        return [_pastis_row(patch, modalities) for patch in patches]
    except (KeyError, TypeError, ValueError) as error:
        msg = f"{path} is not the metadata of PASTIS (ID_PATCH, Fold, dates-S2, ...): {error!r}."
        raise ValueError(msg) from error


def _pastis_row(patch: Mapping[str, Any], modalities: Sequence[str]) -> Row:
    number = int(patch["ID_PATCH"])
    row: Row = {"id": str(number)}
    for name in modalities:
        row[name] = f"DATA_{name}/{name}_{number}.npy"
        row[f"{name}_dates"] = _pastis_dates(patch[f"dates-{name}"])
    return row | {"label": f"ANNOTATIONS/TARGET_{number}.npy", "split": _FOLDS[int(patch["Fold"])]}


def _pastis_dates(stated: str | Mapping[str, int]) -> list[str]:
    """Dates by number of the frame, ``{"0": 20180924, ...}``; some programs write that object as text."""
    by_frame: Mapping[str, int] = json.loads(stated) if isinstance(stated, str) else stated
    # As texts "10" comes before "2".
    return [parse_date(str(by_frame[frame])).isoformat() for frame in sorted(by_frame, key=int)]


def pastis_statistics(root: Path, modality: str) -> dict[str, Any]:
    """Return the published statistics of the training folds, as `eo_data.statistics` writes its own.

    The mean over folds 1 to 3 of what ``NORM_<modality>_patch.json`` states; Sentinel-2 as reflectance.

    Raises
    ------
    ValueError
        If the file is missing or of another form.
    """
    path = root / f"NORM_{modality}_patch.json"
    bands, unit, scale = _PASTIS[modality]
    try:
        folds = json.loads(path.read_text(encoding="utf-8"))
        training = [folds[f"Fold_{fold}"] for fold, split in _FOLDS.items() if split == "train"]
        content: dict[str, Any] = {"bands": list(bands), "unit": str(unit)}
        for key, published in (("means", "mean"), ("stds", "std")):
            by_fold = [fold[published] for fold in training]
            content[key] = [scale * sum(values) / len(by_fold) for values in zip(*by_fold, strict=True)]
        if len(content["means"]) != len(bands):
            msg = f"{len(content['means'])} bands instead of {len(bands)}"
            raise ValueError(msg)
    except (OSError, KeyError, TypeError, ValueError) as error:
        msg = f"{path} does not hold the statistics of PASTIS (Fold_1: {{mean: [...], std: [...]}}): {error!r}."
        raise ValueError(msg) from error
    return content | {"provenance": {"file": path.name, "folds": [1, 2, 3], "scale": scale}}


def biomassters_rows(root: Path, val_share: float = 0.1) -> list[Row]:
    """List the chips of BioMassters.

    The files tell the month, counted from September, but not the year, which differs between chips. The dates are the
    15th of the months of September 2018 to August 2019: the day of the year is right, the year stands for any.

    Parameters
    ----------
    root : Path
        Folder with ``train_features``, ``train_agbm`` and, if wanted, ``test_features`` and ``test_agbm``.
    val_share : float
        Share of the training chips to validate with, chosen by a hash of their id: the same on every machine.

    Returns
    -------
    list of dict
        ``id``, ``S1``, ``S2`` with their dates, ``label``, ``split``; a test chip without a label is in ``predict``.

    Raises
    ------
    ValueError
        If there are no such files, a training chip has no label, or the share is not in 0..1.
    """
    if not 0 <= val_share < 1:
        msg = f"The share of chips to validate with must be at least 0 and below 1, got {val_share}."
        raise ValueError(msg)
    rows: list[Row] = []
    for part in ("train", "test"):
        chips: dict[str, dict[str, dict[int, str]]] = {}
        for path in sorted((root / f"{part}_features").glob("*.tif")):
            match = _BIOMASSTERS.fullmatch(path.name)
            if match:
                months = chips.setdefault(match["chip"], {"S1": {}, "S2": {}})[match["sensor"]]
                months[int(match["month"])] = f"{part}_features/{path.name}"
        rows += [_biomassters_row(root, part, chip, months, val_share) for chip, months in chips.items()]
    if not rows:
        msg = f"There are no files such as train_features/<chip>_S1_00.tif below {root}."
        raise ValueError(msg)
    return rows


def _biomassters_row(root: Path, part: str, chip: str, files: Mapping[str, Mapping[int, str]], val_share: float) -> Row:
    label = f"{part}_agbm/{chip}_agbm.tif"
    labelled = (root / label).is_file()
    if part == "train" and not labelled:
        msg = f"The training chip {chip} has no label {root / label}."
        raise ValueError(msg)
    row: Row = {"id": chip}
    for sensor, months in files.items():
        row[sensor] = list(months.values())
        row[f"{sensor}_dates"] = [_month_from_september(month) for month in months]
    split = ("val" if _drawn(chip, val_share) else "train") if part == "train" else "test" if labelled else "predict"
    return row | ({"label": label} if labelled else {}) | {"split": split}


def _month_from_september(number: int) -> str:
    if not 0 <= number <= 11:
        msg = f"Months count from 00 (September) to 11 (August), got {number:02d}."
        raise ValueError(msg)
    year, month = (2018, number + 9) if number < 4 else (2019, number - 3)
    return f"{year}-{month:02d}-15"


def _drawn(name: str, share: float) -> bool:
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def class_rows(
    root: Path, folder: str, modality: str = "image", files: str = "*.tif", splits: Mapping[str, str] | None = None
) -> tuple[list[Row], list[str]]:
    """List scenes that lie in one folder per class.

    Parameters
    ----------
    root : Path
        Folder of the data set.
    folder : str
        Folder below it that holds the folders of the classes.
    modality : str
        Name of the column with the files.
    files : str
        Pattern of the files in the folder of a class.
    splits : mapping of str to str, optional
        Files below the root that name the scenes of a split, one per line; endings do not count (torchgeo's files of
        EuroSAT say ``.jpg``). Scenes that none of them names have no split.

    Returns
    -------
    list of dict, list of str
        ``id``, file, ``label``, ``split``; and the classes by their number, in the order of the alphabet.

    Raises
    ------
    ValueError
        If there are fewer than two classes or no scenes, two scenes have one name, or a split names what is not there.
    """
    FilePattern(files)
    above = root / folder
    classes = sorted(path.name for path in above.iterdir() if path.is_dir()) if above.is_dir() else []
    if len(classes) < 2:
        msg = f"Expected a folder per class below {above}, got {classes or 'none'}."
        raise ValueError(msg)
    of_scene = _split_of_scene(root, splits or {})
    rows: list[Row] = []
    for number, name in enumerate(classes):
        for path in sorted((above / name).glob(files)):
            row = {"id": path.stem, modality: path.relative_to(root).as_posix(), "label": number}
            rows.append(row | ({"split": of_scene[path.stem]} if path.stem in of_scene else {}))
    doubled = [scene for scene, n in Counter(row["id"] for row in rows).items() if n > 1]
    absent = sorted(set(of_scene) - {row["id"] for row in rows})
    if not rows or doubled or absent:
        fault = f"doubled: {doubled[:3]}" if doubled else f"named by a split, but not there: {absent[:3]}"
        msg = f"The scenes {files} below {above} make no index; {fault if rows else 'there are none'}."
        raise ValueError(msg)
    return rows, classes


def _split_of_scene(root: Path, splits: Mapping[str, str]) -> dict[str, str]:
    of_scene: dict[str, str] = {}
    for split, name in splits.items():
        if split not in SPLITS or not (root / name).is_file():
            msg = f"Splits are <{'|'.join(SPLITS)}>=<file below {root}>; {split}={name} is none."
            raise ValueError(msg)
        scenes = {Path(line.strip()).stem for line in (root / name).read_text(encoding="utf-8").splitlines()} - {""}
        both = sorted(scenes & set(of_scene))
        if both:
            msg = f"{both[:3]} are in the split {split!r} and in {of_scene[both[0]]!r}."
            raise ValueError(msg)
        of_scene |= dict.fromkeys(scenes, split)
    return of_scene


def _write(path: Path, text: str) -> None:
    """Write a file that appears complete or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eo_data.index", description="Write the index of a data set.")
    kinds = parser.add_subparsers(dest="kind", required=True)
    pastis = kinds.add_parser("pastis", help="PASTIS, PASTIS-R; writes statistics_<modality>.yaml, too")
    biomassters = kinds.add_parser("biomassters", help="BioMassters")
    biomassters.add_argument("--val-share", type=float, default=0.1, help="of the training chips (0.1)")
    classes = kinds.add_parser("classes", help="scenes in one folder per class, such as EuroSAT")
    classes.add_argument("--folder", default=".", help="that holds the folders of the classes, below the root")
    classes.add_argument("--files", default="*.tif", help="pattern of the scenes in it (*.tif)")
    classes.add_argument("--modality", default="image", help="name of the modality in the config (image)")
    classes.add_argument("--split", action="append", default=[], metavar="SPLIT=FILE", help="train=train.txt")
    for command in (pastis, biomassters, classes):
        command.add_argument("root", type=Path, help="folder of the data set")
        command.add_argument("--out", default="index.json", help="file below the root (index.json)")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    lines: list[str] = []
    try:
        if given.kind == "pastis":
            rows = pastis_rows(given.root)
            for name in (name for name in _PASTIS if rows and name in rows[0]):
                statistics = yaml.safe_dump(pastis_statistics(given.root, name), sort_keys=False, width=120)
                _write(given.root / f"statistics_{name}.yaml", statistics)
        elif given.kind == "biomassters":
            rows = biomassters_rows(given.root, given.val_share)
        else:
            splits = dict(text.partition("=")[::2] for text in given.split)
            rows, names = class_rows(given.root, given.folder, given.modality, given.files, splits)
            lines += [f"class {number}: {name}" for number, name in enumerate(names)]
        _write(given.root / given.out, "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    counts = Counter(row.get("split", "no split") for row in rows)
    lines.append(f"{given.root / given.out}: " + ", ".join(f"{n} {split}" for split, n in counts.items()))
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
