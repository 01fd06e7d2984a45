"""An encoder by OpenVINO, on a CPU."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from eo_models.engines.form import FlatEncoder
from eo_models.engines.traced import Run, TracedEncoder
from eo_models.export.formats import onnx_model
from eo_models.features import FeatureExtractor


class OpenVinoEncoder(TracedEncoder):
    """`TracedEncoder` by OpenVINO, which needs the extra ``openvino``.

    It holds a second copy of the weights.

    Parameters
    ----------
    extractor : FeatureExtractor
        The encoder, frozen, in eval mode, in float32 and on the CPU.
    bf16 : bool
        Compute in bfloat16, instead of float32.
    """

    name = "openvino"

    def __init__(self, extractor: FeatureExtractor, *, bf16: bool) -> None:
        super().__init__(extractor, reduced=bf16)
        self.hint = "bf16" if bf16 else "f32"

    def graph(self, flat: FlatEncoder, tensors: Sequence[torch.Tensor], names: Sequence[str]) -> Run:
        """Return what runs the graph in OpenVINO, with as many threads as PyTorch has.

        Raises
        ------
        ValueError
            If the encoder cannot be traced.
        """
        import openvino  # noqa: PLC0415  (an extra)

        # A batch of one would become a constant of the graph.
        example = tuple(tensor if len(tensor) > 1 else tensor.repeat_interleave(2, dim=0) for tensor in tensors)
        batch = torch.export.Dim("batch")
        try:
            program = torch.export.export(flat, example, dynamic_shapes={"tensors": tuple({0: batch} for _ in example)})
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            msg = (
                f"{type(self.extractor.backbone).__name__} cannot be traced as one graph, which engine: openvino needs "
                f"({str(error).splitlines()[0]}). Leave engine out."
            )
            raise ValueError(msg) from error
        core = openvino.Core()
        model = core.read_model(onnx_model(program, flat.form.names, names).SerializeToString())
        options = {
            "INFERENCE_PRECISION_HINT": self.hint,
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "PERFORMANCE_HINT": "LATENCY",
        }
        request = core.compile_model(model, "CPU", options).create_infer_request()

        def run(own: Sequence[torch.Tensor]) -> list[torch.Tensor]:
            arrays = [tensor.contiguous().numpy() for tensor in own]
            found = request.infer(arrays, share_inputs=True)
            return [torch.from_numpy(np.array(value)) for value in found.values()]

        return run
