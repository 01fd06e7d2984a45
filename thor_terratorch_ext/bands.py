"""Band enums, for those who prefer them to strings; TerraTorch's own enums and plain names work as well."""

from __future__ import annotations

from enum import Enum

SARThorBands = Enum(
    "SARThorBands",
    {name: name for name in (f"{m}_{p}" for m in ("IW", "EW") for p in ("VV", "VH", "HV", "HH"))},
)
SARThorBands.__doc__ = "Sentinel-1 bands by acquisition mode and polarisation."

OLCIBands = Enum("OLCIBands", {name: name for name in (f"OA{i:02d}_REFLECTANCE" for i in range(1, 22))})
OLCIBands.__doc__ = "Sentinel-3 OLCI top-of-atmosphere reflectances."

SLSTRBands = Enum(
    "SLSTRBands",
    {
        name: name
        for name in (
            *(f"S{i}_REFLECTANCE_AN" for i in range(1, 7)),
            *(f"S{i}_BT_IN" for i in range(7, 10)),
        )
    },
)
SLSTRBands.__doc__ = "Sentinel-3 SLSTR reflectances and brightness temperatures."
