"""Folders and archives that are one product, by their names.

Sources: naming conventions of ESA (``.SAFE``, ``.SEN3``), USGS (Landsat Collection 2), NASA (HLS 2.0, OPERA) and ASF
(HyP3); ids of the collection ``sentinel-1-rtc`` of the Planetary Computer.
"""

from __future__ import annotations

import re

#: Folders that are a whole: what lies in them belongs to one product or store.
_FOLDERS = re.compile(
    r".+\.zarr|.+\.SAFE|.+\.SEN3"
    r"|L[CEMOT]\d{2}_L[12][A-Z]{2}_\d{6}_\d{8}_\d{8}_\d{2}_(?:T[12]|RT)"
    r"|HLS\.[LS]30\.T\d{2}[A-Z]{3}\.\d{7}T\d{6}\.v\d\.\d"
    r"|OPERA_L2_RTC-S1_T\d{3}-\d{6}-\w+_v\d+\.\d+|S1[A-D]_\w{2}_\d{8}T\d{6}_\w{3}_RTC\d\d_\w+"
    r"|S1[A-D]_\w{2}_GRD\w_1S\w{2}_\w+_rtc",
    re.IGNORECASE,
)
_ZARR = ".zarr"
#: Metadata that stand for the whole product in whose folder they lie, when they are named as the file to read.
_METADATA = re.compile(
    r"MTD_MSIL(?:1C|2A)\.xml|S2[A-D]_\w{4}_MTD_SAFL(?:1C|2A)\w*\.xml|manifest\.safe|xfdumanifest\.xml|L[CEMOT]\d{2}_\w+_MTL\.(?:json|txt)"
)


def is_store(name: str) -> bool:
    """Whether a folder of this name holds nothing but the parts of an array."""
    return name.lower().endswith(_ZARR)


def is_product_folder(name: str) -> bool:
    """Whether a folder of this name is one product or store, which is read as a whole."""
    return _FOLDERS.fullmatch(name) is not None


def is_product_metadata(name: str) -> bool:
    """Whether a file of this name stands for the product in whose folder it lies."""
    return _METADATA.fullmatch(name) is not None
