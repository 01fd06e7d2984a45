"""PASTIS: index rows and statistics from its published files."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eo_data.catalog.index_table import Row
from eo_data.catalog.known.kinds import IndexContent, KnownIndex
from eo_data.sensors.units import InputUnit
from eo_data.temporal.calendar_date import parse_date

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


def pastis_rows(root: Path) -> list[Row]:
    """List the patches of PASTIS or PASTIS-R.

    Dates and folds come from ``metadata.geojson``. A modality without a folder (PASTIS has no Sentinel-1) gets no
    column. The arrays have no georeference: the patches were cut from UTM tiles, and the metadata give their outline
    in another CRS (EPSG:2154), in which they are rotated.

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
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError) as error:
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
    except (OSError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        msg = f"{path} does not hold the statistics of PASTIS (Fold_1: {{mean: [...], std: [...]}}): {error!r}."
        raise ValueError(msg) from error
    return content | {"provenance": {"file": path.name, "folds": [1, 2, 3], "scale": scale}}


def _index(options: argparse.Namespace) -> IndexContent:
    rows = pastis_rows(options.root)
    modalities = [name for name in _PASTIS if rows and name in rows[0]]
    return IndexContent(rows, {name: pastis_statistics(options.root, name) for name in modalities})


PASTIS = KnownIndex("pastis", "PASTIS, PASTIS-R; writes statistics_<modality>.yaml, too", _index)
