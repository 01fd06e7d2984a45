"""One range of a file on a server: asked for again where that may help, refused at once where it cannot.

Nothing here shows an address: those who call know it, and may have to hide its signature.

Sources: RFC 9110, sections 10.2.3 (Retry-After), 14 (ranges) and 8.8 (ETag, Last-Modified); RFC 6585 (429).
"""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import requests
from requests.exceptions import ChunkedEncodingError, RequestException, SSLError, Timeout
from urllib3.exceptions import HTTPError, InvalidHeader, ProtocolError, ReadTimeoutError
from urllib3.util import Retry

from eo_core.addresses import logs_without_credentials

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CODE = re.compile(rb"<Code>(\w{1,60})</Code>")
#: Answers of a server that is busy or ill for the moment.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
#: A server that knows no ranges sends the whole file, which is taken up to this many bytes.
_LARGEST_WHOLE = 64_000_000
#: Bytes of what a service may answer, such as JSON.
_LARGEST_CONTENT = 4_000_000
_CHUNK = 1 << 16
#: An answer that comes in drops ends after this many time-outs.
_TIMEOUTS_IN_ALL = 10


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for, and how often it is asked.

    Parameters
    ----------
    timeout : float
        Seconds for a connection, and for the next bytes of an answer.
    waits : tuple of float
        Seconds before each further try; a server that states more (``Retry-After``) gets it.
    longest_wait : float
        Seconds that a server may ask to be waited for; of more there is an error at once.
    trust : float
        Seconds for which a file is taken for what it was when the server was last asked. Whatever is fetched
        meanwhile is checked in any case.
    """

    timeout: float = 30.0
    waits: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    longest_wait: float = 60.0
    trust: float = 60.0


USUAL = Patience()


class RemoteError(OSError):
    """A server that does not give what it should.

    Parameters
    ----------
    reason : str
        What is wrong, without the address.
    status : int
        Its answer as a number of HTTP; 0 where there was none, or one that was not as announced.
    region : str
        Where the bucket is, if a store with S3's interface says so.
    """

    def __init__(self, reason: str, status: int = 0, region: str = "") -> None:
        super().__init__(reason)
        self.status, self.region = status, region


class _PassingError(RemoteError):
    """What may be better at the next try, after some seconds."""

    def __init__(self, reason: str, status: int = 0, after: float = 0.0) -> None:
        super().__init__(reason, status)
        self.after = after


@dataclass(frozen=True)
class Answer:
    """Some bytes of a file.

    Parameters
    ----------
    start : int
        Of the first byte.
    data : bytes
        All bytes that were asked for, fewer only at the end of the file; all of it from a server without ranges.
    size : int
        Bytes of the whole file.
    version : str
        Its ``ETag``, or else ``Last-Modified``; empty if the server states neither.
    """

    start: int
    data: bytes
    size: int
    version: str


def fetch(url: str, start: int, stop: int, patience: Patience = USUAL) -> Answer:
    """Fetch the bytes ``[start, stop)`` of a file.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``, with its signature. Passwords may also stand in ``.netrc``.
    start, stop : int
        The range.
    patience : Patience
        How often it is tried.

    Raises
    ------
    RemoteError
        At once if the server refuses (401, 403, 404 and the like) or asks for a long wait; after all tries if it is
        busy or ill (429, 5xx), cannot be reached, is slow, or ends its answer early.
    """
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    return _tried(
        lambda: _asked(url, headers, lambda response: _answer(response, start, stop, patience), patience), patience
    )


def fetch_content(url: str, patience: Patience = USUAL) -> bytes:
    """Fetch all that a service answers, such as JSON; otherwise as `fetch`.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    patience : Patience
        How often it is tried.

    Raises
    ------
    RemoteError
        As of `fetch`.
    """
    return _tried(
        lambda: _asked(url, {}, lambda response: _taken(response, _LARGEST_CONTENT, patience), patience), patience
    )


def _tried[T](ask: Callable[[], T], patience: Patience) -> T:
    """Ask until there is an answer, or no patience is left."""
    for wait in (*patience.waits, None):
        try:
            return ask()
        except _PassingError as error:
            passing = error
        if wait is None:
            break
        if passing.after > patience.longest_wait:
            msg = f"{passing}, and asks to be left alone for {passing.after:.0f} s"
            raise RemoteError(msg, passing.status)
        time.sleep(max(wait, passing.after))
    msg = f"{passing} (tried {len(patience.waits) + 1} times)"
    raise RemoteError(msg, passing.status)


@functools.lru_cache(maxsize=1)
def _session(process: int) -> requests.Session:
    """Return the connections of a process; a forked one must not share them."""
    return requests.Session()


def _asked[T](url: str, headers: Mapping[str, str], read: Callable[[requests.Response], T], patience: Patience) -> T:
    # Messages of requests hold the address, hence none is kept, also not as the context of our error.
    try:
        with (
            logs_without_credentials("urllib3"),
            _session(os.getpid()).get(url, headers=headers, stream=True, timeout=patience.timeout) as response,
        ):
            _refuse_unless_given(response)
            return read(response)
    except SSLError:
        fault = RemoteError("the certificate of the server is not trusted")
    except (Timeout, ReadTimeoutError):
        fault = _PassingError(f"the server gave no answer within {patience.timeout:g} s")
    except (ChunkedEncodingError, ProtocolError):
        fault = _PassingError("the answer ended early")
    except requests.ConnectionError:
        fault = _PassingError("the server cannot be reached or is too slow")
    except (RequestException, HTTPError) as error:
        fault = RemoteError(f"the address or the answer is not valid ({type(error).__name__})")
    raise fault


def _refuse_unless_given(response: requests.Response) -> None:
    status = response.status_code
    if status in (200, 206):
        return
    reason = f"the server answers {status} {response.reason or ''}".strip() + _code(response)
    if status in _PASSING:
        raise _PassingError(reason, status, seconds_asked_for(response.headers.get("Retry-After")))
    raise RemoteError(reason, status, response.headers.get("x-amz-bucket-region", ""))


def _code(response: requests.Response) -> str:
    """Return the word by which a store says what is wrong, the rest of whose answer may hold a key."""
    if "xml" not in response.headers.get("Content-Type", ""):
        return ""
    found = _CODE.search(response.raw.read(_CHUNK, decode_content=True) or b"")
    return f" ({found[1].decode()})" if found else ""


def _answer(response: requests.Response, start: int, stop: int, patience: Patience) -> Answer:
    """Check an answer, and take its bytes."""
    status, stated = response.status_code, response.headers
    version, modified = stated.get("ETag", ""), stated.get("Last-Modified", "")
    if not version or version.startswith("W/"):  # a weak tag may be that of other bytes, too
        version = f"{version} {modified}".strip()
    if status == 200:
        data = _body(response, _length_of_whole(response), patience)
        return Answer(0, data, len(data), version)
    given = _CONTENT_RANGE.fullmatch(stated.get("Content-Range", ""))
    if given is None:
        msg = f"the server does not say which part it gives (Content-Range: {stated.get('Content-Range')})"
        raise RemoteError(msg, status)
    first, last, size = (int(number) for number in given.groups())
    if (first, last + 1) != (start, min(stop, size)):
        msg = f"the server gives bytes {first}-{last} of {size} instead of {start}-{stop - 1}"
        raise _PassingError(msg, status)
    return Answer(start, _body(response, last + 1 - first, patience), size, version)


def _length_of_whole(response: requests.Response) -> int:
    length = response.headers.get("Content-Length", "")
    if not length.isdecimal() or int(length) > _LARGEST_WHOLE:
        msg = (
            f"the server gives no parts of files, and this one has {length or 'an unknown number of'} bytes (up to "
            f"{_LARGEST_WHOLE} are taken as a whole)"
        )
        raise RemoteError(msg, response.status_code)
    return int(length)


def _body(response: requests.Response, length: int, patience: Patience) -> bytes:
    """Take all bytes of an answer, and no others."""
    data = _taken(response, length, patience)
    if len(data) == length:
        return data
    if packed := response.headers.get("Content-Encoding"):
        msg = f"the server packs its answers (Content-Encoding: {packed}), although it was asked not to"
        raise RemoteError(msg, response.status_code)
    msg = f"{'more than ' * (len(data) > length)}{min(len(data), length)} of {length} bytes came"
    raise _PassingError(msg)


def _taken(response: requests.Response, most: int, patience: Patience) -> bytes:
    """Take an answer, of one that is longer than it may be a little more; a slow one has to end some time."""
    seconds = _TIMEOUTS_IN_ALL * patience.timeout
    until = time.monotonic() + seconds
    data = bytearray()
    # Unlike `iter_content`, this gives what is there, and does not wait for a chunk to be full.
    while len(data) <= most and (chunk := response.raw.read1(_CHUNK, decode_content=True)):
        data += chunk
        if time.monotonic() > until:
            msg = f"the answer did not end within {seconds:g} s; {len(data)} bytes came"
            raise _PassingError(msg)
    return bytes(data)


def seconds_asked_for(retry_after: str | None) -> float:
    """Return the seconds that a server wants to be left alone for; 0 if it says nothing that can be understood.

    Parameters
    ----------
    retry_after : str, optional
        Seconds, or a date; the header ``Retry-After``.
    """
    try:
        return Retry().parse_retry_after(retry_after or "0")
    except (InvalidHeader, ValueError, OverflowError):
        return 0.0
