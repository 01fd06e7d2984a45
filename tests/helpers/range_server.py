"""A server of files on this machine that gives ranges, counts what it gives, and fails on demand."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


@dataclass(frozen=True)
class Fault:
    """What is wrong with one answer: its status, half of its bytes missing, or its time."""

    status: int = 0
    retry_after: str = ""
    truncated: bool = False
    seconds: float = 0.0


@dataclass
class RangeServer:
    """What a server does and has done; faults are used up one by one, by requests for files that are there."""

    folder: Path
    host: str = ""
    signature: str = ""
    #: Names of files that nobody may read.
    refused: set[str] = field(default_factory=set)
    ranges: bool = True
    etags: bool = True
    faults: list[Fault] = field(default_factory=list)
    #: Path, and the range that was given.
    given: list[tuple[str, int, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def bytes_given(self) -> int:
        return sum(stop - start for _, start, stop in self.given)

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
        state.asked.append(url.path)
        path = state.folder / url.path.lstrip("/")
        if state.signature and parse_qs(url.query).get("sig") != [state.signature]:
            return self._empty(403)
        if path.name in state.refused:
            return self._empty(403)
        if not path.is_file():
            return self._empty(404)
        fault = state.faults.pop(0) if state.faults else Fault()
        time.sleep(fault.seconds)
        if fault.status:
            return self._empty(fault.status, fault.retry_after)
        return self._give(path, fault)

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
        if self.state.etags:
            self.send_header("ETag", f'"{state.st_mtime_ns}"')
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        self.state.given.append((path.name, start, stop))
        if fault.truncated:
            self.wfile.write(content[start : (start + stop) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content[start:stop])
