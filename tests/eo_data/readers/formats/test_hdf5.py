"""An HDF5 names its arrays, not its bands: both come from the config, and a wrong name is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import level2a, read

from eo_data.catalog.sources import ImageSource
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


def test_the_attributes_of_an_array_count(tmp_path: Path) -> None:
    """As in NetCDF, which is HDF5; a fill value may be the array's own, of which 0 is the default."""
    numbers = np.full((2, 4, 4), 5000, dtype=np.int16)
    numbers[:, 0, 0], numbers[:, 0, 1], numbers[:, 0, 2] = -9999, -1, 0
    with h5py.File(tmp_path / "a.h5", "w") as file:
        array = file.create_dataset("s2", data=numbers, fillvalue=-9999)
        array.attrs.update(
            {"scale_factor": np.array([1e-4, 2e-4]), "missing_value": np.int16(-1), "units": np.bytes_("1")}
        )
    source = ImageSource("x", ["B2", "B3"], sensor="sentinel2_l2a", dataset="s2", file_bands=["B3", "B2"])
    pixels = read(tmp_path / "a.h5", source).pixels
    assert np.argwhere(np.isnan(pixels[0])).tolist() == [[0, 0], [0, 1]]
    np.testing.assert_allclose(pixels[:, 0, 2:4], [[0, 1.0], [0, 0.5]], rtol=1e-6)


def test_a_damaged_heap_of_texts_is_refused(tmp_path: Path) -> None:
    """HDF5 walks through it for ever: an object of no size has no next one."""
    source = level2a(dataset="s2", products="names", file_bands=["B2", "B3"])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"], file["names"] = np.ones((2, 2, 4, 4), "u2"), ["S2A_20200101", "S2B_20200106"]
        # Neither of these refers to texts in a heap.
        file.create_dataset("links", data=[file["s2"].ref] * 2, dtype=h5py.ref_dtype)
        file.create_dataset("empty", (3,), h5py.string_dtype())
        file.create_dataset("packed", data=["a", ""], dtype=h5py.string_dtype(), compression="gzip")
        file.create_dataset("gaps", data=["", "long" * 500], dtype=h5py.string_dtype())
    assert read(tmp_path / "a.h5", source).frame_names == ("S2A_20200101", "S2B_20200106")
    data = bytearray((tmp_path / "a.h5").read_bytes())
    heap = data.index(b"GCOL")
    data[heap + 16 : heap + 32] = bytes(16)
    (tmp_path / "a.h5").write_bytes(data)
    with pytest.raises(SampleError, match="a.h5: the texts of .*'names' lie in a damaged heap"):
        read(tmp_path / "a.h5", source)


def test_more_names_than_frames_can_have_are_not_read(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"] = np.ones((2, 4, 4), "u2")
        file.create_dataset("names", (10**9,), "S1", chunks=(1000,))
        file.create_dataset("many", (10**9, 1, 1), "u1", chunks=(1000, 1, 1))
    with pytest.raises(SampleError, match="a.h5: .*'names' has 1000000000 names for 1 frames|takes .* of memory"):
        read(tmp_path / "a.h5", level2a(dataset="s2", products="names", file_bands=["B2", "B3"]))
    with pytest.raises(SampleError, match="a.h5: it has 1000000000 bands, expected at most 100000"):
        read(tmp_path / "a.h5", level2a(dataset="many", file_bands=["B2", "B3"]))
