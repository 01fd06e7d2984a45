"""The kinds of files that a graph can be written as, and how each is run again to compare its numbers.

A file is made in memory, so that it is whole and known to compute the right numbers before anything is on the disk.
"""

from __future__ import annotations

import importlib.util
import io
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eo_models.export.graph import DeployedEncoder
from eo_models.precision.matmul import matmul_precision

#: Key of the metadata in a file, which are JSON: in ONNX's metadata_props, OpenVINO's rt_info, torch's extra files.
KEY = "eo_encoder"
#: The newest operators that onnxruntime 1.20 runs on every platform.
OPSET = 20
#: Bytes of weights that fit into one file of protobuf, beside a graph.
_LARGEST_ONNX = 2**31 - 2**26
#: What a file is made of: names behind that of the file, and their content. The last one is written last.
Parts = Mapping[str, bytes]
#: Runs a file on arrays.
Runner = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Parameters
    ----------
    name : str
        As it is asked for.
    suffix : str
        Of its files.
    packages : tuple of str
        What it needs beside PyTorch, as it is imported.
    extra : str
        Extra of this project that brings them.
    write : callable
        Takes the encoder, its graph and the metadata as JSON; returns the parts of the file.
    runner : callable
        Takes the parts; returns what runs them, in float32.
    """

    name: str
    suffix: str
    packages: tuple[str, ...]
    extra: str
    write: Callable[[DeployedEncoder, torch.export.ExportedProgram, str], Parts]
    runner: Callable[[Parts], Runner]


def find_format(name: str) -> Format:
    """Return a format whose packages are installed.

    Raises
    ------
    ValueError
        If there is none of the name.
    ImportError
        If packages are missing; the message says what to install.
    """
    found = FORMATS.get(name)
    if found is None:
        msg = f"Unknown format {name!r}. Valid: {', '.join(FORMATS)}."
        raise ValueError(msg)
    missing = [package for package in found.packages if importlib.util.find_spec(package) is None]
    if missing:
        others = [other.name for other in FORMATS.values() if all(map(importlib.util.find_spec, other.packages))]
        msg = (
            f"The format {name} needs {', '.join(missing)}: pip install 'thor-anysat-terratorch[{found.extra}]'. "
            f"Without further packages: {', '.join(others)}."
        )
        raise ImportError(msg)
    return found


def _write_onnx(encoder: DeployedEncoder, program: torch.export.ExportedProgram, metadata: str) -> Parts:
    model = onnx_model(encoder, program, encoder.input_names, encoder.output_names)
    _name_batch(model)
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, metadata
    facts = json.loads(metadata)["software"]
    model.producer_name, model.producer_version = facts["name"], facts["version"]
    return {"": model.SerializeToString()}


def onnx_model(
    encoder: torch.nn.Module, program: torch.export.ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]
) -> Any:  # noqa: ANN401  (of a package that is an extra)
    """Return the graph of an encoder as a model of the package onnx, with these names.

    Raises
    ------
    ValueError
        If the weights are too large for one.
    RuntimeError
        If PyTorch makes none.
    """
    if (size := sum(value.nbytes for value in encoder.state_dict().values())) >= _LARGEST_ONNX:
        msg = (
            f"The weights have {size / 2**30:.1f} GB, and one ONNX file holds 2 GB. Take torch_export; in an export, "
            "engine: pytorch."
        )
        raise ValueError(msg)
    converted = torch.onnx.export(
        program,
        dynamo=True,
        input_names=list(inputs),
        output_names=list(outputs),
        opset_version=OPSET,
        external_data=False,
        verbose=False,
    )
    if converted is None:
        msg = "torch.onnx.export returned no model. Take torch_export, or another version of torch."
        raise RuntimeError(msg)
    return converted.model_proto


def _name_batch(model: Any) -> None:  # noqa: ANN401  (of a package that is an extra)
    """Call the free axis of inputs and outputs what the metadata call it."""
    for node in (*model.graph.input, *model.graph.output):
        node.type.tensor_type.shape.dim[0].dim_param = "batch"


def _run_onnx(parts: Parts) -> Runner:
    import onnxruntime  # noqa: PLC0415  (an extra)

    session = onnxruntime.InferenceSession(parts[""], providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]
    return lambda arrays: list(session.run(None, dict(zip(names, arrays, strict=True))))


def _write_openvino(encoder: DeployedEncoder, program: torch.export.ExportedProgram, metadata: str) -> Parts:
    import openvino  # noqa: PLC0415  (an extra)

    # By way of ONNX: OpenVINO 2026.4 makes an attention of PyTorch's graph that gives other numbers once the file is
    # read again (0.04 of the largest).
    model = openvino.Core().read_model(_write_onnx(encoder, program, metadata)[""])
    model.set_rt_info(metadata, [KEY])
    # It writes to paths only, and has little to say about a full disk.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.xml"
        openvino.save_model(model, file, compress_to_fp16=False)
        return {".bin": file.with_suffix(".bin").read_bytes(), "": file.read_bytes()}


def _run_openvino(parts: Parts) -> Runner:
    import openvino  # noqa: PLC0415  (an extra)

    core = openvino.Core()
    weights = openvino.Tensor(np.frombuffer(parts[".bin"], dtype=np.uint8))
    model = core.read_model(parts[""], weights)
    # On CPUs that have it, OpenVINO computes in bfloat16 by default.
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda arrays: [np.array(value) for value in compiled(list(arrays)).values()]


def _write_torch(_encoder: DeployedEncoder, program: torch.export.ExportedProgram, metadata: str) -> Parts:
    memory = io.BytesIO()
    torch.export.save(program, memory, extra_files={f"{KEY}.json": metadata})
    return {"": memory.getvalue()}


def _run_torch(parts: Parts) -> Runner:
    module: Any = torch.export.load(io.BytesIO(parts[""])).module()

    def run(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        with torch.no_grad(), matmul_precision("highest"):
            return [value.numpy() for value in module(*(torch.from_numpy(array) for array in arrays))]

    return run


FORMATS: Mapping[str, Format] = {
    made.name: made
    for made in (
        Format("onnx", ".onnx", ("onnx", "onnxscript", "onnxruntime"), "onnx", _write_onnx, _run_onnx),
        Format("openvino", ".xml", ("openvino", "onnx", "onnxscript"), "openvino", _write_openvino, _run_openvino),
        Format("torch_export", ".pt2", (), "", _write_torch, _run_torch),
    )
}
