"""The recipes of `config/` and the embedded sample: found by name, also where only the wheel is installed."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eo_core.config import config_files, read_config
from eo_core.files import make_folder, partial_path, put_in_place, remove_partial
from eo_core.text import did_you_mean

#: Folder of the recipes, and of the embedded sample, below `home`.
CONFIGS = "config"
SAMPLE = "datasets/sample"
#: What the wheel has of the sample's folder; how it was made stays in the repository.
_SAMPLE_FILES = ("README.md", "v1.1")
_SUMMARY_END = re.compile(r"\.(?=\s+[A-Z])|\.$|:(?=\s)(?![^(]*\))")
_NAMED_CONFIG = re.compile(rf"--config {CONFIGS}/(\S+\.yaml)")


def home() -> Path:
    """Return the folder that holds `config/` and `datasets/sample`: of the wheel, or of the repository.

    Raises
    ------
    FileNotFoundError
        If neither has them.
    """
    package = Path(__file__).resolve().parent
    for folder in (package / "files", package.parent):
        if (folder / CONFIGS).is_dir():
            return folder
    msg = f"The recipes are not where they should be, in {package / 'files'}. Install the package again."
    raise FileNotFoundError(msg)


def recipes() -> Mapping[str, Path]:
    """Return the files of all recipes by name, in the order of their names."""
    return {file.stem: file for file in sorted((home() / CONFIGS).glob("*.yaml"))}


def parts() -> Mapping[str, Path]:
    """Return the files that recipes include, or that go with them as a second config, by name (``data/floods``)."""
    folder = home() / CONFIGS
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in sorted(folder.glob("*/*.yaml"))}


def find_recipe(name: str) -> Path:
    """Return the file of a recipe, or of a part of recipes.

    Parameters
    ----------
    name : str
        With or without ``config/`` in front and ``.yaml`` behind.

    Raises
    ------
    ValueError
        If there is none; the message has the nearest names.
    """
    wanted = name.removeprefix(f"{CONFIGS}/").removesuffix(".yaml")
    known = {**recipes(), **parts()}
    if wanted in known:
        return known[wanted]
    hint = did_you_mean(wanted, known, most=3, cutoff=0.5)
    msg = f"There is no recipe {name!r}.{hint} `eo config list` lists them."
    raise ValueError(msg)


def header(file: Path) -> list[str]:
    """Return the lines of the comment that a recipe begins with, without their marks."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return lines


def summary(file: Path) -> str:
    """Return the first sentence of a recipe's comment, up to a colon."""
    return _SUMMARY_END.split(" ".join(header(file)).strip(), maxsplit=1)[0]


def commands(file: Path) -> list[str]:
    """Return the commands that a recipe's comment gives: its indented lines."""
    return [line[2:] for line in header(file) if line.startswith("  ") and line.strip()]


def uses_sample(file: Path) -> bool:
    """Whether a recipe reads the embedded sample."""
    return any(value == SAMPLE or value.startswith(f"{SAMPLE}/") for value in _texts(read_config(file)))


def files_of(file: Path) -> tuple[Path, ...]:
    """Return what a recipe and its commands read, relative to `home`, itself last; with the sample where it is used."""
    base = home()
    named = [base / CONFIGS / name for name in _NAMED_CONFIG.findall("\n".join(commands(file)))]
    configs = dict.fromkeys(path for top in (file, *named) if top.is_file() for path in config_files(top))
    found = list(reversed(configs))
    if uses_sample(file):
        sample = [base / SAMPLE / name for name in _SAMPLE_FILES]
        found = [path for top in sample for path in ([top] if top.is_file() else sorted(top.rglob("*")))] + found
    # What GDAL has written beside the sample (`*.aux.xml`) is none of it.
    return tuple(path.resolve().relative_to(base) for path in found if path.is_file() and path.suffix != ".xml")


@dataclass(frozen=True)
class Copied:
    """What a copy has done.

    Parameters
    ----------
    config : Path
        The recipe, where it is now.
    written : tuple of Path
        Files that are new or were replaced.
    there : tuple of Path
        Files that were there already, with the same content.
    """

    config: Path
    written: tuple[Path, ...]
    there: tuple[Path, ...]


def copy_recipe(file: Path, folder: Path, *, overwrite: bool = False) -> Copied:
    """Copy a recipe with what it needs, all of it or nothing.

    Parameters
    ----------
    file : Path
        From `find_recipe`.
    folder : Path
        Gets ``config/`` and, for recipes that read it, ``datasets/sample/``.
    overwrite : bool
        Replace files that have another content.

    Raises
    ------
    ValueError
        If files of another content are in the way and are not to be replaced.
    OSError
        If something cannot be written; then everything is as before.
    """
    base = home()
    content = {folder / name: (base / name).read_bytes() for name in files_of(file)}
    there = tuple(path for path, data in content.items() if path.is_file() and path.read_bytes() == data)
    new = {path: data for path, data in content.items() if path not in there}
    in_the_way = [path for path in new if path.exists()]
    if in_the_way and not overwrite:
        msg = (
            f"{', '.join(map(str, in_the_way))}: there already, with another content. Nothing was copied. --overwrite "
            "replaces, another FOLDER leaves them alone."
        )
        raise ValueError(msg)
    _write_all(new)
    return Copied(folder / file.resolve().relative_to(base), tuple(new), there)


def _write_all(content: Mapping[Path, bytes]) -> None:
    """Write files in this order, all or none: under temporary names first, and what was there is kept until the end."""
    with ExitStack() as undo:
        old = []
        partials = {path: _staged(path, data, undo) for path, data in content.items()}
        for path, partial in partials.items():
            if path.exists():
                aside = partial_path(path)
                path.replace(aside)
                undo.callback(aside.replace, path)
                old.append(aside)
            else:
                undo.callback(path.unlink, missing_ok=True)
            put_in_place(partial, path, functools.partial(_expect, content[path]))
        undo.pop_all()
    for aside in old:
        remove_partial(aside)


def _staged(path: Path, data: bytes, undo: ExitStack) -> Path:
    for folder in (part for part in (path.parent, *path.parent.parents) if not part.exists()):
        undo.callback(_remove_if_empty, folder)
    make_folder(path.parent)
    partial = partial_path(path)
    undo.callback(remove_partial, partial)
    partial.write_bytes(data)
    return partial


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _expect(data: bytes, written: Path) -> None:
    if written.read_bytes() != data:
        msg = f"{written} does not hold what was written. Is the disk full?"
        raise OSError(msg)


def _texts(node: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(node, dict | list):
        for value in node.values() if isinstance(node, dict) else node:
            yield from _texts(value)
    elif isinstance(node, str):
        yield node
