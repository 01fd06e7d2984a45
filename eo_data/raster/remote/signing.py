"""Files that a server gives only where the request is signed: signed when it is sent, never before.

A signature is good for minutes, and the files of many places are read for hours. What a file is called, in messages,
manifests and the cache, is its address without one.

`Href.service` says how: for ``http(s)://`` it is the service that gives tokens for the containers of a store (the form
of the Planetary Computer's ``api/sas/v1/token``), for ``s3://`` the store itself; without, ``s3://`` is the user's own.
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.keys import keys_for, presigned
from eo_data.raster.remote.own_stores import address, needed_store, own_store
from eo_data.raster.remote.ranges import USUAL, Answer, Patience, RemoteError, fetch, fetch_content

#: Seconds before its end from which on a token is not used any more: a read may take some.
_BEFORE_END = 120.0
#: A token is asked for at most once in so many seconds, even if this machine's clock says that it is over.
_AT_MOST_EVERY = 30.0
#: A token in place of a refused one is not asked for again so soon: it is not the token that the store does not like.
_TRUSTED = 60.0
_REFUSED = (401, 403)
_OBJECT_STORE = "s3"
#: Service of files in the user's own store.
_OWN = "own store"


@dataclass(frozen=True)
class _Token:
    """The query of signed addresses, until when it may be used and when it was given, by the clocks of this machine."""

    query: str
    until: float
    given: float
    in_place_of_refused: bool = False

    @property
    def is_fresh(self) -> bool:
        return time.time() < self.until or time.monotonic() - self.given < _AT_MOST_EVERY


def located(href: Href) -> tuple[str, str]:
    """Return the address at which a file is asked for, not signed, and the service that signs it.

    Parameters
    ----------
    href : Href
        ``http(s)://...``, or ``s3://bucket/key`` of the store that its ``service`` names, or else of the user's own.

    Raises
    ------
    ValueError
        If it names no file of a bucket, or what the environment says of the user's store cannot be used.
    """
    scheme, _, rest = href.text.partition("://")
    if scheme.lower() != _OBJECT_STORE:
        return href.text, href.service
    # A key may have any characters, also those that begin a query.
    bucket, _, key = rest.partition("/")
    if not bucket or not key.strip("/"):
        msg = f"{href} names no file: write s3://bucket/key, such as s3://my-bucket/2022/scene.tif."
        raise ValueError(msg)
    if not href.service:
        needed_store(f"{href}")
        return address(bucket, key), _OWN
    return f"{href.service.rstrip('/')}/{bucket}/{quote(key)}", href.service


def signs_own() -> bool:
    """Whether files of the user's own store can be signed here, or need no signature.

    Raises
    ------
    ValueError
        As of `eo_data.raster.remote.own_stores.own_store`.
    """
    return own_store() is not None


def fetch_signed(url: str, service: str, start: int, stop: int, patience: Patience = USUAL) -> Answer:
    """Fetch the bytes ``[start, stop)`` of a file, with the signature that its service asks for.

    Parameters
    ----------
    url, service : str
        As `located` gives them; no service for files that need no signature, or have theirs in ``url``.
    start, stop, patience
        As of `eo_data.raster.remote.ranges.fetch`.

    Raises
    ------
    RemoteError
        As of `fetch`; if the service gives no token; or if the file is refused with a new one, too.
    ValueError
        If there are no keys for the store.
    """
    if not service:
        return fetch(url, start, stop, patience)
    if service == _OWN:
        return needed_store(_host(url)).asked(url, lambda signed: fetch(signed, start, stop, patience))
    if url.startswith(f"{service.rstrip('/')}/"):
        return fetch(presigned(url, keys_for(service)), start, stop, patience)
    tokens = _tokens(os.getpid())
    name = _container(url, service)
    token, before = tokens.of(name, patience), None
    while token != before:
        try:
            return fetch(_with_query(url, token.query), start, stop, patience)
        except RemoteError as error:
            if error.status not in _REFUSED:
                raise
            refused = error
        token, before = tokens.of(name, patience, refused=token), token
    msg = f"{refused}, also with a new signature of {_host(service)}: it gives no right to read this file"
    raise RemoteError(msg, refused.status)


class _Tokens:
    """The tokens of a process, by the address that gives them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[str, _Token] = {}

    def of(self, address: str, patience: Patience, refused: _Token | None = None) -> _Token:
        """Return a token: the one that is held, or a new one if that is over or was refused."""
        with self._lock:
            held = self._held.get(address)
            if held is not None and held.is_fresh and held != refused:
                return held
            if held is not None and held == refused and _is_trusted(held):
                return held
            self._held[address] = _asked_for(address, patience, in_place_of_refused=refused is not None)
            return self._held[address]


@functools.lru_cache(maxsize=1)
def _tokens(process: int) -> _Tokens:
    """Return the tokens of a process; a forked one has its own, as another thread may hold the lock."""
    return _Tokens()


def _is_trusted(token: _Token) -> bool:
    return token.in_place_of_refused and time.monotonic() - token.given < _TRUSTED


def _asked_for(address: str, patience: Patience, *, in_place_of_refused: bool) -> _Token:
    """Ask for a token; the form of the answer is that of the Planetary Computer."""
    fault = ""
    try:
        answer = json.loads(fetch_content(address, patience))
        end = datetime.fromisoformat(answer["msft:expiry"])
        query = str(answer["token"])
    except RemoteError as error:
        fault = f"{error}"
    except (ValueError, KeyError, TypeError):  # its text may hold the token
        fault = "its answer is none (expected JSON with msft:expiry and token)"
    if fault:
        # No status: it is not that of the file.
        msg = f"the service that signs its address, {_host(address)}, gives no signature: {fault}"
        raise RemoteError(msg)
    until = (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() - _BEFORE_END
    return _Token(query, until, time.monotonic(), in_place_of_refused)


def _container(url: str, service: str) -> str:
    """Return the address of the token for the container that a file of Azure's stores lies in."""
    parts = urlsplit(url)
    account = (parts.hostname or "").partition(".")[0]
    container = parts.path.lstrip("/").partition("/")[0]
    return f"{service.rstrip('/')}/{account}/{container}"


def _with_query(url: str, query: str) -> str:
    return f"{url}{'&' if urlsplit(url).query else '?'}{query.lstrip('?')}"


def _host(address: str) -> str:
    return urlsplit(address).hostname or address
