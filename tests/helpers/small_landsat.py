"""Small Landsat products: names, keys of the MTL file and grids as those of USGS."""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

LEVEL1 = "LC08_L1TP_195025_20130707_20200912_02_T1"
LEVEL2 = "LC08_L2SP_195025_20130707_20200912_02_T1"
SIDE = 20
#: Corner of the pixels of 30 m. Those of 15 m begin a quarter of a pixel further in: the centres of the first agree.
LEFT, TOP = 483285.0, 5628525.0
SUN_ELEVATION = 30.0
#: Of band 10, as the products of Landsat 8 have them.
K1, K2, MULT, ADD = 774.8853, 1321.0789, 3.3420e-04, 0.1
#: Nothing but "clear", with low confidence of clouds; and a cloud of high confidence.
CLEAR, CLOUD = 21824, 22280

_REFLECTIVE = {"C": ("1", "2", "3", "4", "5", "6", "7", "9"), "E": ("1", "2", "3", "4", "5", "7")}
_THERMAL = {"C": ("10", "11"), "E": ("6_VCID_1", "6_VCID_2")}


def files_of(product: str) -> dict[str, str]:
    """Return the rasters of a product by what follows its id, with the key of the MTL file that names each."""
    kind, level = product[1], product[5:7]
    if level == "L2":
        numbers = [n for n in _REFLECTIVE[kind] if n != "9"]
        thermal = "10" if kind == "C" else "6"
        return {f"SR_B{n}": f"BAND_{n}" for n in numbers} | {f"ST_B{thermal}": f"BAND_ST_B{thermal}"} | _QUALITY
    numbers = [*_REFLECTIVE[kind], "8", *_THERMAL[kind]]
    return {f"B{n}": f"BAND_{n}" for n in numbers} | _QUALITY


_QUALITY = {"QA_PIXEL": "QUALITY_L1_PIXEL"}


def mtl_text(product: str) -> str:
    """Return the MTL file of a product; of level 2 it also has the keys of the level 1 that it was made from."""
    kind, level = product[1], product[5:7]
    files = files_of(product)
    contents = [f'FILE_NAME_{key} = "{product}_{name}.TIF"' for name, key in files.items()]
    numbers = (*_REFLECTIVE[kind], "8")
    groups = {
        "PRODUCT_CONTENTS": [f'LANDSAT_PRODUCT_ID = "{product}"', f'PROCESSING_LEVEL = "{product[5:9]}"', *contents],
        "IMAGE_ATTRIBUTES": [
            f'SPACECRAFT_ID = "LANDSAT_{int(product[2:4])}"',
            "WRS_PATH = 195",
            "WRS_ROW = 25",
            "DATE_ACQUIRED = 2013-07-07",
            'SCENE_CENTER_TIME = "10:17:41.5590880Z"',
            f"SUN_ELEVATION = {SUN_ELEVATION}",
        ],
    }
    if level == "L2":
        groups["LEVEL2_SURFACE_REFLECTANCE_PARAMETERS"] = [
            f"REFLECTANCE_{term}_BAND_{n} = {value}"
            for n in numbers
            if n not in "89"
            for term, value in (("MULT", "2.75e-05"), ("ADD", "-0.2"))
        ]
        name = files[next(name for name in files if name.startswith("ST"))].removeprefix("BAND_")
        groups["LEVEL2_SURFACE_TEMPERATURE_PARAMETERS"] = [
            f"TEMPERATURE_MULT_BAND_{name} = 0.00341802",
            f"TEMPERATURE_ADD_BAND_{name} = 149.0",
        ]
        of_level1 = product.replace("L2SP", "L1TP")
        groups["LEVEL1_PROCESSING_RECORD"] = [
            f'LANDSAT_PRODUCT_ID = "{of_level1}"',
            f'FILE_NAME_BAND_1 = "{of_level1}_B1.TIF"',
        ]
    groups["LEVEL1_RADIOMETRIC_RESCALING"] = [
        *(f"REFLECTANCE_MULT_BAND_{n} = 2.0000E-05" for n in numbers),
        *(f"REFLECTANCE_ADD_BAND_{n} = -0.100000" for n in numbers),
        *(f"RADIANCE_MULT_BAND_{n} = {MULT:.4E}" for n in _THERMAL[kind]),
        *(f"RADIANCE_ADD_BAND_{n} = {ADD}" for n in _THERMAL[kind]),
    ]
    groups["LEVEL1_THERMAL_CONSTANTS"] = [
        *(f"K1_CONSTANT_BAND_{n} = {K1}" for n in _THERMAL[kind]),
        *(f"K2_CONSTANT_BAND_{n} = {K2}" for n in _THERMAL[kind]),
    ]
    lines = ["GROUP = LANDSAT_METADATA_FILE"]
    for group, keys in groups.items():
        lines += [f"  GROUP = {group}", *(f"    {key}" for key in keys), f"  END_GROUP = {group}"]
    return "\n".join([*lines, "END_GROUP = LANDSAT_METADATA_FILE", "END", ""])


def write_landsat(
    root: Path, product: str = LEVEL2, numbers: Mapping[str, np.ndarray | int] | None = None, *, tagged: bool = True
) -> Path:
    """Write the folder of a product.

    Parameters
    ----------
    root : Path
        Where.
    product : str
        Its id.
    numbers : mapping
        Digital numbers of some rasters by what follows the id (``SR_B4``); the others have 10000.
    tagged : bool
        Whether the rasters state their no-data, as those of Collection 2 do.
    """
    folder = root / product
    folder.mkdir(parents=True)
    for name in files_of(product):
        fine = name == "B8"
        side, size, inset = (2 * SIDE - 1, 15.0, 7.5) if fine else (SIDE, 30.0, 0.0)
        usual = CLEAR if name == "QA_PIXEL" else 10000
        values = np.broadcast_to((numbers or {}).get(name, usual), (side, side)).astype(np.uint16)
        profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "uint16"}
        place = {"crs": "EPSG:32632", "transform": Affine(size, 0, LEFT + inset, 0, -size, TOP - inset)}
        fill = (1 if name == "QA_PIXEL" else 0) if tagged else None
        with rasterio.open(folder / f"{product}_{name}.TIF", "w", **profile, **place, nodata=fill) as file:
            file.write(values, 1)
    (folder / f"{product}_MTL.txt").write_text(mtl_text(product))
    return folder


def tarred(folder: Path) -> Path:
    """Write the archive of a product as USGS ships it: its files, without a folder."""
    path = folder.with_name(f"{folder.name}.tar")
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.iterdir()):
            archive.add(file, file.name)
    return path
