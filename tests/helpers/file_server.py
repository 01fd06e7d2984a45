"""A server of files on this machine that asks for a signature or a password, in a process of its own.

rasterio holds Python's lock while GDAL waits for an answer, so that a thread could never give one.
"""

from __future__ import annotations

import base64
import functools
import http.server
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

SIGNATURES = ("SECRET1", "SECRET2")
PASSWORD = "SECRET3"  # noqa: S105


class _Guarded(http.server.SimpleHTTPRequestHandler):
    def send_head(self) -> Any:
        """Serve what is asked for by ``?sig=`` or by the user ``user``; refuse all else."""
        given = parse_qs(urlsplit(self.path).query).get("sig", [""])[0]
        basic = "Basic " + base64.b64encode(f"user:{PASSWORD}".encode()).decode()
        if given in SIGNATURES or self.headers.get("Authorization") == basic:
            return super().send_head()
        self.send_error(403)
        return None

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder; gives ``127.0.0.1:<port>``."""
    command = [sys.executable, __file__, str(folder)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    try:
        assert server.stdout is not None
        yield f"127.0.0.1:{server.stdout.readline().strip()}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    handler = functools.partial(_Guarded, directory=sys.argv[1])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        sys.stdout.write(f"{listening.server_port}\n")
        sys.stdout.flush()
        listening.serve_forever()
