"""Small valid images of every kind of file, and what may come of reading them once they are damaged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import h5py
import numpy as np
import rasterio
import small_cubes
from affine import Affine

from eo_data.raster.sample import Image, SampleError
from tests.faults.inputs.mutate import Damage, Mutator, any_bytes, members
from tests.faults.inputs.reading import read_image
from tests.faults.outcome import Outcome

SIDE, FRAMES = 24, 3
DAYS = ("2021-03-04", "2021-04-05", "2021-05-06")
#: Reflectance beyond this is none, coordinates in metres beyond that are no place on Earth.
_BRIGHTEST, _FARTHEST = 10.0, 1e8
#: Pixels that are so many times as long as wide need a warning, or are refused.
_LONG, _LONGEST = 1.5, 4.1
_EARLIEST, _LATEST = date(1950, 1, 1), date(2100, 1, 1)


@dataclass(frozen=True)
class ImageSeed:
    """A valid image, how it is written and read, and what is damaged.

    Parameters
    ----------
    name, kind : str
        Name, and the line of the table that it counts for.
    file : str
        The file that is read.
    write : callable
        Writes it, and what lies beside it, to a folder.
    options : mapping
        Of the source.
    damaged : str, optional
        What is damaged, if that is not the file itself but one beside it.
    series : bool
        Whether it is a series.
    mutators : tuple of callable
        What may be done to it.
    """

    name: str
    kind: str
    file: str
    write: Callable[[Path], None]
    options: Mapping[str, Any] = field(default_factory=dict)
    damaged: str = ""
    series: bool = False
    mutators: tuple[Mutator, ...] = (any_bytes,)

    def read(self, folder: Path) -> tuple[Image, list[str]]:
        """Read the image as a data module does; return it with the warnings."""
        return read_image(folder, self.file, self.options, series=self.series)

    def case(self, folder: Path, valid: Image, chance: Random) -> Outcome:
        """Damage the image in a folder, read it, and judge what comes."""
        damage = chance.choice(self.mutators)(folder / (self.damaged or self.file), chance)
        try:
            image, seen = self.read(folder)
        except SampleError as error:
            named = self.file in str(error) or (self.damaged and self.damaged in str(error))
            return Outcome("refused") if named else Outcome("unexpected", f"{damage.name}: no file in {error}")
        except BaseException as error:  # noqa: BLE001  (that none comes is what is tested)
            return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: {str(error)[:200]}")
        fault = wrong(valid, image, damage, warned=bool(seen), beside=bool(self.damaged))
        if fault:
            return Outcome("wrong", f"{damage.name}: {fault}")
        return Outcome("equal" if same(valid, image) else "changed", damage.name)


def same(a: Image, b: Image) -> bool:
    """Whether two images are the same pixels at the same place and time."""
    return (
        np.array_equal(a.raster.pixels, b.raster.pixels, equal_nan=True)
        and (a.raster.transform, a.raster.crs, a.dates) == (b.raster.transform, b.raster.crs, b.dates)
    )  # fmt: skip


def wrong(valid: Image, image: Image, damage: Damage, *, warned: bool, beside: bool) -> str:  # noqa: PLR0911
    """Return what is wrong with an image that was accepted, or nothing.

    Damage without a checksum may give other pixels, or a file that says other things of itself. It may not give what
    no image is: all zeros, numbers beyond any unit, a place without area, days that are none; nor may what was cut off
    be made up.
    """
    pixels = image.raster.pixels
    finite = np.isfinite(pixels)
    if pixels.dtype != np.float32 or 0 in pixels.shape or pixels.shape[-3] != len(image.bands):
        return f"pixels are {pixels.dtype} {pixels.shape}"
    if finite.any() and not pixels[finite].any():
        return "all pixels are 0"
    beyond = float((np.abs(pixels[finite]) > _BRIGHTEST).mean()) if finite.any() else 0.0
    if beyond > 0.5 or np.isinf(pixels).any():
        return f"{beyond:.0%} of the pixels are beyond {_BRIGHTEST:g}, up to {np.nanmax(np.abs(pixels)):g}"
    if image.dates and (
        len(image.dates) != len(pixels) or not _EARLIEST < min(image.dates) <= max(image.dates) < _LATEST
    ):
        return f"{len(pixels)} frames of the dates {image.dates}"
    if not finite.any() and not warned:
        return "nothing is valid"
    if damage.lost and not warned and not beside:
        if pixels.shape != valid.raster.pixels.shape:
            return f"something is lost, and there are {pixels.shape} pixels"
        if not (~finite | (pixels == valid.raster.pixels)).all():
            return "something is lost, and other pixels take its place"
        if image.dates != valid.dates or image.raster.transform not in (None, valid.raster.transform):
            return f"something is lost, and it is of {image.dates} at {image.raster.transform}"
    return _misplaced(image, warned=warned)


def _misplaced(image: Image, *, warned: bool) -> str:
    transform = image.raster.transform
    if transform is None:
        return ""
    if not all(math.isfinite(value) for value in transform[:6]) or not transform.determinant:
        return f"the transform {tuple(transform[:6])} is no place"
    width, height = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    if max(width, height) > (_LONGEST if warned else _LONG) * min(width, height):
        return f"pixels of {width:g} x {height:g}"
    t, right, bottom = transform, image.raster.width, image.raster.height
    corners = [(t.a * c + t.b * r + t.c, t.d * c + t.e * r + t.f) for c in (0, right) for r in (0, bottom)]
    if any(abs(value) > _FARTHEST for corner in corners for value in corner):
        return f"a corner at {corners[0]} is not on Earth"
    return ""


def numbers(frames: int = 0, dtype: str = "uint16") -> np.ndarray:
    """Digital numbers of two bands, none of them 0, which compress and do not repeat."""
    shape = (frames, 2, SIDE, SIDE) if frames else (2, SIDE, SIDE)
    steps = np.random.default_rng(3).integers(0, 60, shape)
    return (1000 + np.cumsum(steps, axis=-1)).astype(dtype)


def write_tif(path: Path, pixels: np.ndarray, **options: Any) -> None:
    """Write bands of 24 x 24 pixels of 10 m, with a mask ``inside`` or ``beside`` if it is asked for."""
    mask, tags, driver = options.pop("mask", None), options.pop("tags", {}), options.pop("driver", "GTiff")
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask == "inside"),
        rasterio.open(
            path, "w", driver=driver, count=len(pixels), height=SIDE, width=SIDE, dtype=pixels.dtype,
            crs="EPSG:32633", transform=Affine(10, 0, small_cubes.LEFT, 0, -10, small_cubes.TOP), **options,
        ) as file,
    ):  # fmt: skip
        file.write(pixels)
        file.descriptions = ("B2", "B3")[: len(pixels)]
        file.update_tags(**tags)
        if mask:
            seen = np.full((SIDE, SIDE), 255, dtype=np.uint8)
            seen[:4, :4] = 0
            file.write_mask(seen)


def _tiff(name: str, damaged: str = "", dtype: str = "uint16", **options: Any) -> ImageSeed:
    def write(folder: Path) -> None:
        write_tif(folder / "x.tif", numbers(dtype=dtype), **options)

    return ImageSeed(f"tiff {name}", "TIFF", "x.tif", write, damaged=damaged)


def _aux(folder: Path) -> None:
    write_tif(folder / "x.tif", numbers())
    text = (
        "<PAMDataset><GeoTransform>500000, 10, 0, 5000000, 0, -10</GeoTransform><Metadata><MDI key='a'>b</MDI>"
        "</Metadata><PAMRasterBand band='1'><NoDataValue>65535</NoDataValue></PAMRasterBand></PAMDataset>"
    )
    (folder / "x.tif.aux.xml").write_text(text)


def _vrt(folder: Path) -> None:
    write_tif(folder / "y.tif", numbers())
    from rasterio.shutil import copy

    copy(folder / "y.tif", folder / "x.vrt", driver="VRT")


def _cube(name: str, file: str, *, series: bool = False, **options: Any) -> ImageSeed:
    """A cube with an axis of bands, of which the first and last are wanted."""
    encoding = options.pop("s2", {})

    def write(folder: Path) -> None:
        axes: dict[str, Any] = {"band": ["B02", "B03"]}
        if series:
            axes["time"] = np.array(DAYS, dtype="datetime64[ns]")
        data = small_cubes.stacked(numbers(FRAMES if series else 0), **axes)
        small_cubes.written(folder / file, small_cubes.in_utm(data), encoding={"s2": encoding}, **options)

    is_folder = file.endswith(".zarr")
    mutators = (any_bytes, members) if is_folder else (any_bytes,)
    return ImageSeed(
        f"{Path(file).suffix[1:]} {name}",
        "Zarr" if is_folder else "NetCDF",
        file,
        write,
        series=series,
        mutators=mutators,
    )


def _hdf5(name: str, *, series: bool = False, **options: Any) -> ImageSeed:
    def write(folder: Path) -> None:
        with h5py.File(folder / "x.h5", "w") as file:
            file.create_dataset("s2", data=numbers(FRAMES if series else 0), **options)
            file["names"] = [f"S2A_MSIL2A_{day.replace('-', '')}T101031".encode() for day in DAYS]

    source = {"dataset": "s2", "file_bands": ["B2", "B3"]} | ({"products": "names"} if series else {})
    return ImageSeed(f"h5 {name}", "HDF5", "x.h5", write, source, series=series)


def _npy(folder: Path) -> None:
    np.save(folder / "x.npy", numbers())


def _npy_floats(folder: Path) -> None:
    np.save(folder / "x.npy", np.asfortranarray(numbers(dtype="float32")))


def image_seeds() -> list[ImageSeed]:
    """Return all valid images."""
    by_hand = {"file_bands": ["B2", "B3"]}
    return [
        _tiff("striped"),
        _tiff("tiled by pixel", tiled=True, blockxsize=16, blockysize=16, interleave="pixel"),
        _tiff("deflate", compress="deflate", predictor=2, nodata=0),
        _tiff("lzw tiled", compress="lzw", tiled=True, blockxsize=16, blockysize=16),
        _tiff("zstd", compress="zstd", dtype="int16"),
        _tiff("packbits", compress="packbits"),
        _tiff("floats", compress="deflate", predictor=3, dtype="float32"),
        _tiff("big", BIGTIFF="YES", dtype="int32"),
        _tiff("mask inside", mask="inside", compress="deflate"),
        _tiff("mask beside", mask="beside", damaged="x.tif.msk"),
        _tiff("tags", tags={"TIFFTAG_DATETIME": "2021:03:04 10:10:10", "scene": "x" * 200}),
        ImageSeed("tiff with aux.xml", "TIFF", "x.tif", _aux, damaged="x.tif.aux.xml"),
        ImageSeed("vrt", "VRT", "x.vrt", _vrt),
        ImageSeed("vrt of a damaged file", "VRT", "x.vrt", _vrt, damaged="y.tif"),
        _cube("plain", "x.nc"),
        _cube("series", "x.nc", series=True),
        _cube("compressed", "x.nc", s2={"zlib": True, "chunksizes": (1, 12, 12), "fletcher32": True}),
        _cube("v2", "x.zarr", s2={"chunks": (1, 12, 12)}),
        _cube("v2 series", "x.zarr", series=True, consolidated=True, s2={"chunks": (1, 2, 24, 24)}),
        _cube("v3", "x.zarr", zarr_format=3, s2={"chunks": (2, 12, 12)}),
        _hdf5("plain"),
        _hdf5("chunked series", series=True, chunks=(1, 2, 12, 12), compression="gzip", fletcher32=True),
        ImageSeed("npy", "npy", "x.npy", _npy, by_hand),
        ImageSeed("npy floats", "npy", "x.npy", _npy_floats, by_hand),
    ]
