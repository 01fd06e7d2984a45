"""File patterns below a root folder."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eo_core.text import composed
from eo_data.catalog.patterns.folder_walk import Found, files_below, folder_of_name

#: What a pattern may hold, and the regular expression behind each.
_TOKENS = re.compile(r"\{id\}|\{band\}|\*\*/|\*|\?")
_PIECES = {"{id}": r"(?P<id>.+?)", "{band}": r"(?P<band>[^/]+?)", "**/": r"(?:.*/)?", "*": r"[^/]*", "?": r"[^/]"}
#: The suffix of a pattern's files.
_ENDING = re.compile(r"\.[\w?*]+$")


@dataclass(frozen=True)
class FilePattern:
    """A path pattern below a root folder.

    Parameters
    ----------
    text : str
        With ``{id}`` for the id of a sample (may reach over folders), ``{band}`` for the name of a band where every
        band has its own file, and the wildcards ``*``, ``?`` and ``**/``. Without ``{id}`` all files belong to one
        sample. Upper and lower case differ, but not in the suffix of the files.

    Raises
    ------
    ValueError
        For an absolute path, ``..``, or a ``{name}`` that is not known.
    """

    text: str

    def __post_init__(self) -> None:
        """Check the pattern."""
        parts = PurePosixPath(self.text).parts
        unknown = [name for name in re.findall(r"\{[^}]*\}", self.text) if name not in _PIECES]
        if not self.text or self.text.startswith("/") or ".." in parts or unknown:
            msg = (
                f"A file pattern is a path below the root folder such as 'S2Hand/{{id}}_S2Hand.tif', with {{id}}, "
                f"{{band}}, *, ? or **/ in it; got {self.text!r}."
            )
            raise ValueError(msg)

    @property
    def by_band(self) -> bool:
        """Whether every band has its own file."""
        return "{band}" in self.text

    @property
    def by_id(self) -> bool:
        """Whether files name their sample."""
        return "{id}" in self.text

    def regex(self, bands: Iterable[str] = ()) -> re.Pattern[str]:
        """Return the pattern as a regular expression with the groups ``id`` and ``band``.

        Parameters
        ----------
        bands : iterable of str
            What ``{band}`` may be, without regard to case; anything but a slash by default. Of ``{id}_{band}.tif`` and
            ``tile_1_B02.tif`` only this tells that the band is ``B02``, not ``1_B02``.
        """
        known = "|".join(re.escape(band) for band in sorted(bands, key=len, reverse=True))
        choices = _PIECES | ({"{band}": f"(?P<band>(?i:{known}))"} if known else {})
        text = composed(self.text)
        ending = _ENDING.search(text)
        of_ending = len(text) if ending is None else ending.start()
        pieces: list[str] = []
        last = 0
        for token in _TOKENS.finditer(text):
            pieces += _literal(text, last, token.start(), of_ending)
            piece = choices[token.group()]
            name = token.group().strip("{}")
            pieces.append(f"(?P={name})" if piece in pieces and piece.startswith("(?P") else piece)
            last = token.end()
        pieces += _literal(text, last, len(text), of_ending)
        return re.compile("".join(pieces))

    def folder(self, root: Path) -> Path:
        """Return the folder below ``root`` that the fixed part of the pattern names."""
        token = _TOKENS.search(self.text)
        fixed = PurePosixPath(self.text[: token.start()] + "x" if token else self.text).parent
        return folder_of_name(root, fixed.as_posix())

    def find(self, root: Path, bands: Iterable[str] = ()) -> Iterator[tuple[re.Match[str], Path]]:
        """Yield matching files (or Zarr folders) below ``root`` in the order of their names, without hidden ones.

        Upper and lower case differ but in the suffix (``x.TIF`` fits ``{id}.tif``) and in bands. What groups hold is in
        Unicode's composed form. Of files with the same groups that are links to one file, or are it, one counts. What
        lies in the folder of a product does not, if the folder itself matches.

        Parameters
        ----------
        root : Path
            Folder that the pattern starts from.
        bands : iterable of str
            See `regex`.

        Raises
        ------
        ValueError
            If the fixed part of the pattern is no folder, or two files differ in nothing but what does not count.
        """
        folder = self.folder(root)
        if not folder.is_dir():
            msg = f"There is no folder {folder} for the pattern {self.text!r}. Set the root folder or the pattern."
            raise ValueError(msg)
        regex = self.regex(bands)
        prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        found = [
            (match, file) for file in files_below(folder) if (match := regex.fullmatch(composed(prefix + file.name)))
        ]
        found = _once(_outside(found), folder)
        _check_names([file.name for _, file in found], folder)
        for match, file in found:
            yield match, folder / file.name


def _literal(text: str, start: int, stop: int, of_ending: int) -> list[str]:
    """Return a part of a pattern without tokens as a regular expression; case does not count within the ending."""
    exact, ending = text[start : min(stop, of_ending)], text[max(start, of_ending) : stop]
    return [*([re.escape(exact)] if exact else []), *([f"(?i:{re.escape(ending)})"] if ending else [])]


def _outside(found: list[tuple[re.Match[str], Found]]) -> list[tuple[re.Match[str], Found]]:
    """Leave out the files of products that are found themselves: ``{id}.SAFE`` is not ``x.SAFE/manifest.safe``."""
    products = {file.name for _, file in found if file.product}
    if not products:
        return found
    above = ((pair, PurePosixPath(pair[1].name).parents) for pair in found)
    return [pair for pair, folders in above if not any(str(place) in products for place in folders)]


def _once(found: list[tuple[re.Match[str], Found]], folder: Path) -> list[tuple[re.Match[str], Found]]:
    """Leave out files that are there several times by links, with the same id and band; their own name is kept."""
    if not any(file.linked for _, file in found):
        return found
    by_file: dict[tuple[object, ...], list[Found]] = {}
    for match, file in found:
        # Only links can be other files than they say.
        by_file.setdefault((*match.groups(), os.path.realpath(folder / file.name)), []).append(file)
    kept = {min(same, key=lambda file: (file.linked, file.name)).name for same in by_file.values()}
    return [(match, file) for match, file in found if file.name in kept]


def _check_names(names: list[str], folder: Path) -> None:
    """Refuse names that differ only in the case of the suffix or in the way their accents are written."""
    if all(name.isascii() for name in names) and len({os.path.splitext(name)[1] for name in names}) < 2:  # noqa: PTH122
        return
    by_name: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(composed(name))  # noqa: PTH122
        by_name.setdefault(stem + suffix.lower(), []).append(name)
    same = next((own for own in by_name.values() if len(own) > 1), None)
    if same is not None:
        msg = (
            f"The files {', '.join(map(_distinct, same))} in {folder} differ only in the case of their suffix or in "
            "how Unicode writes their accents (composed or decomposed): they are one sample. Rename or remove one."
        )
        raise ValueError(msg)


def _distinct(name: str) -> str:
    """Return a name as it is written, with the codes of letters that look the same."""
    return repr(name) if name.isascii() else f"{name!r} ({name!a})"
