"""One folder per class, as EuroSAT has them."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from eo_core.text import composed
from eo_data.catalog.index_table import Row
from eo_data.catalog.known.kinds import IndexContent, KnownIndex
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.records import SPLITS


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
    pattern = FilePattern(files)
    above = root / folder
    classes = sorted(path.name for path in above.iterdir() if path.is_dir()) if above.is_dir() else []
    if len(classes) < 2:
        msg = f"Expected a folder per class below {above}, got {classes or 'none'}."
        raise ValueError(msg)
    of_scene = _split_of_scene(root, splits or {})
    rows: list[Row] = []
    for number, name in enumerate(classes):
        for _, path in pattern.find(above / name):
            scene = composed(path.stem)
            row = {"id": scene, modality: path.relative_to(root).as_posix(), "label": number}
            rows.append(row | ({"split": of_scene[scene]} if scene in of_scene else {}))
    repeated = [scene for scene, n in Counter(row["id"] for row in rows).items() if n > 1]
    absent = sorted(set(of_scene) - {row["id"] for row in rows})
    if not rows or repeated or absent:
        fault = f"of one name: {repeated[:3]}" if repeated else f"named by a split, but not there: {absent[:3]}"
        msg = f"The scenes {files} below {above} make no index; {fault if rows else 'there are none'}."
        raise ValueError(msg)
    return rows, classes


def _split_of_scene(root: Path, splits: Mapping[str, str]) -> dict[str, str]:
    of_scene: dict[str, str] = {}
    for split, name in splits.items():
        if split not in SPLITS or not (root / name).is_file():
            msg = f"A split is stated as <{'|'.join(SPLITS)}>=<file below {root}>; {split}={name} is not."
            raise ValueError(msg)
        scenes = {
            composed(Path(line.strip()).stem) for line in (root / name).read_text(encoding="utf-8").splitlines()
        } - {""}
        both = sorted(scenes & set(of_scene))
        if both:
            msg = f"{both[:3]} are in the split {split!r} and in {of_scene[both[0]]!r}."
            raise ValueError(msg)
        of_scene |= dict.fromkeys(scenes, split)
    return of_scene


def _index(options: argparse.Namespace) -> IndexContent:
    splits = dict(text.partition("=")[::2] for text in options.split)
    rows, classes = class_rows(options.root, options.folder, options.modality, options.files, splits)
    return IndexContent(rows, classes=classes)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", default=".", help="that holds the folders of the classes, below the root")
    parser.add_argument("--files", default="*.tif", help="pattern of the scenes in it (*.tif)")
    parser.add_argument("--modality", default="image", help="name of the modality in the config (image)")
    parser.add_argument("--split", action="append", default=[], metavar="SPLIT=FILE", help="train=train.txt")


CLASS_FOLDERS = KnownIndex("classes", "scenes in one folder per class, such as EuroSAT", _index, _add_options)
