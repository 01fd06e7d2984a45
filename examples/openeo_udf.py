# /// script
# dependencies = ["onnxruntime"]
# ///
"""Embeddings within openEO: a user-defined function that runs a deployed ONNX file.

Make the file where this project is installed, for the numbers that the back end delivers (digital numbers of
Sentinel-2 without offset here), and put it into a zip archive with `onnx_loader.py`, at an address that the back end
can read:

    python -m eo_models.export thor_v1_base --bands B02 B03 B04 B08 --side 288 --patch 8 --output grid \
        --unit sentinel2_l2a=digital_number --scale sentinel2_l2a=0.0001 --offset sentinel2_l2a=0 --out thor.onnx
    zip model.zip thor.onnx examples/onnx_loader.py --junk-paths

Apply this file to windows of the file's side, without overlap:

    udf = openeo.UDF.from_file("openeo_udf.py", context={"folder": "model", "file": "thor.onnx"})
    size = [{"dimension": axis, "value": 288, "unit": "px"} for axis in ("x", "y")]
    job = cube.apply_neighborhood(udf, size=size).create_job(
        job_options={"udf-dependency-archives": ["https://.../model.zip#model"]}
    )

openEO finds the function by its annotations, which must be classes: no `from __future__ import annotations` here.
"""

import sys
from pathlib import Path

import xarray


def apply_datacube(cube: xarray.DataArray, context: dict) -> xarray.DataArray:
    """Encode a window: the features of each cell, in all of its pixels.

    The cube has the dimensions bands, y and x, and t where the file takes a series; else its dates become their median.
    The result has the features as bands.

    Raises
    ------
    ValueError
        For bands, sizes or dates that the file does not take, or a file of several sensors.
    """
    if context["folder"] not in sys.path:
        sys.path.insert(0, context["folder"])
    import onnx_loader  # noqa: PLC0415  (it comes with the model)

    path = str(Path(context["folder"], context["file"]))
    told = onnx_loader.facts(path)
    (wanted, *others) = told["inputs"]
    if any(one["kind"] == "pixels" for one in others) or "grid" not in [one["name"] for one in told["outputs"]]:
        msg = "This function takes files of one sensor whose output is grid; export it with --output grid."
        raise ValueError(msg)
    time = [name for name in ("t", "time") if name in cube.dims]
    series = "frame" in wanted["axes"]
    if series and not time:
        msg = f"The file takes a series of {wanted['shape'][1]} frames, and the cube has no dates."
        raise ValueError(msg)
    if time and not series:
        cube = cube.median(time[0], skipna=True)
    cube = cube.transpose(*(time if series else []), "bands", "y", "x")
    arrays = {wanted["name"]: cube.values[None]}
    if others:
        arrays[others[0]["name"]] = onnx_loader.days_of_year(cube[time[0]].values)[None]
    bands = {wanted["name"]: cube["bands"].values.tolist()}
    grid = onnx_loader.encode(path, arrays, bands)["grid"][0]
    pixels = wanted["shape"][-1] // grid.shape[-1]
    names = [f"feature_{number:04d}" for number in range(len(grid))]
    place = {name: cube[name] for name in ("y", "x") if name in cube.coords}
    values = grid.repeat(pixels, axis=1).repeat(pixels, axis=2)
    return xarray.DataArray(values, dims=("bands", "y", "x"), coords={"bands": names, **place})
