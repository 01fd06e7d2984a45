"""File patterns below a root folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

#: What a pattern may hold, and the regular expression behind each.
_TOKENS = re.compile(r"\{id\}|\{band\}|\*\*/|\*|\?")
_PIECES = {"{id}": r"(?P<id>.+?)", "{band}": r"(?P<band>[^/]+?)", "**/": r"(?:.*/)?", "*": r"[^/]*", "?": r"[^/]"}


@dataclass(frozen=True)
class FilePattern:
    """A path pattern below a root folder.

    Parameters
    ----------
    text : str
        With ``{id}`` for the id of a sample (may reach over folders), ``{band}`` for the name of a band where every
        band has its own file, and the wildcards ``*``, ``?`` and ``**/``. Without ``{id}`` all files belong to one
        sample.

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
        pieces: list[str] = []
        last = 0
        for token in _TOKENS.finditer(self.text):
            pieces.append(re.escape(self.text[last : token.start()]))
            piece = choices[token.group()]
            name = token.group().strip("{}")
            pieces.append(f"(?P={name})" if piece in pieces and piece.startswith("(?P") else piece)
            last = token.end()
        pieces.append(re.escape(self.text[last:]))
        return re.compile("".join(pieces))

    def folder(self, root: Path) -> Path:
        """Return the folder below ``root`` that the fixed part of the pattern names."""
        token = _TOKENS.search(self.text)
        return root / PurePosixPath(self.text[: token.start()] + "x" if token else self.text).parent

    def find(self, root: Path, bands: Iterable[str] = ()) -> Iterator[tuple[re.Match[str], Path]]:
        """Yield matching files (or Zarr folders) below ``root`` in the order of their names, without hidden ones.

        Parameters
        ----------
        root : Path
            Folder that the pattern starts from.
        bands : iterable of str
            See `regex`.

        Raises
        ------
        ValueError
            If the fixed part of the pattern is no folder.
        """
        folder = self.folder(root)
        if not folder.is_dir():
            msg = f"There is no folder {folder} for the pattern {self.text!r}. Set the root folder or the pattern."
            raise ValueError(msg)
        regex = self.regex(bands)
        for path in _walk(folder):
            match = regex.fullmatch(path.relative_to(root).as_posix())
            if match:
                yield match, path


def _walk(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.suffix != ".zarr":
            yield from _walk(path)
        else:
            yield path
