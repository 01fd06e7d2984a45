"""An encoder by OpenVINO on a CPU, checked against the encoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from eo_models.engines.compiled import CompiledEncoder, FlatEncoder, Run
from eo_models.export.formats import onnx_model


class OpenVinoEncoder(CompiledEncoder):
    """Takes batches and gives features as `CompiledEncoder` does, by OpenVINO on a CPU.

    The encoder is traced, converted by way of ONNX and compiled when the first batch of a form comes, which takes 10 to
    30 s, and for that time four times the memory of its weights. The first batch is also encoded by PyTorch in float32.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder, frozen, in eval mode, with weights in float32.
    reduced : bool
        Whether OpenVINO is to compute in bfloat16: all of it, while `precision: bf16` of PyTorch leaves normalisation
        and the residual stream in float32.
    """

    # Of THOR tiny with random weights bfloat16 differs by 0.003, of AnySat base by 0.03 (by 0.007 in PyTorch).
    asked, reduced_tolerance = "engine: openvino", 0.02
    takes_one = True

    def graph(self, flat: FlatEncoder, example: Sequence[torch.Tensor]) -> Run:
        """Return what runs the encoder on batches like ``example`` of any number of samples."""
        return samples_by_openvino(_onnx_of_one(flat, example), reduced=self.reduced, threads=torch.get_num_threads())


class SamplesInTurn:
    """Runs the samples of a batch one by one, as many at once as OpenVINO takes.

    Parameters
    ----------
    queue : openvino.AsyncInferQueue
        Of a model of one sample.
    """

    def __init__(self, queue: Any) -> None:  # noqa: ANN401  (of a package that is an extra)
        self.queue = queue
        self.queue.set_callback(self._keep)
        self._found: dict[int, list[np.ndarray]] = {}

    def __call__(self, own: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Return what the model gives for a batch, samples first."""
        count = own[0].shape[0]
        for index in range(count):
            self.queue.start_async([tensor[index : index + 1].numpy() for tensor in own], index)
        self.queue.wait_all()
        samples = [self._found.pop(index) for index in range(count)]
        return [torch.from_numpy(np.concatenate(parts)) for parts in zip(*samples, strict=True)]

    def _keep(self, request: Any, index: int) -> None:  # noqa: ANN401
        self._found[index] = [np.array(output.data) for output in request.output_tensors]


def samples_by_openvino(onnx: bytes, *, reduced: bool, threads: int) -> SamplesInTurn:
    """Compile a model for one sample at a time.

    Parameters
    ----------
    onnx : bytes
        The model, for one sample or any number of them.
    reduced : bool
        Whether to compute in bfloat16.
    threads : int
        Of all samples together.
    """
    import openvino  # noqa: PLC0415  (an extra)

    core = openvino.Core()
    model = core.read_model(onnx)
    model.reshape({one: [1, *list(one.partial_shape)[1:]] for one in model.inputs})
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if reduced else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "THROUGHPUT",
    }
    return SamplesInTurn(openvino.AsyncInferQueue(core.compile_model(model, "CPU", settings)))


def _onnx_of_one(flat: FlatEncoder, example: Sequence[torch.Tensor]) -> bytes:
    """Return the encoder of one sample as ONNX: OpenVINO is quickest with several of these side by side."""
    one = tuple(tensor[:1].contiguous() for tensor in example)
    with torch.no_grad():
        program = torch.export.export(flat, one)
    outputs = range(len(program.graph_signature.user_outputs))
    model = onnx_model(flat, program, [f"in_{i}" for i in range(len(one))], [f"out_{i}" for i in outputs])
    content: bytes = model.SerializeToString()
    return content
