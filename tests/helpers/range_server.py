"""A server of files on this machine that gives ranges, counts what it gives, and fails on demand."""

from __future__ import annotations

import email.utils
import http.server
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

_TOKENS = "/api/sas/v1/token"
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with one answer: its status, half of its bytes missing, or its time."""

    status: int = 0
    retry_after: str = ""
    truncated: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Instead:
    """An answer that is no file."""

    status: int
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class RangeServer:
    """What a server does and has done; faults are used up one by one, by requests for files that are there."""

    folder: Path
    host: str = ""
    signature: str = ""
    #: Seconds that a token is good for, by its own statement.
    token_seconds: float = 2700.0
    #: What the service of tokens has been asked for, and its next faults.
    tokens: list[str] = field(default_factory=list)
    token_faults: list[Fault] = field(default_factory=list)
    #: Called before an answer, with the path and the query.
    before: Callable[[str], object] = str
    #: Takes the path with its query and the host: what is answered instead of a file, if anything.
    instead: Callable[[str, str], Instead | None] | None = None
    #: Seconds that any answer takes, as on a long way.
    latency: float = 0.0
    #: Names of files that nobody may read.
    refused: set[str] = field(default_factory=set)
    ranges: bool = True
    etags: bool = True
    #: Whether all contents have one weak tag, as some servers give them.
    weak: bool = False
    faults: list[Fault] = field(default_factory=list)
    #: Faults that stay, by a part of the path.
    always: dict[str, Fault] = field(default_factory=dict)
    #: Path, and the range that was given.
    given: list[tuple[str, int, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def bytes_given(self) -> int:
        return sum(stop - start for _, start, stop in self.given)

    @property
    def service(self) -> str:
        """Address of the service that gives tokens for the files here, as the Planetary Computer's does."""
        return f"http://{self.host}{_TOKENS}"

    def forget(self) -> None:
        self.given.clear()
        self.asked.clear()


@contextmanager
def range_server(folder: Path) -> Iterator[RangeServer]:
    """Serve a folder at ``http://{host}/``; it ends with the block."""
    state = RangeServer(folder)
    handler = type("Handler", (_Handler,), {"state": state})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        state.host = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield state
        server.shutdown()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    #: Head and content of an answer are two packets, the second of which would wait 40 ms for a sign of the first.
    disable_nagle_algorithm = True
    state: RangeServer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        state, url = self.state, urlsplit(self.path)
        if url.path.startswith(_TOKENS):
            self._token(url.path)
            return
        state.before(self.path)
        time.sleep(state.latency)
        state.asked.append(url.path)
        if state.instead and (other := state.instead(self.path, self.headers.get("Host", ""))):
            self._other(other)
        else:
            self._file(url)

    def _file(self, url: SplitResult) -> None:
        state = self.state
        path = state.folder / unquote(url.path).lstrip("/")
        if state.signature and parse_qs(url.query).get("sig") != [state.signature]:
            return self._empty(403)
        if path.name in state.refused:
            return self._empty(403)
        if not path.is_file():
            return self._empty(404)
        lasting = (fault for part, fault in state.always.items() if part in self.path)
        fault = state.faults.pop(0) if state.faults else next(lasting, Fault())
        time.sleep(fault.seconds)
        if fault.status:
            return self._empty(fault.status, fault.retry_after)
        return self._give(path, fault)

    def _token(self, path: str) -> None:
        state = self.state
        state.tokens.append(path.removeprefix(f"{_TOKENS}/"))
        fault = state.token_faults.pop(0) if state.token_faults else Fault()
        if fault.status:
            self._empty(fault.status, fault.retry_after)
            return
        end = datetime.now(UTC) + timedelta(seconds=state.token_seconds)
        stated = {"msft:expiry": f"{end:%Y-%m-%dT%H:%M:%SZ}", "token": f"se=2030&sp=rl&sig={state.signature}"}
        content = b"<html>" if fault.truncated else json.dumps(stated).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _other(self, answer: Instead) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def _empty(self, status: int, retry_after: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()

    def _give(self, path: Path, fault: Fault) -> None:
        content, state = path.read_bytes(), path.stat()
        start, stop = 0, len(content)
        wanted = _RANGE.fullmatch(self.headers.get("Range", "")) if self.state.ranges else None
        if wanted:
            start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(content))
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        if self.state.weak:
            self.send_header("ETag", 'W/"1"')
            self.send_header("Last-Modified", email.utils.formatdate(state.st_mtime, usegmt=True))
        elif self.state.etags:
            self.send_header("ETag", f'"{state.st_mtime_ns}"')
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.state.given.append((path.name, start, stop))
        if fault.truncated:
            self.wfile.write(content[start : (start + stop) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[start:stop])
