"""One range of a file: servers that pack, drip, and say odd things are named, or asked again, within a known time."""

from __future__ import annotations

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from eo_data.raster.remote.ranges import Patience, RemoteError, fetch, fetch_content

_QUICK = Patience(timeout=0.4, waits=(0.01,), longest_wait=3.0, trust=0.0)
_CONTENT = bytes(range(200)) * 20


@contextmanager
def answering(give: Callable[[Any], object]) -> Iterator[str]:
    """Serve on this machine what a function gives for each request."""

    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            give(self)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/x.tif"
        server.shutdown()


def begin(request: Any, status: int, length: int, headers: Mapping[str, str]) -> None:
    request.send_response(status)
    for name, value in {"Content-Length": str(length), **headers}.items():
        request.send_header(name, value)
    request.end_headers()


def dripping(request: Any) -> None:
    """Give a byte in much less than the time-out, and so on for two minutes."""
    begin(request, 206, len(_CONTENT), {"Content-Range": f"bytes 0-{len(_CONTENT) - 1}/{len(_CONTENT)}"})
    for position in range(400):
        try:
            request.wfile.write(_CONTENT[position : position + 1])
        except OSError:
            return
        time.sleep(0.3)


@pytest.mark.parametrize(
    "ask", [lambda url: fetch(url, 0, len(_CONTENT), _QUICK), lambda url: fetch_content(url, _QUICK)]
)
def test_an_answer_in_drops_ends_after_ten_time_outs(ask: Callable[[str], object]) -> None:
    """Each drop is in time, so that no time-out ends it: a run would wait for hours."""
    started = time.monotonic()
    with answering(dripping) as url, pytest.raises(RemoteError, match="did not end within 4 s.*tried 2 times"):
        ask(url)
    assert time.monotonic() - started < 12


def test_a_server_that_packs_its_answers_is_told_so() -> None:
    packed = gzip.compress(_CONTENT)

    def give(request: Any) -> None:
        begin(request, 200, len(packed), {"Content-Encoding": "gzip"})
        request.wfile.write(packed)

    with answering(give) as url, pytest.raises(RemoteError, match="packs its answers .Content-Encoding: gzip."):
        fetch(url, 0, 100, _QUICK)


@pytest.mark.parametrize("after", ["soon", "-5", "9" * 5000, "Fri, 31 Dec 99999 23:59:59 GMT", "1e9"])
def test_a_time_to_come_again_that_makes_no_sense_is_none(after: str) -> None:
    """Some of these are no `InvalidHeader` of urllib3 but a ValueError, which would be lost within GDAL."""

    def busy(request: Any) -> None:
        begin(request, 429, 0, {"Retry-After": after})

    with answering(busy) as url, pytest.raises(RemoteError, match=r"answers 429 Too Many Requests \(tried 2 times\)"):
        fetch(url, 0, 100, _QUICK)
