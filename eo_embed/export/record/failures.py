"""Items that could not be exported, and why."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from eo_core.addresses import without_credentials
from eo_core.files import write_text

NAME = "failures.csv"
COLUMNS = ("id", "reason", "file")
OnError = Literal["raise", "skip"]
ON_ERROR: tuple[OnError, ...] = get_args(OnError)
#: Where each process keeps its own until they are merged.
_PARTS = "progress/failures-{rank}-{number}.csv"
#: Why a sample has no embedding, or a raster of which no tile has one.
NOTHING_OBSERVED = "nothing of it was observed. Choose another time or place, or look at its masks of clouds."
#: How many an error names.
_NAMED = 5


class Failures:
    """Collects the failures of one process; ``merge`` makes ``failures.csv`` of those of all.

    Parameters
    ----------
    folder : str or Path
        Folder of the export.
    rank : int
        Number of this process.
    root : Path, optional
        Folder of the data set: paths in it are told from there on.
    """

    def __init__(self, folder: str | Path, rank: int = 0, root: Path | None = None) -> None:
        self.folder = Path(folder)
        self.rank = rank
        places = () if root is None else (root, root.absolute(), root.resolve())
        above = sorted({re.escape(f"{place}/") for place in places}, key=len, reverse=True)
        self._above = re.compile(rf"(?<![\w./-])(?:{'|'.join(above)})") if above else None
        self._new: list[dict[str, str]] = []

    def add(self, id: str, reason: str | Exception, file: str | Path = "") -> None:  # noqa: A002
        """Note an item that failed; ``write`` brings it to the disk.

        Parameters
        ----------
        id : str
            Id of the item.
        reason : str or Exception
            What was wrong; line breaks become spaces, and addresses lose their credentials.
        file : str or Path
            The file at fault, if one is.
        """
        text = " ".join(str(reason).split()) or type(reason).__name__
        row = {"id": id, "reason": self._shown(text), "file": self._shown(str(file))}
        # File names need not be valid Unicode, and the table must not fail over the item that failed.
        self._new.append({key: value.encode("utf-8", "backslashreplace").decode() for key, value in row.items()})

    def _shown(self, text: str) -> str:
        """Return a text without credentials, and without the folders above the data set."""
        text = without_credentials(text)
        return text if self._above is None else self._above.sub("", text)

    def write(self) -> None:
        """Write what was added since the last call, in a file of its own: whole or not at all."""
        if not self._new:
            return
        number = 1 + max((int(path.stem.split("-")[2]) for path in self._files(str(self.rank))), default=-1)
        write_text(self.folder / _PARTS.format(rank=self.rank, number=f"{number:06d}"), _as_csv(self._new))
        self._new = []

    def merge(self, rasters: Callable[[], Collection[str]] = frozenset) -> list[dict[str, str]]:
        """Write ``failures.csv`` with one row per id, its first failure, and return the rows.

        Call it in one process, when all have written. Without failures there is no file.

        Parameters
        ----------
        rasters : callable
            Gives the ids of rasters of which something is there: that other tiles of them hold no data is no failure.
            Called only if such tiles were noted.
        """
        self.write()
        rows: dict[str, dict[str, str]] = {}
        for path in self._files("*"):
            for row in _from_csv(path):
                rows.setdefault(row["id"], row)
        if blank := [key for key, row in rows.items() if row["reason"] == NOTHING_OBSERVED]:
            there = rasters()
            rows = {key: row for key, row in rows.items() if key not in blank or key not in there}
        merged = [rows[key] for key in sorted(rows)]
        if merged:
            write_text(self.folder / NAME, _as_csv(merged))
        else:
            (self.folder / NAME).unlink(missing_ok=True)
        return merged

    def forget(self) -> None:
        """Remove what earlier runs noted: those items are tried again."""
        for path in self._files("*"):
            path.unlink(missing_ok=True)

    def raise_if_any(self, on_error: OnError, *, others: bool = True, partial: bool = False) -> None:
        """End the run with an error if items failed, unless they may be skipped.

        Parameters
        ----------
        on_error : {'raise', 'skip'}
            Whether failed items end the run with an error.
        others : bool
            Whether there are finished items; without, failures are never skipped.
        partial : bool
            Whether only a part of each raster was looked at: that a part holds no data is no failure.

        Raises
        ------
        ValueError
            If an item of any process failed under ``raise``, or all did; or for another value.
        """
        if on_error not in ON_ERROR:
            msg = f"on_error must be one of {', '.join(ON_ERROR)}, got {on_error!r}."
            raise ValueError(msg)
        if on_error == "skip" and others:
            return
        table = self.folder / NAME
        failed = _from_csv(table) if table.is_file() else self._new
        failed = [row for row in failed if not (partial and row["reason"] == NOTHING_OBSERVED)]
        if failed:
            named = "; ".join(f"{row['id']}: {row['reason']}" for row in failed[:_NAMED])
            more = f"; and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
            msg = (
                f"{len(failed)} items could not be exported: {named}{more}. All are in {table}. The others are "
                "finished: repair the files and run again, or leave the items out with on_error: skip."
                if others
                else f"No item could be exported: {named}{more}. All are in {table}."
            )
            raise ValueError(msg)

    def _files(self, rank: str) -> list[Path]:
        return sorted(self.folder.glob(_PARTS.format(rank=rank, number="*")))


def _as_csv(rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _from_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
