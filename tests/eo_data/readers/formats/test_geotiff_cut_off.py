"""A TIFF that was not copied whole is refused, not read without the mask that lay at its end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

from eo_data.readers.formats.geotiff import refuse_cut_off


def _written(path: Path, **options: object) -> bytes:
    """A raster of 16 px whose last four rows are masked, by a mask inside of it."""
    pixels = np.random.default_rng(0).integers(1, 3000, (3, 16, 16)).astype(np.uint16)
    profile = {"driver": "GTiff", "width": 16, "height": 16, "count": 3, "dtype": "uint16", **options}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", crs="EPSG:32631", transform=Affine(10, 0, 6e5, 0, -10, 5e6), **profile) as file,
    ):
        file.write(pixels)
        mask = np.full((16, 16), 255, np.uint8)
        mask[12:] = 0
        file.write_mask(mask)
    return path.read_bytes()


@pytest.mark.parametrize("options", [{"compress": "deflate"}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}])
def test_no_cut_off_file_is_read_without_its_mask(tmp_path: Path, options: dict[str, object]) -> None:
    whole = _written(tmp_path / "x.tif", **options)
    refuse_cut_off(tmp_path / "x.tif")
    refused = 0
    for size in range(len(whole) - 1, 0, -1):
        (tmp_path / "y.tif").write_bytes(whole[:size])
        try:
            refuse_cut_off(tmp_path / "y.tif")
            with rasterio.open(tmp_path / "y.tif") as file:
                file.read()
                masked = (file.read_masks(1) == 0).sum()
        except ValueError:
            refused += 1
        except rasterio.errors.RasterioError:
            continue
        else:
            assert masked == 64, size
    assert refused > 50
    (tmp_path / "y.tif").write_bytes(whole[: len(whole) - 22])
    with pytest.raises(ValueError, match="it is cut off: its directory 2 lies at byte"):
        refuse_cut_off(tmp_path / "y.tif")


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0" + bytes(12), b"MM\0+" + bytes(20), b"no TIFF, so far"])
def test_of_what_is_no_tiff_nothing_is_said(tmp_path: Path, content: bytes) -> None:
    """GDAL says it better."""
    (tmp_path / "x.tif").write_bytes(content)
    refuse_cut_off(tmp_path / "x.tif")


def test_directories_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    content = bytearray(b"II*\0" + (8).to_bytes(4, "little") + (0).to_bytes(2, "little") + (8).to_bytes(4, "little"))
    (tmp_path / "x.tif").write_bytes(content + bytes(8))
    refuse_cut_off(tmp_path / "x.tif")
