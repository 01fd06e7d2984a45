"""Runs a deployed ONNX file with onnxruntime and numpy alone; copy it to where the file runs.

    from onnx_loader import encode
    pixels = np.stack([read("B04.tif"), read("B02.tif"), ...])[None]
    vectors = encode("thor.onnx", {"S2": pixels}, bands={"S2": ["B04", "B02", ...]})["pooled"]

What the file takes and gives: `facts(path)`, see `docs/deploy.md`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime


@functools.lru_cache(maxsize=1)
def session(path: str) -> onnxruntime.InferenceSession:
    """Open a file, once."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def facts(path: str) -> dict[str, Any]:
    """Return what a file says of itself."""
    told: dict[str, Any] = json.loads(session(path).get_modelmeta().custom_metadata_map["eo_encoder"])
    return told


def encode(
    path: str, arrays: Mapping[str, Any], bands: Mapping[str, Sequence[str]] | None = None
) -> dict[str, np.ndarray]:
    """Run a file on arrays by the names of its inputs; return arrays by the names of its outputs.

    ``bands`` names the bands of each array, which are brought to the file's order.

    Raises
    ------
    ValueError
        For what the file does not take.
    """
    told, feed = facts(path), {}
    for wanted in told["inputs"]:
        name, shape = wanted["name"], wanted["shape"]
        if name not in arrays:
            msg = f"{name!r} is missing: the file takes {[one['name'] for one in told['inputs']]}."
            raise ValueError(msg)
        array = np.asarray(arrays[name])
        if bands and name in bands:
            array = np.take(array, band_order(wanted, bands[name]), axis=wanted["axes"].index("band"))
        if array.ndim != len(shape) or list(array.shape[1:]) != shape[1:]:
            msg = f"{name!r} is {array.shape}; the file takes {shape} ({', '.join(wanted['axes'])})."
            raise ValueError(msg)
        feed[name] = array.astype(wanted["dtype"])
    return dict(zip([one["name"] for one in told["outputs"]], session(path).run(None, feed), strict=True))


def band_order(wanted: Mapping[str, Any], given: Sequence[str]) -> list[int]:
    """Return where the bands that a file takes are among those of an array, by any of their names."""
    upper = [str(name).upper() for name in given]
    order = []
    for band, others in zip(wanted["bands"], wanted["aliases"], strict=True):
        found = [upper.index(name.upper()) for name in (band, *others) if name.upper() in upper]
        if not found:
            msg = f"The band {band} ({', '.join(others)}) is not among {list(given)}."
            raise ValueError(msg)
        order.append(found[0])
    return order


def days_of_year(times: np.ndarray) -> np.ndarray:
    """Return 0..364 of dates, as the encoders count them."""
    days = np.asarray(times, dtype="datetime64[D]")
    return np.minimum((days - days.astype("datetime64[Y]")).astype(np.int64), 364)
