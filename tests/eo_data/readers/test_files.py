"""Every file finds its reader, bands come by name, and what is broken is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import constant_bands, level2a, read

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.product_names import EXAMPLES
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.files import READERS, FileReader, reader_of
from eo_data.readers.formats.facts import OpenLayer, Part
from eo_data.readers.formats.npy import ArrayLayer

# Bands by name


def test_bands_come_by_name_not_by_place(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(11, 8, 2, 4), ("B11", "B8", "B2", "B4"))
    reading = read(path, level2a("RED", "swir16", "BLUE"))
    assert reading.pixels[:, 0, 0].tolist() == [4, 11, 2]
    assert reading.pixels.dtype == np.float32
    unnamed = write_tif(tmp_path / "b.tif", constant_bands(11, 8, 2, 4))
    declared = level2a("RED", "BLUE", file_bands=["SWIR_1", "-", "B02", "B4"])
    assert read(unnamed, declared).pixels[:, 0, 0].tolist() == [4, 2]


@pytest.mark.parametrize(
    ("descriptions", "options", "message"),
    [
        ((), {}, "The band order of .*a.tif .4 bands. is unknown"),
        ((), {"file_bands": ["B2", "B3"]}, "has 4 bands, but the config declares 2: B2, B3"),
        (("B2", "B3", "B4", "B8"), {"file_bands": ["B3", "B2", "B4", "B8"]}, "declared band order contradicts"),
        (("B4", "B5", "B6", "B8"), {}, "Wanted bands that are not there: B2, B3.*Available: RED, RED_EDGE_1"),
    ],
)
def test_wrong_bands_are_refused(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    descriptions: tuple[str, ...],
    options: dict[str, object],
    message: str,
) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2, 3, 4), descriptions)
    with pytest.raises(SampleError, match=f"a.tif.*{message}"):
        read(path, level2a(**options))


# Broken files


def test_unreadable_files_are_named(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "zero.tif").write_bytes(b"")
    (tmp_path / "text.tif").write_text("<html>404</html>")
    (tmp_path / "zero.nc").write_bytes(b"")
    (tmp_path / "zero.h5").write_bytes(b"")
    (tmp_path / "empty.zarr").mkdir()
    for name in ("zero.tif", "text.tif", "zero.nc", "zero.h5", "empty.zarr"):
        with pytest.raises(SampleError, match=f"{name}"):
            read(tmp_path / name, level2a(dataset="x"))
    with pytest.raises(SampleError, match="There is no file .*/none.tif"):
        read(tmp_path / "none.tif", level2a())


def test_half_a_cube_and_half_an_hdf5_are_refused(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(1, 4000, (64, 64)).astype(np.float32)
    write_cube(tmp_path / "a.nc", {"B2": (("y", "x"), noise)}, pixel_centres(64))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["d"] = noise[None]
    for name in ("a.nc", "a.h5"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / f"half_{name}").write_bytes(content[: len(content) // 2])
        with pytest.raises(SampleError, match=f"half_{name} cannot be read"):
            read(tmp_path / f"half_{name}", level2a("B2", dataset="d"))


# HDF5


def test_an_empty_array_holds_no_pixels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"] = np.zeros((0, 2, 4, 4))
    with pytest.raises(SampleError, match=r"a.h5 holds no pixels: shape \(0, 2, 4, 4\)"):
        read(tmp_path / "a.h5", level2a(dataset="s2", file_bands=["B2", "B3"]))


# Which reader


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a.nc", "NetCDF"),
        ("a.NC", "NetCDF"),
        ("a.zarr", "Zarr"),
        ("a.h5", "HDF5"),
        ("a.hdf5", "HDF5"),
        ("a.npy", "NumPy"),
        ("a.tif", "GDAL"),
        ("a.jp2", "GDAL"),
        ("a", "GDAL"),
        # Not on this machine, or a part of a file: only GDAL can open it, whatever its suffix.
        ("/vsizip/a.zip/a.nc", "GDAL"),
        ("https://example.org/a.npy", "GDAL"),
        ('NETCDF:"a.nc":v', "GDAL"),
    ],
)
def test_the_suffix_of_a_path_chooses_the_reader(text: str, name: str) -> None:
    assert reader_of(Href(text)).name == name


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_product_that_the_catalogue_knows_has_a_reader_also_as_an_archive(name: str) -> None:
    suffix = {"S1": ".SAFE", "S2": ".SAFE", "S3": ".SEN3"}.get(name[:2], "")
    found = {reader_of(Href(f"in/{name}{end}")).name for end in (suffix, ".zip", f"{suffix}.zip")}
    others = {"GDAL", "NetCDF", "Zarr", "HDF5", "NumPy"}
    assert len(found) == 1
    assert not found & others


def test_a_product_is_recognised_by_a_test_of_its_own_before_its_suffix_is_looked_at() -> None:
    def is_product(href: Href) -> bool:
        return href.stem.startswith("S2A_MSIL2A")

    @contextmanager
    def product(href: Href, source: ImageSource | None) -> Iterator[Sequence[OpenLayer]]:
        yield (ArrayLayer("product", np.full((1, 2, 2), len(href.name), np.float32)),)

    readers = (FileReader("product", is_product, product), *READERS)
    chosen = reader_of(Href("S2A_MSIL2A_2022.zip"), readers)
    with chosen.opened(Href("S2A.zip"), level2a("B2")) as (layer,):
        assert layer.stored([0], Part(0, 0, 2, 2))[0, 0, 0] == 7
    assert reader_of(Href("other.zip"), readers).name == "GDAL"
