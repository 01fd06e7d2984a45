"""A server of files on this machine, and a raster on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from range_server import RangeServer, range_server
from remote_rasters import write_remote


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RangeServer]:
    (tmp_path / "server").mkdir()
    with range_server(tmp_path / "server") as running:
        yield running


@pytest.fixture
def pixels(server: RangeServer) -> np.ndarray:
    return write_remote(server.folder / "x.tif")
