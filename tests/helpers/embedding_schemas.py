"""What the conventions of embeddings and the extensions of STAC ask for, in our words, as JSON schemas.

The published schemas of embeddings have no licence that we know of, so they are not copied. The rules are those of
geo-embeddings/embeddings-zarr-convention at 0655212 (README.md, schema.json), of
geo-embeddings/embeddings-stac-specification at 0a9cb04 (README.md, json-schema/schema.json), and of the STAC extensions
projection 2.0.0, raster 1.1.0 and processing 1.2.0. The package ``eopf`` brings the schemas of these three, but pins
other versions of what we test with.
"""

from __future__ import annotations

from typing import Any

import jsonschema

_TEXT, _URI, _NUMBER = (
    {"type": "string"},
    {"type": "string", "format": "uri", "pattern": "^[a-z]+:"},
    {"type": "number"},
)
_KIND = {"enum": ["pixel", "chip"]}
_COUNT = {"type": "integer", "minimum": 1}


def _closed(required: list[str], **fields: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": fields, "additionalProperties": False}


_SCALE = {
    "oneOf": [
        _closed(["type", "scale"], type={"const": "scalar"}, scale=_NUMBER, offset=_NUMBER),
        _closed(
            ["type", "array_name"], type={"const": "array"}, array_name=_TEXT, nodata={"type": ["number", "string"]}
        ),
    ]
}
_ZARR_FIELDS = {
    "zarr_conventions": {
        "contains": {
            "required": ["uuid"],
            "properties": {
                "uuid": {"const": "61c12cc5-0e28-4056-999a-480cf3fb7e4c"},
                "name": {"const": "geoemb:"},
                "description": {
                    "const": "Geoembeddings convention for geospatial embedding arrays with model provenance"
                },
                "spec_url": {"const": "https://github.com/geo-embeddings/embeddings-zarr-convention/blob/v1/README.md"},
                "schema_url": {"pattern": "/geo-embeddings/embeddings-zarr-convention/refs/tags/v1/schema.json$"},
            },
            "additionalProperties": False,
        }
    },
    "geoemb:type": _KIND,
    "geoemb:dimensions": _COUNT,
    "geoemb:model": _URI,
    "geoemb:source_data": {"type": "array", "items": _URI, "minItems": 1},
    "geoemb:data_type": _TEXT,
}
#: The root node of a Zarr store.
ZARR = {
    "required": ["zarr_format", "node_type", "attributes"],
    "properties": {
        "node_type": {"const": "group"},
        "attributes": {
            "required": list(_ZARR_FIELDS),
            "properties": {
                **_ZARR_FIELDS,
                "geoemb:gsd": {"type": "number", "exclusiveMinimum": 0},
                "geoemb:spatial_layout": {"enum": ["utm_zones", "global"]},
                "geoemb:build_version": _TEXT,
                "geoemb:quantization": _closed(
                    ["method", "original_dtype"],
                    method=_TEXT,
                    original_dtype=_TEXT,
                    quantized_dtype=_TEXT,
                    scale=_SCALE,
                ),
            },
            "if": {"properties": {"geoemb:type": {"const": "chip"}}},
            "then": {"required": ["geoemb:chip_layout"]},
        },
    },
}
_EXTENSION = {"contains": {"const": "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"}}
_NUMBERS = {"type": "array", "items": _NUMBER}
_ITEM_EMB = {
    "emb:runtime_parameters": {"type": "object"},
    "emb:quantization": _closed(
        ["method", "original_dtype"],
        method=_TEXT, original_dtype=_TEXT, quantized_dtype=_TEXT, scale=_NUMBERS, offset=_NUMBERS,
        link={"type": "object", "required": ["rel", "href"]},
    ),
}  # fmt: skip


def _with_fields(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Fields whose name begins with a prefix are these, and no others."""
    known = "|".join(name.removeprefix(prefix) for name in fields if name.startswith(prefix))
    names = f"^(?!{prefix})|^{prefix}({known})$" if known else f"^(?!{prefix})"
    return {"properties": fields, "propertyNames": {"pattern": names}}


def _each(*rules: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": {"allOf": list(rules)}}


def _numbers(*counts: int, kind: str = "number") -> dict[str, Any]:
    sizes = [{"minItems": count, "maxItems": count} for count in counts]
    return {"type": "array", "items": {"type": kind}, "oneOf": sizes}


_PROCESSING = _with_fields("processing:", {
    "processing:datetime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)$"},
    "processing:software": {"type": "object", "additionalProperties": _TEXT},
})  # fmt: skip
_PROJECTION = _with_fields("proj:", {
    "proj:code": {"type": ["string", "null"]},
    "proj:wkt2": {"type": ["string", "null"], "pattern": "^(BOUND|GEOG|GEODETIC|PROJ|PROJECTED|COMPOUND)CRS\\["},
    "proj:bbox": _numbers(4, 6),
    "proj:shape": _numbers(2, kind="integer"),
    "proj:transform": _numbers(6, 9),
})  # fmt: skip
_RASTER = _with_fields("raster:", {
    "raster:bands": {
        "type": "array", "minItems": 1,
        "items": {
            "properties": {
                "data_type": {"enum": ["int8", "float16", "float32"]},
                "nodata": {"oneOf": [_NUMBER, {"enum": ["nan", "inf", "-inf"]}]}, "scale": _NUMBER, "offset": _NUMBER,
            },
        },
    },
})  # fmt: skip
_ASSETS = _each(_with_fields("emb:", {}), _PROCESSING, _PROJECTION, _RASTER)


#: An Item with the extensions.
ITEM = {
    "required": ["stac_version", "stac_extensions", "type", "properties", "assets"],
    "properties": {
        "stac_version": {"const": "1.0.0"},
        "stac_extensions": _EXTENSION,
        "type": {"const": "Feature"},
        "properties": {"allOf": [_with_fields("emb:", _ITEM_EMB), _PROCESSING, _PROJECTION]},
        "assets": {**_ASSETS, "required": ["embeddings"]},
    },
}
#: A Collection with the extensions; one that names that of processing must say something of it.
COLLECTION = {
    "required": [
        "stac_version", "stac_extensions", "type", "emb:type", "emb:dimensions", "data_type", "links", "summaries",
    ],
    **_with_fields("emb:", {
        "stac_version": {"const": "1.0.0"},
        "stac_extensions": _EXTENSION,
        "type": {"const": "Collection"},
        "emb:type": _KIND,
        "emb:dimensions": _COUNT,
        "data_type": _TEXT,
        "gsd": _NUMBER,
        "assets": _ASSETS,
        "item_assets": _ASSETS,
        "summaries": {
            **_with_fields("emb:", {"emb:type": {}, "emb:dimensions": {}}), "required": ["processing:software"],
        },
        "links": {
            "allOf": [
                {"contains": {"required": ["rel", "href"], "properties": {"rel": {"const": rel}}}}
                for rel in ("emb:model", "emb:source-data")
            ]
        },
    }),
}  # fmt: skip


def validate(content: dict[str, Any], schema: dict[str, Any]) -> None:
    """Raise an error where a file is not as a schema says."""
    jsonschema.Draft202012Validator(schema).validate(content)
