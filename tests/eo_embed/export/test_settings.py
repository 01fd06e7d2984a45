"""Settings that make no sense are refused before an encoder is built, and are described as the manifest needs them."""

from __future__ import annotations

from typing import Any

import pytest

from eo_embed.export.settings import ExportSettings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"output": "vector"}, "output must be one of pooled, grid, both, got 'vector'"),
        ({"pooling": "median"}, "pooling must be one of mean, max, cls"),
        ({"group_merge": "max"}, "group_merge must be one of mean, sum, concat"),
        ({"grid_format": "png"}, "grid_format must be one of geotiff, zarr, netcdf, npz"),
        ({"grid_format": "npz", "dtype": "int8"}, "npz holds dtype float32, got dtype int8. Use grid_format: geotiff"),
        ({"dtype": "float64"}, "dtype must be one of float32"),
        ({"layers": ()}, "layers is empty"),
        ({"on_error": "ignore"}, "on_error must be one of raise, skip"),
    ],
)
def test_settings_that_make_no_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ExportSettings(**arguments)


def test_layers_have_names_where_there_are_several() -> None:
    assert ExportSettings(layers=(-1,)).layer_names == ("",)
    assert ExportSettings(layers=(3, 11)).layer_names == ("layer_3", "layer_11")


@pytest.mark.parametrize(
    ("dtype", "method"),
    [("float32", None), ("float16", None), ("int8", "linear"), ("int8_alphaearth", "sqrt_scale")],
)
def test_quantised_grids_are_described_by_their_method(dtype: Any, method: str | None) -> None:
    stac = ExportSettings(output="both", dtype=dtype).stac(768, 80.00049)
    assert stac.get("emb:quantization", {}).get("method") == method
    assert (stac["emb:type"], stac["emb:dimensions"], stac["gsd"]) == ("pixel", 768, 80.0)
    assert stac["data_type"] == dtype.removesuffix("_alphaearth")


def test_vectors_alone_are_chips_of_float32_whatever_grids_would_be() -> None:
    stac = ExportSettings(dtype="int8").stac(0, 0.0)
    assert (stac["emb:type"], stac["data_type"]) == ("chip", "float32")
    assert not {"emb:quantization", "emb:dimensions", "gsd"} & stac.keys()
