"""A file on a server, of which any part can be read."""

from __future__ import annotations

import time
from collections.abc import Sequence

from eo_core.addresses import without_credentials
from eo_data.raster.remote.cache import CacheEntry, RangeCache
from eo_data.raster.remote.memory import KnownFile, known_files
from eo_data.raster.remote.ranges import USUAL, Answer, Patience, RemoteError
from eo_data.raster.remote.signing import fetch_signed

#: Bytes that are fetched of a file that is opened: the head of most.
_HEAD = 16_384
#: Readers look at the tables of a file a few bytes at a time; fewer than this are not asked for.
_AHEAD = 4_096
#: Ranges that lie no further apart are fetched at once.
_APART = 1_024
#: More is fetched by several requests.
_LONGEST = 8_000_000
#: Bytes that are kept while a file is open of which the server states no version.
_MOST_OWN = 16_000_000
#: What the page of a web site begins with, which servers give for addresses that they do not know.
_PAGES = (b"<!doctype html", b"<html")


class PageError(RemoteError):
    """A page of a web site where a file should be."""


class RemoteFile:
    """A file on a server.

    One request when it is made tells its size and version: of a byte where the file is known, else of its head. Where
    this process has asked within ``patience.trust`` seconds, there is none. A range that comes from another version is
    an error, so that no picture mixes two.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    cache : RangeCache, optional
        Where fetched ranges are kept; not for files without ``ETag`` and ``Last-Modified``, of which no change shows.
    patience : Patience
        How long the server is waited for.
    service : str
        By which requests are signed, see `eo_data.raster.remote.signing`; without, ``url`` has its signature.
    head : int
        Bytes that the first request asks for of a file that is not known.

    Raises
    ------
    RemoteError
        If it cannot be reached, refuses, or gives a page of a web site.
    ValueError
        If the user has no keys for it.
    """

    def __init__(
        self,
        url: str,
        cache: RangeCache | None = None,
        patience: Patience = USUAL,
        service: str = "",
        head: int = _HEAD,
    ) -> None:
        self._url, self._patience, self._service = url, patience, service
        address = without_credentials(url)
        known = known_files().find(url)
        first: Answer | None = None
        if known is None or time.monotonic() - known.checked > patience.trust:
            on_disk = cache is not None and cache.knows(address)
            first = self._asked(0, 1 if known or on_disk else head)
            _refuse_page(first.data)
            known = self._recalled(known, first)
        self.size, self._version, self._known = known.size, known.version, known
        self._entry = cache.entry(address, self.size, self._version) if cache is not None and self._version else None
        # Of a server without ranges, or without versions, nothing is remembered from one opening to the next.
        self._own: dict[tuple[int, int], bytes] = {}
        self._ranges = {*known.ranges}
        if self._entry is not None:
            self._ranges |= self._caught_up(self._entry)
        if first is not None and len(first.data) > 1:
            self._keep(first)

    @property
    def known(self) -> KnownFile:
        """What the process remembers of it."""
        return self._known

    def _recalled(self, known: KnownFile | None, now: Answer) -> KnownFile:
        """Return what is known of the version that the server has now."""
        moment = time.monotonic()
        if known is not None and (known.size, known.version) == (now.size, now.version):
            known.checked = moment
            return known
        found = KnownFile(now.size, now.version, moment)
        if now.version:  # of others no change would show
            known_files().add(self._url, found)
        return found

    def _caught_up(self, entry: CacheEntry) -> set[tuple[int, int]]:
        """Return the ranges that are kept on the disk, with what was remembered before there was a cache."""
        there = set(entry.ranges())
        for own, data in list(self._known.ranges.items()):
            if own not in there:
                entry.write(own[0], data)
        for name, stated in self._known.absent.items():
            if stated and not entry.lacks(name):
                entry.note_absent(name)
        return there

    def _asked(self, start: int, stop: int) -> Answer:
        return fetch_signed(self._url, self._service, start, stop, self._patience)

    def read(self, start: int, count: int, *, ahead: int = _AHEAD) -> bytes:
        """Return bytes of the file, fewer only at its end.

        Parameters
        ----------
        start, count : int
            Which.
        ahead : int
            At least so many are fetched, for the next call.

        Raises
        ------
        RemoteError
            If the server does not give them, or has another version by now.
        """
        stop, position = min(start + count, self.size), start
        parts = []
        while position < stop:
            first, data = self._kept_at(position) or self._fetched(position, stop, ahead)
            parts.append(data[position - first : stop - first])
            position = first + len(data)
        return b"".join(parts)

    def read_many(self, starts: Sequence[int], counts: Sequence[int]) -> list[bytes]:
        """Return the bytes of several ranges, of which neighbours are fetched at once; otherwise as `read`."""
        wanted = sorted((start, start + count) for start, count in zip(starts, counts, strict=True))
        runs: list[tuple[int, int]] = []
        for start, stop in wanted:
            if runs and start <= runs[-1][1] + _APART:
                runs[-1] = (runs[-1][0], max(runs[-1][1], stop))
            else:
                runs.append((start, stop))
        data = {run: self.read(run[0], run[1] - run[0], ahead=0) for run in runs}
        found = []
        for start, count in zip(starts, counts, strict=True):
            run = next(run for run in runs if run[0] <= start and start + count <= run[1])
            found.append(data[run][start - run[0] : start - run[0] + count])
        return found

    def lacks(self, name: str) -> bool:
        """Whether it is known that no file of this name lies beside this version."""
        return name in self._known.absent or (self._entry is not None and self._entry.lacks(name))

    def note_absent(self, name: str, *, stated: bool) -> None:
        """Note that no file of this name lies beside this version; for other processes, too, if the server says so."""
        self._known.absent[name] = stated
        if stated and self._entry is not None:
            self._entry.note_absent(name)

    def _kept_at(self, position: int) -> tuple[int, bytes] | None:
        """Return a kept range that holds a byte, and where it starts."""
        while covering := [own for own in self._ranges if own[0] <= position < own[1]]:
            best = max(covering, key=lambda own: own[1])
            data = self._own.get(best) or known_files().recall(self._known, best)
            if data is None and self._entry is not None:
                data = self._entry.read(*best)
                self._remember(best, data or b"")
            if data:
                return best[0], data
            self._ranges.discard(best)
        return None

    def _fetched(self, position: int, stop: int, ahead: int) -> tuple[int, bytes]:
        """Fetch from a byte on, up to ``stop`` or what is kept."""
        end = min(max(stop, position + ahead), position + _LONGEST, self.size)
        end = min([end, *(first for first, _ in self._ranges if first > position)])
        answer = self._asked(position, end)
        if (answer.size, answer.version) != (self.size, self._version):
            known_files().forget(self._url)
            msg = "the file was changed on the server while it was read. Read it again"
            raise RemoteError(msg)
        self._keep(answer)
        return answer.start, answer.data

    def _keep(self, answer: Answer) -> None:
        if not answer.data:
            return
        own = (answer.start, answer.start + len(answer.data))
        if self._entry is not None:
            self._entry.write(answer.start, answer.data)
        self._remember(own, answer.data)

    def _remember(self, own: tuple[int, int], data: bytes) -> None:
        if not data:
            return
        if self._version:
            known_files().keep(self._known, own, data)
        elif len(data) == self.size or sum(map(len, self._own.values())) < _MOST_OWN:
            self._own[own] = data
        self._ranges.add(own)


def _refuse_page(head: bytes) -> None:
    """Refuse what is no file.

    Raises
    ------
    PageError
        If it is a page.
    """
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith(_PAGES):
        msg = (
            "the server gives a page of a web site (HTML), no file: it may not know the address, or ask for a sign-in. "
            "Give the address of the file itself, as its link for downloads has it"
        )
        raise PageError(msg)
