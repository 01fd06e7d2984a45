"""Small products of Sentinel-3 as they are shipped: files, variables, packing and flags are those of real ones.

The swath is turned and slightly curved. Sources: OLCI and SLSTR level-1 products of 2017 to 2024 as public readers list
their variables, and the subset of a SLSTR RBT in ``../shared/data/s3_slstr``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import xarray

OLCI_NAME = "S3A_OL_1_EFR____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS1_O_NT_003"
SLSTR_NAME = "S3B_SL_1_RBT____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS2_O_NT_004"
#: Bits of OLCI's quality flags.
OLCI_FLAGS = (
    *("land", "coastline", "fresh_inland_water", "tidal_region", "bright", "straylight_risk", "invalid", "cosmetic"),
    *("duplicated", "sun-glint_risk", "dubious", *(f"saturated@Oa{i:02d}" for i in range(1, 22))),
)
OLCI_BITS = {name: 1 << (31 - i) for i, name in enumerate(OLCI_FLAGS)}
EXCEPTIONS = (
    *("ISP_absent", "pixel_absent", "not_decompressed", "no_signal", "saturation", "invalid_radiance"),
    *("no_parameters", "unfilled_pixel"),
)
ROWS, COLUMNS, TIES = 40, 129, 64
#: Scale of OLCI's packed radiance, and solar flux of its detectors.
RADIANCE_SCALE, DETECTORS = 0.0125, 8
_MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:sentinel-safe="http://www.esa.int/safe/sentinel/1.1"
  xmlns:sentinel3="http://www.esa.int/safe/sentinel/sentinel-3/1.0"><metadataSection>
  <sentinel-safe:acquisitionPeriod>
    <sentinel-safe:startTime>2022-06-01T09:55:12.123456Z</sentinel-safe:startTime>
    <sentinel-safe:stopTime>2022-06-01T09:58:12.123456Z</sentinel-safe:stopTime>
  </sentinel-safe:acquisitionPeriod>
  <sentinel3:generalProductInformation>
    <sentinel3:productName>{name}.SEN3</sentinel3:productName>
    <sentinel3:productType>{kind}</sentinel3:productType>
  </sentinel3:generalProductInformation></metadataSection></xfdu:XFDU>
"""


def swath(rows: int, columns: int, size: float, centre: tuple[float, float] = (9.0, 48.0)) -> tuple[np.ndarray, ...]:
    """Return longitudes and latitudes of a swath flown to the south, turned by 12 degrees and slightly curved."""
    down, across = np.meshgrid(np.arange(rows) - (rows - 1) / 2, np.arange(columns) - (columns - 1) / 2, indexing="ij")
    x, y = size * across, -size * (down + 0.0004 * across**2)
    turn = np.radians(12)
    local = pyproj.Proj(proj="laea", lon_0=centre[0], lat_0=centre[1], ellps="WGS84")
    return local(np.cos(turn) * x + np.sin(turn) * y, -np.sin(turn) * x + np.cos(turn) * y, inverse=True)


def _write(folder: Path, file: str, variables: Mapping[str, tuple[Any, ...]], **attributes: Any) -> None:
    """Write variables ``(axes, numbers as stored, attributes)``."""
    data = xarray.Dataset(dict(variables), attrs=attributes)
    encoding = {name: {"_FillValue": None} for name, own in variables.items() if "_FillValue" not in own[2]}
    data.to_netcdf(folder / file, engine="h5netcdf", encoding=encoding)


def _degrees(name: str, values: np.ndarray, axes: tuple[str, str] = ("rows", "columns")) -> dict[str, tuple[Any, ...]]:
    return {name: (axes, np.round(values * 1e6).astype("i4"), {"scale_factor": 1e-6, "_FillValue": np.int32(-(2**31))})}


def _folder(root: Path, name: str, kind: str) -> Path:
    folder = root / f"{name}.SEN3"
    folder.mkdir(parents=True)
    (folder / "xfdumanifest.xml").write_text(_MANIFEST.format(name=name, kind=kind))
    return folder


def write_olci(root: Path, name: str = OLCI_NAME, **changes: Any) -> Path:
    """Write a product with the bands Oa01, Oa08 and Oa17.

    Parameters
    ----------
    root : Path
        Folder for the product's folder.
    name : str
        Its name, without ``.SEN3``.
    changes
        ``numbers``: ``(ROWS, COLUMNS)`` as stored of all bands; ``flags``: the same; ``sun``: zenith angle of the sun
        in degrees at the tie points, ``(ROWS, 3)``; ``flux``: of the bands by detector, ``(21, DETECTORS)``;
        ``centre``: longitude and latitude.
    """
    folder = _folder(root, name, "OL_1_EFR___")
    axes, shape = ("rows", "columns"), (ROWS, COLUMNS)
    numbers = changes.get("numbers", np.full(shape, 4000, "u2"))
    for band in ("Oa01", "Oa08", "Oa17"):
        packing = {"scale_factor": RADIANCE_SCALE, "add_offset": 0.0, "_FillValue": np.uint16(65535)}
        of_band = {"units": "mW.m-2.sr-1.nm-1", **packing}
        _write(folder, f"{band}_radiance.nc", {f"{band}_radiance": (axes, numbers, of_band)})
    longitude, latitude = swath(*shape, 300.0, changes.get("centre", (9.0, 48.0)))
    height = {"altitude": (axes, np.zeros(shape, "i2"), {})}
    _write(
        folder, "geo_coordinates.nc", {**_degrees("latitude", latitude), **_degrees("longitude", longitude), **height}
    )
    sun = np.asarray(changes.get("sun", np.full((ROWS, 3), 60.0)))
    stored = {"scale_factor": 1e-6, "_FillValue": np.uint32(2**32 - 1), "units": "degrees"}
    tied = {"SZA": (("tie_rows", "tie_columns"), np.round(sun * 1e6).astype("u4"), stored)}
    _write(folder, "tie_geometries.nc", tied, ac_subsampling_factor=np.int32(TIES), al_subsampling_factor=np.int32(1))
    index = np.broadcast_to(np.arange(COLUMNS) * DETECTORS // COLUMNS, shape).astype("i2")
    flux = changes.get("flux", np.full((21, DETECTORS), 1500.0)).astype("f4")
    of_detectors = {
        "detector_index": (axes, index, {"_FillValue": np.int16(-1)}),
        "solar_flux": (("bands", "detectors"), flux, {"units": "mW.m-2.nm-1"}),
    }
    _write(folder, "instrument_data.nc", of_detectors)
    meanings = {"flag_meanings": " ".join(OLCI_FLAGS), "flag_masks": np.array(list(OLCI_BITS.values()), "u4")}
    flags = {"quality_flags": (axes, changes.get("flags", np.zeros(shape, "u4")), meanings)}
    _write(folder, "qualityFlags.nc", flags)
    return folder


#: Rows and columns of SLSTR's grid of 500 m; that of 1 km has half as many.
FINE = (40, 60)
BT_SCALE, BT_OFFSET = 0.01, 283.73


def write_slstr(root: Path, name: str = SLSTR_NAME, **changes: Any) -> Path:
    """Write a product with the bands S1, S5, S7 and S8.

    Parameters
    ----------
    root : Path
        Folder for the product's folder.
    name : str
        Its name, without ``.SEN3``.
    changes
        ``radiance``, ``temperature``: as stored, int16 on the grids of 500 m and 1 km; ``exceptions``: uint8, on that
        of 500 m; ``sun``: zenith angle of the sun in degrees at the tie points ``(22, 4)``; ``irradiance``: by
        detector.
    """
    folder = _folder(root, name, "SL_1_RBT___")
    axes, coarse = ("rows", "columns"), (FINE[0] // 2, FINE[1] // 2)
    fill = np.int16(-32768)
    meanings = {"flag_meanings": " ".join(EXCEPTIONS), "flag_masks": (1 << np.arange(8)).astype("u1")}
    exceptions = changes.get("exceptions", np.zeros(FINE, "u1"))
    radiance = changes.get("radiance", np.full(FINE, 8000, "i2"))
    for band in ("S1", "S5"):
        packing = {"scale_factor": 0.01785, "_FillValue": fill, "units": "mW.m-2.sr-1.nm-1"}
        variables = {
            f"{band}_radiance_an": (axes, radiance, packing),
            f"{band}_exception_an": (axes, exceptions, meanings),
        }
        _write(folder, f"{band}_radiance_an.nc", variables)
        irradiance = np.asarray(changes.get("irradiance", [1800.0] * 4), "f4")
        of_band = {f"{band}_solar_irradiance_an": (("detectors",), irradiance, {"units": "mW.m-2.nm-1"})}
        _write(folder, f"{band}_quality_an.nc", of_band)
    temperature = changes.get("temperature", np.full(coarse, 627, "i2"))
    for band in ("S7", "S8"):
        packing = {"scale_factor": BT_SCALE, "add_offset": BT_OFFSET, "_FillValue": fill, "units": "K"}
        variables = {
            f"{band}_BT_in": (axes, temperature, packing),
            f"{band}_exception_in": (axes, np.zeros(coarse, "u1"), meanings),
        }
        _write(folder, f"{band}_BT_in.nc", variables)
    for ending, shape, size in (("an", FINE, 500.0), ("in", coarse, 1000.0)):
        longitude, latitude = swath(*shape, size)
        place = _degrees(f"latitude_{ending}", latitude) | _degrees(f"longitude_{ending}", longitude)
        _write(folder, f"geodetic_{ending}.nc", place)
    # Across the track x falls from left to right, along it y grows; both in metres.
    y, x = np.meshgrid(500.0 * np.arange(FINE[0]), 16000.0 - 500.0 * np.arange(FINE[1]), indexing="ij")
    packed = {"_FillValue": np.int32(-1000000), "units": "m"}
    along = {f"{axis}_an": (axes, values.astype("i4"), packed) for axis, values in (("x", x), ("y", y))}
    _write(folder, "cartesian_an.nc", along)
    tie_y, tie_x = np.meshgrid(1000.0 * np.arange(-1, 21), 16000.0 * np.arange(2, -2, -1), indexing="ij")
    ties = {"x_tx": (axes, tie_x.astype("f4"), {}), "y_tx": (axes, tie_y.astype("f4"), {})}
    _write(folder, "cartesian_tx.nc", ties)
    sun = np.asarray(changes.get("sun", np.full(tie_x.shape, 60.0)), "f4")
    _write(folder, "geometry_tn.nc", {"solar_zenith_tn": (axes, sun, {"units": "degrees"})})
    detectors = np.broadcast_to(np.arange(FINE[1]) % 4, FINE).astype("u1")
    _write(folder, "indices_an.nc", {"detector_an": (axes, detectors, {"_FillValue": np.uint8(255)})})
    return folder
