"""What the conventions of embeddings ask for, in our words, as JSON schemas.

The published schemas have no licence that we know of, so they are not copied. The rules are those of
geo-embeddings/embeddings-zarr-convention at 0655212 (README.md, schema.json) and of
geo-embeddings/embeddings-stac-specification at 0a9cb04 (README.md, json-schema/schema.json).
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
            "properties": {"uuid": {"const": "61c12cc5-0e28-4056-999a-480cf3fb7e4c"}, "name": {"const": "geoemb:"}},
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


def _with_emb_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields whose name begins with emb: are these, and no others."""
    known = "|".join(name.removeprefix("emb:") for name in fields if name.startswith("emb:"))
    return {"properties": fields, "propertyNames": {"pattern": f"^(?!emb:)|^emb:({known})$"}}


#: An Item with the embedding extension.
ITEM = {
    "required": ["stac_version", "stac_extensions", "type", "properties", "assets"],
    "properties": {
        "stac_version": {"const": "1.0.0"},
        "stac_extensions": _EXTENSION,
        "type": {"const": "Feature"},
        "properties": _with_emb_fields(_ITEM_EMB),
        "assets": {"type": "object", "required": ["embeddings"]},
    },
}
#: A Collection with the embedding extension.
COLLECTION = {
    "required": ["stac_version", "stac_extensions", "type", "emb:type", "emb:dimensions", "data_type", "links"],
    **_with_emb_fields({
        "stac_version": {"const": "1.0.0"},
        "stac_extensions": _EXTENSION,
        "type": {"const": "Collection"},
        "emb:type": _KIND,
        "emb:dimensions": _COUNT,
        "data_type": _TEXT,
        "gsd": _NUMBER,
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
