"""What a Zarr store says of itself by the conventions ``geoemb:`` 1, ``proj`` 0.1 and ``spatial`` 0.1."""

from __future__ import annotations

from typing import Any

from pyproj import CRS

from eo_core.fingerprint import fingerprint
from eo_embed.reading.publishing.change import Change
from eo_embed.reading.publishing.lattice import Lattice
from eo_embed.reading.publishing.told import Told

_CONVENTIONS: tuple[dict[str, str], ...] = (
    {
        "schema_url": "https://raw.githubusercontent.com/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json",
        "spec_url": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md",
        "uuid": "61c12cc5-0e28-4056-999a-480cf3fb7e4c",
        "name": "geoemb:",
        "description": "Geoembeddings convention for geospatial embedding arrays with model provenance",
    },
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/spatial/refs/tags/v0.1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/spatial/blob/v0.1/README.md",
        "uuid": "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4",
        "name": "spatial",
        "description": "Spatial coordinate information",
    },
    {
        "schema_url": "https://raw.githubusercontent.com/zarr-conventions/proj/refs/tags/v0.1/schema.json",
        "spec_url": "https://github.com/zarr-conventions/proj/blob/v0.1/README.md",
        "uuid": "f17cb550-5864-4468-aeb7-f3180cfb622f",
        "name": "proj",
        "description": "Coordinate reference system information for geospatial data",
    },
)


def store_name(crs: str) -> str:
    """Return a name that a file may have: of an authority's code, or of a digest of the WKT."""
    return crs.replace(":", "-") if len(crs) < 40 and ":" in crs else f"crs-{fingerprint({'crs': crs})[:12]}"


def group_of(crs: str) -> str:
    """Return the group that the arrays of a CRS lie in: ``utm33`` of a UTM zone, else that at the root (empty)."""
    zone = CRS.from_user_input(crs).utm_zone if len(crs) < 40 else None
    return f"utm{int(zone[:-1]):02d}" if zone and crs.startswith(("EPSG:326", "EPSG:327")) else ""


def group_attributes(lattice: Lattice, dtype: str, change: Change, told: Told) -> dict[str, Any]:
    """Return the attributes of the root by the three conventions."""
    depth = change.depth(lattice.items[0][0].depth)
    told_of: dict[str, Any] = {
        "zarr_conventions": list(_CONVENTIONS),
        "geoemb:type": "pixel",
        "geoemb:dimensions": depth,
        "geoemb:model": told.model,
        "geoemb:source_data": list(told.sources),
        "geoemb:data_type": dtype,
        "geoemb:build_version": told.software,
    }
    crs = CRS.from_user_input(lattice.crs)
    if crs.is_projected:
        told_of["geoemb:gsd"] = lattice.transform.a * float(crs.axis_info[0].unit_conversion_factor)
    if group_of(lattice.crs):
        told_of["geoemb:spatial_layout"] = "utm_zones"
    if dtype == "int8":
        told_of["geoemb:quantization"] = {
            "method": "per_pixel_scale",
            "original_dtype": "float32",
            "quantized_dtype": "int8",
            "scale": {"type": "array", "array_name": "scales", "nodata": "+inf"},
        }
    return told_of


def place_attributes(lattice: Lattice) -> dict[str, Any]:
    """Return where the cells of a lattice lie, by the conventions proj and spatial."""
    t, (height, width) = lattice.transform, (lattice.place.height, lattice.place.width)
    named = {"proj:code": lattice.crs} if len(lattice.crs) < 40 else {"proj:wkt2": lattice.crs}
    return {
        "zarr_conventions": list(_CONVENTIONS[1:]),
        **named,
        "spatial:dimensions": ["y", "x"],
        "spatial:transform": list(t[:6]),
        "spatial:transform_type": "affine",
        "spatial:shape": [height, width],
        "spatial:bbox": [t.c, t.f + height * t.e, t.c + width * t.a, t.f],
        "spatial:registration": "pixel",
    }
