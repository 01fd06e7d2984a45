"""`eo_embed.embed`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from eo_embed.export.settings import ExportSettings
from eo_embed.one_call.arrays import array_image, is_array, stated_of_array
from eo_embed.one_call.files import prepared_files
from eo_embed.one_call.options import EncoderOptions, Request
from eo_embed.one_call.prepared import IMAGE_FIELDS
from eo_embed.one_call.run import Run

#: Arguments of `embed` about images, beside the fields of `ImageSource`.
_OF_IMAGES = (*IMAGE_FIELDS, "bands", "sensor", "unit", "offset", "extra_bands", "clouds")
_OF_ENCODER = ("pretrained", "ckpt", "revision", "device", "precision")
_OF_RESULT = ("layers", "output", "pooling", "group_merge", "l2_normalise")


def embed(encoder: str, given: Any, **options: Any) -> Any:
    stated = {name: options.pop(name) for name in _OF_IMAGES if name in options}
    dates = options.pop("dates", None)
    chosen = {name: options.pop(name) for name in _OF_ENCODER if name in options}
    settings = {"output": "both"} | {name: options.pop(name) for name in _OF_RESULT if name in options}
    if "layers" in settings:
        settings["layers"] = tuple(settings["layers"])
    frames, time = options.pop("frames", None), options.pop("time", None)
    name = options.pop("id", "")
    request = Request(EncoderOptions(encoder, **chosen, own=options), ExportSettings(**settings), frames, time)
    if is_array(given):
        image = array_image(given, stated.pop("bands", None), dates, stated.pop("transform", None), stated.get("crs"))
        with image.files() as files:
            prepared = prepared_files(
                {"": files}, request, stated_of_array(image, stated), image.dates or None, name or "array"
            )
            return Run(prepared, request).embedded(0, {"files": [], "array": image.sha256})
    files = given if isinstance(given, Mapping) else {"": [given] if isinstance(given, str | os.PathLike) else given}
    prepared = prepared_files(
        {k: [v] if isinstance(v, str | os.PathLike) else v for k, v in files.items()}, request, stated, dates, name
    )
    return Run(prepared, request).embedded(0)
