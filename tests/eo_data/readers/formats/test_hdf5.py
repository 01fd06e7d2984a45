"""An HDF5 names its arrays, not its bands: both come from the config, and a wrong name is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import level2a, read

from eo_data.raster.sample import SampleError


def test_hdf5(tmp_path: Path) -> None:
    data = np.zeros((3, 2, 4, 4), dtype=np.int16)
    data[2, 0], data[2, 1], data[0, 1, 0, 0] = 3, 2, -1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"], file["names"], file["flat"] = data, [b"S2A_20200101", b"S2B_20200106", b"x"], np.zeros((4, 4))
        file["one"] = data[2]
    reading = read(tmp_path / "a.h5", level2a(dataset="s2", products="names", file_bands=["B3", "B2"], nodata=-1))
    assert reading.pixels[2, :, 0, 0].tolist() == [2, 3]
    assert np.argwhere(np.isnan(reading.pixels)).tolist() == [[0, 0, 0, 0]]
    assert reading.frame_names == ("S2A_20200101", "S2B_20200106", "x")
    single = read(tmp_path / "a.h5", level2a("B2", dataset="one", file_bands=["B3", "B2"]))
    assert single.pixels.shape == (1, 4, 4)
    for options, message in (
        ({}, r"a.h5: it has the arrays \['flat', 'names', 'one', 's2'\]; name the one to read in dataset"),
        ({"dataset": "s3"}, r"it has the arrays .*got \['s3'\]"),
        ({"dataset": "s2", "products": "no"}, r"it has the arrays .*got \['no'\]"),
        ({"dataset": "flat"}, r"'flat' has shape \(4, 4\); expected \(T, C, H, W\) or \(C, H, W\)"),
        ({"dataset": "s2"}, "The band order of .*a.h5 .2 bands. is unknown"),
    ):
        with pytest.raises(SampleError, match=message):
            read(tmp_path / "a.h5", level2a(**options))
