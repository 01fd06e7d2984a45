"""Texts of users: one spelling of a name, and files that cannot be read as text or tables.

Unicode writes an accented letter in two ways that look the same.
"""

from __future__ import annotations

import csv
import difflib
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

#: A longer message shows what nobody reads, such as a cell of a table that is a megabyte long.
_LONGEST = 2000


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), by which names are compared.

    macOS decomposes the names of files (NFD), editors and other systems do not. Files are opened by their own bytes.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)


@contextmanager
def table_errors(what: str, path: Path) -> Iterator[None]:
    """Turn whatever goes wrong while a file of text or a table is read into a ``ValueError`` that names it.

    Parsers raise anything for a broken file (``csv.Error``, ``RecursionError`` of JSON, pyarrow's own, ...), and what
    they say does not name it. What names it already is left as it is.

    Parameters
    ----------
    what : str
        What the file is, such as ``The index``.
    path : Path
        The file.

    Raises
    ------
    ValueError
        With the name of the file.
    """
    try:
        yield
    except Exception as error:
        if type(error) is ValueError and str(path) in str(error):
            text = str(error)
            if len(text) < _LONGEST:
                raise
            raise ValueError(f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 4 :]}") from error
        named = isinstance(error, ValueError | OSError | csv.Error) and str(error)
        cause = " ".join(f"{'' if named else type(error).__name__} {error}"[:_LONGEST].split())
        msg = f"{what} {path} cannot be read: {cause}. It may be damaged or in another form; write it again."
        raise ValueError(msg) from error


def read_text(what: str, path: Path) -> str:
    """Return the text of a file in UTF-8, with or without a mark at its beginning.

    Raises
    ------
    ValueError
        If it is not there, is no UTF-8 or holds a NUL; the message names the file and the line.
    """
    with table_errors(what, path):
        data = path.read_bytes()
        try:
            text = data.decode("utf-8-sig")
            bad = text.encode().find(b"\0")
        except UnicodeDecodeError as error:
            bad, text = error.start, ""
            reason = f"is no UTF-8 ({error.reason})"
        else:
            reason = "holds a NUL, so that the file is no text"
        if bad < 0:
            return text
        msg = f"{what} {path} cannot be read: line {data[:bad].count(b'\n') + 1} {reason}. Write it again in UTF-8."
        raise ValueError(msg)


def percent(part: float, whole: float) -> str:
    """Return a share with two digits: ``0.29 %``, ``100 %``."""
    return f"{float(f'{100 * part / whole:.2g}'):g} %"


def nearest(name: str, known: Iterable[str], most: int = 3, cutoff: float = 0.6) -> list[str]:
    """Return the known names that are spelled most alike, the nearest first; capitals make no difference.

    Parameters
    ----------
    name : str
        What somebody wrote.
    known : iterable of str
        Names that there are.
    most : int
        How many to return at most.
    cutoff : float
        How alike they must be, 0 to 1.
    """
    by_spelling: dict[str, str] = {}
    for one in known:
        by_spelling.setdefault(one.casefold(), one)
    near = difflib.get_close_matches(name.casefold(), list(by_spelling), n=most, cutoff=cutoff)
    return [by_spelling[spelling] for spelling in near]


def did_you_mean(name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6) -> str:
    """Return a sentence, with a space in front, that asks whether a near name is meant; empty if none is near.

    Parameters are those of `nearest`.
    """
    found = nearest(name, known, most, cutoff)
    return f" Did you mean {' or '.join(map(repr, found))}?" if found else ""
