"""An encoder by PyTorch's compiler, as one graph for all sizes of batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from eo_models.engines.form import FlatEncoder
from eo_models.engines.traced import Run, TracedEncoder

#: What makes machine code of the graph.
BACKEND: Any = "inductor"


class CompiledEncoder(TracedEncoder):
    """`TracedEncoder` by ``torch.compile(fullgraph=True)``.

    The number of samples is free in the graph, so the last, smaller batch needs none of its own. A batch of one sample
    runs without it: the compiler makes that size a constant, and would start again.
    """

    name = "compiled"

    def graph(self, flat: FlatEncoder, tensors: Sequence[torch.Tensor], names: Sequence[str]) -> Run:
        """Return the compiled encoder; it is compiled by the first batch of several samples."""
        del tensors, names
        compiled = torch.compile(flat, fullgraph=True, backend=BACKEND)

        def run(own: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
            if own[0].shape[0] == 1:
                found: Sequence[torch.Tensor] = flat(*own)
                return found
            for tensor in own:
                torch._dynamo.mark_dynamic(tensor, 0)
            return compiled(*own)

        return run
