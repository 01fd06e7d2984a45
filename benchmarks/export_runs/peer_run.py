"""One export by the peer's batch API: ``peer_run.py peer JSON``, in an environment with rs-embed 0.3.1.

What is timed is `rs_embed.get_embeddings_batch_from_data` on arrays that are in memory: neither reading nor writing,
which are timed in ours. Weights are random, which `RS_EMBED_THOR_PRETRAINED` says. One chip goes first, so that the
model is built before the clock runs.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import rasterio
import torch
from rs_embed import OutputSpec, UserData, get_embeddings_batch_from_data  # type: ignore[import-not-found]

from export_runs.asked import Asked, answer, cores_busy
from export_runs.chips import NUMBERS


def main() -> None:
    """Embed, and print the seconds."""
    asked = Asked.parse(sys.argv[2])
    torch.manual_seed(0)
    data = []
    for path in asked.files:
        with rasterio.open(path) as file:
            data.append(UserData(file.read().astype(np.float32), "COPERNICUS/S2_SR_HARMONIZED", bands=NUMBERS))
    output = OutputSpec.pooled() if asked.output == "pooled" else OutputSpec.grid()
    call = {"output": output, "device": "cpu", "variant": asked.size}
    get_embeddings_batch_from_data("thor", data[:1], **call)
    begun, used = time.perf_counter(), cores_busy()
    found = get_embeddings_batch_from_data("thor", data, **call)
    took = {"seconds": time.perf_counter() - begun, "core_s": cores_busy() - used}
    shape = "x".join(map(str, np.asarray(found[0].data).shape))
    answer(items=len(found), **took, encoder_s=None, written_mb=0.0, shape=shape)


if __name__ == "__main__":
    main()
