"""Every way to the pixels gives the same: hosts that switch sidecars off, workers, opacity, files of single bands."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from affine import Affine
from range_server import Fault, range_server
from rasterio.enums import ColorInterp
from small_files import constant_bands, hrefs, image_reader, level2a, read, record_of

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record, TileWindow
from eo_data.catalog.sources import ImageSource, LabelSource
from eo_data.raster.georeference import PixelGrid
from eo_data.raster.raster import Raster
from eo_data.raster.sample import SampleError
from eo_data.readers.image_bands import read_bands
from eo_data.readers.labels import read_label
from eo_data.temporal.frame_policy import FramePolicy

LEFT, TOP = 500000.0, 5000000.0
GRID = Affine(10, 0, LEFT, 0, -10, TOP)
NUMBERS = np.random.default_rng(0).integers(300, 5000, (2, 16, 16)).astype(np.uint16)
#: GDAL's mask: the first four columns are missing.
MASK = np.repeat(np.where(np.arange(16) < 4, 0, 255).astype(np.uint8)[None], 16, axis=0)


def _pam(*bands: str, more: str = "") -> str:
    inside = "".join(f'<PAMRasterBand band="{i}">{text}</PAMRasterBand>' for i, text in enumerate(bands, start=1))
    return f"<PAMDataset>{more}{inside}</PAMDataset>"


@dataclass(frozen=True)
class _Sidecars(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Reads inputs of which a part stands in a file beside them."""

    names: tuple[str, ...]
    root: Path

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> tuple[np.ndarray, tuple[float, ...]]:
        name = self.names[index]
        path = self.root / name
        raster = self._label(path) if name.startswith("label") else self._image(path)
        return raster.pixels, tuple(raster.transform or ())[:6]

    def _image(self, path: Path) -> Raster:
        if path.is_dir():
            record = record_of(path / "B2.tif", path / "B3.tif", bands={"S2": ("B2", "B3")})
            return image_reader(offset=0).read(record).raster
        scaling: dict[str, Any] = {} if "scale" in path.name else {"offset": 0}
        scaling |= {"scale": 1 / 255} if path.suffix == ".png" else {}
        return image_reader(file_bands=["B2", "B3"], **scaling).read(record_of(path)).raster

    @staticmethod
    def _label(path: Path) -> Raster:
        source = LabelSource("{id}.tif", classes=2)
        found = read_label(Record("x", {}, label=hrefs(path)[0]), source, "segmentation", None)
        assert isinstance(found, Raster)
        return found


def _write_sidecars(write_tif: Callable[..., Path], root: Path) -> dict[str, np.ndarray]:
    """Write inputs; gives their pixels by name."""
    reflectance = NUMBERS * 1e-4
    gone = np.where(MASK == 0, np.nan, reflectance)
    write_tif(root / "mask.tif", NUMBERS, mask=MASK, beside=True)
    write_tif(root / "nodata.tif", np.where(MASK == 0, 7, NUMBERS).astype(np.uint16))
    (root / "nodata.tif.aux.xml").write_text(_pam(*["<NoDataValue>7</NoDataValue>"] * 2))
    write_tif(root / "scale.tif", NUMBERS)
    (root / "scale.tif.aux.xml").write_text(_pam(*["<Offset>-0.1</Offset><Scale>0.0002</Scale>"] * 2))
    write_tif(root / "world.tif", NUMBERS, crs=None, transform=None)
    (root / "world.tfw").write_text("10\n0\n0\n-10\n500005\n4999995\n")
    write_tif(root / "header.img", NUMBERS, driver="ENVI")
    write_tif(root / "picture.png", (NUMBERS // 20).astype(np.uint8), driver="PNG")
    for name, band in zip(("B2", "B3"), NUMBERS, strict=True):
        write_tif(root / "bands" / f"{name}.tif", band[None], mask=MASK, beside=True)
    classes = (NUMBERS[:1] % 2).astype(np.uint8)
    write_tif(root / "label.tif", classes, mask=MASK, beside=True)
    return {
        "mask.tif": gone,
        "nodata.tif": gone,
        "scale.tif": NUMBERS * 2e-4 - 0.1,
        "world.tif": reflectance,
        "header.img": reflectance,
        "picture.png": (NUMBERS // 20) / 255,
        "bands": gone,
        "label.tif": np.where(MASK == 0, -1.0, classes),
    }


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("host", "workers"),
    [
        ({}, 0),
        ({}, 2),
        ({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}, 0),
        ({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}, 2),
    ],
)
def test_what_stands_beside_a_file_counts_whatever_the_host_sets(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: dict[str, str],
    workers: int,
) -> None:
    """TerraTorch's command line sets EMPTY_DIR, with which GDAL sees no masks, no-data, headers and world files."""
    expected = _write_sidecars(write_tif, tmp_path)
    for name, value in host.items():
        monkeypatch.setenv(name, value)
    data = _Sidecars(tuple(expected), tmp_path)
    loaded = torch.utils.data.DataLoader(data, batch_size=None, num_workers=workers, collate_fn=list)
    for (name, truth), (pixels, transform) in zip(expected.items(), loaded, strict=True):
        np.testing.assert_allclose(pixels, truth, atol=1e-6, err_msg=name)
        assert transform == tuple(GRID)[:6], name


def test_what_stands_beside_a_file_counts_under_options_of_the_host(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """Set for this block only: GDAL keeps some of them for the process once they were in its environment."""
    expected = _write_sidecars(write_tif, tmp_path)
    with rasterio.Env(GDAL_PAM_ENABLED="NO", GDAL_GEOREF_SOURCES="NONE", GDAL_TIFF_INTERNAL_MASK_TO_8BIT="NO"):
        found = [_Sidecars(tuple(expected), tmp_path)[i] for i in range(len(expected))]
    for (name, truth), (pixels, transform) in zip(expected.items(), found, strict=True):
        np.testing.assert_allclose(pixels, truth, atol=1e-6, err_msg=name)
        assert transform == tuple(GRID)[:6], name


AERIAL = ImageSource("x.tif", ["R", "G", "B"], sensor="aerial", unit="native", file_bands=["R", "G", "B", "-"])
INFRARED = ImageSource(
    "x.tif", ["R", "G", "B", "NIR"], sensor="aerial", unit="native", file_bands=["R", "G", "B", "NIR"]
)


def _aerial(write_tif: Callable[..., Path], path: Path, fourth: np.ndarray, **options: Any) -> Path:
    pixels = np.random.default_rng(0).integers(1, 255, (4, *fourth.shape)).astype(np.uint8)
    pixels[3] = fourth
    colours = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    return write_tif(path, pixels, colours=colours, photometric="RGB", alpha="YES", size=0.2, **options)


def test_opacity_hides_and_is_no_measurement(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = _aerial(write_tif, tmp_path / "a.tif", MASK)
    np.testing.assert_array_equal(np.isnan(read(path, AERIAL).pixels), np.broadcast_to(MASK == 0, (3, 16, 16)))
    with pytest.raises(SampleError, match=r"a.tif: band 4 is tagged as alpha .* opacity .* reads it as NIR"):
        read(path, INFRARED)


def test_infrared_that_was_tagged_as_alpha_hides_nothing(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Water has an infrared of 0; and whether it is opacity does not depend on the tile, which may hold 255 alone."""
    infrared = np.random.default_rng(1).integers(1, 255, (64, 64)).astype(np.uint8)
    infrared[:16, :16], infrared[:16, 16:32] = 255, 0
    path = _aerial(write_tif, tmp_path / "a.tif", infrared)
    whole = read(path, INFRARED).pixels
    np.testing.assert_array_equal(whole[3], infrared)
    for left in (0, 16, 32):
        window = TileWindow(0, left, 16, (0, 0, 16, 16), (64, 64))
        np.testing.assert_array_equal(read(path, INFRARED, window).pixels, whole[:, :16, left : left + 16])


def test_a_quality_layer_of_20_m_serves_bands_of_10_m(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    scl = np.full((1, 8, 8), 4, np.uint8)
    scl[0, :2] = 9
    scl[0, 2] = 3
    band = write_tif(tmp_path / "B2_20210101.tif", NUMBERS[:1])
    layer = write_tif(tmp_path / "SCL_20210101.tif", scl, size=20, nodata=0)
    reader = image_reader(FramePolicy(), bands=["B2"], cloud_band="SCL", offset=0)
    pixels = reader.read(record_of(band, layer, bands={"S2": ("B2", "SCL")})).raster.pixels
    np.testing.assert_array_equal(np.isnan(pixels[0, 0]), np.broadcast_to(np.arange(16)[:, None] < 6, (16, 16)))


def test_classes_are_never_interpolated(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    scl = np.random.default_rng(0).choice([4, 9], (1, 16, 16)).astype(np.uint8)
    paths = write_tif(tmp_path / "B2.tif", NUMBERS[:1]), write_tif(tmp_path / "SCL.tif", scl)
    source = level2a("B2", "SCL", cloud_band="SCL", resample_to=7)
    found = read_bands(hrefs(*paths), ["B2", "SCL"], source).pixels[1]
    assert set(np.unique(found)) == {4, 9}


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_band_file_without_a_place_or_in_another_direction_is_refused(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    first = write_tif(tmp_path / "B2.tif", constant_bands(1, side=8))
    lost = write_tif(tmp_path / "B3.tif", constant_bands(1, side=8), crs=None, transform=None)
    turned = write_tif(tmp_path / "B4.tif", constant_bands(1, side=8), transform=Affine(10, 0, LEFT, 0, 10, TOP - 80))
    with pytest.raises(SampleError, match="B3.tif .*only one of them states its place"):
        read_bands(hrefs(first, lost), ["B2", "B3"], level2a())
    with pytest.raises(SampleError, match="B4.tif .*run in opposite directions.* resample_to"):
        read_bands(hrefs(first, turned), ["B2", "B4"], level2a("B2", "B4"))
    assert read_bands(hrefs(first, turned), ["B2", "B4"], level2a("B2", "B4", resample_to=10)).pixels.min() == 1


def test_a_tile_over_the_end_of_the_raster_is_read_and_filled(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", NUMBERS, ("B2", "B3"))
    window = TileWindow(8, 8, 16, (0, 0, 8, 8), (16, 16))
    raster = image_reader(offset=0).read(record_of(path, window=window)).raster
    assert raster.pixels.shape == (2, 16, 16)
    np.testing.assert_allclose(raster.pixels[:, :8, :8], NUMBERS[:, 8:, 8:] * 1e-4, rtol=1e-6)
    assert (raster.transform.c, raster.transform.f) == (LEFT + 80, TOP - 80)


def test_files_of_bands_on_a_server_are_asked_for_at_once_but_not_by_more_than_archives_allow(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    """One after the other, a place of ten bands and eight dates takes minutes until servers have answered."""
    names = ["B2", "B3", "B4", "B5", "B6", "B7", "B8"]
    grid = PixelGrid(12, 12, Affine(10, 0, LEFT + 20, 0, -10, TOP - 20), "EPSG:32631")
    here = [
        write_tif(tmp_path / f"{name}.tif", np.random.default_rng(i).integers(300, 5000, (1, 16, 16)).astype("uint16"))
        for i, name in enumerate(names)
    ]
    source = level2a(*reversed(names))
    expected = read_bands(hrefs(*here), names, source, grid=grid)
    now, most, lock = 0, 0, threading.Lock()

    def before(_: str) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.02)
        with lock:
            now -= 1

    with range_server(tmp_path) as server:
        server.before = before
        there = [Href(f"http://{server.host}/{name}.tif") for name in names]
        found = read_bands(there, names, source, grid=grid)
        server.always = {"B3.tif": Fault(404), "B7.tif": Fault(403)}
        with pytest.raises(SampleError, match=r"B7\.tif.* cannot be read: .*403"):  # the first that is wanted
            read_bands([Href(f"{href.text}?again=1") for href in there], names, source, grid=grid)
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    assert [band.href.name for band in found.bands] == [band.href.name for band in expected.bands]
    assert (found.transform, found.crs) == (expected.transform, expected.crs)
    assert 1 < most <= 4
