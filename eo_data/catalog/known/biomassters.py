"""BioMassters: index rows from its published files."""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from eo_data.catalog.index_table import Row
from eo_data.catalog.known.kinds import IndexContent, KnownIndex

_BIOMASSTERS = re.compile(r"(?P<chip>[^_/]+)_(?P<sensor>S1|S2)_(?P<month>\d{2})\.tif")


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


def _index(options: argparse.Namespace) -> IndexContent:
    return IndexContent(biomassters_rows(options.root, options.val_share))


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--val-share", type=float, default=0.1, help="of the training chips (0.1)")


BIOMASSTERS = KnownIndex("biomassters", "BioMassters", _index, _add_options)
