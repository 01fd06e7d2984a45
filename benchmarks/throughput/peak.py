"""What the device can do at most: stated by its maker, and measured with one large product."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch

from throughput.clock import computing, measured, precisions

#: Dense bfloat16 TFLOP/s of NVIDIA's data sheets, by a part of the device's name; the first that fits counts.
STATED = (
    ("H200", 989.4),
    ("H100 PCIe", 756.0),
    ("H100 NVL", 835.0),
    ("H100", 989.4),
    ("A100", 312.0),
    ("L40S", 362.0),
    ("L4", 121.0),
    ("A10", 125.0),
    ("RTX 4090", 165.2),
)
#: Features of CPUs that change how quickly products are computed.
FEATURES = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16", "amx_int8", "asimd", "bf16", "sve")


def stated_tflops(name: str) -> float | None:
    """Return the maker's figure for a card, if it is known."""
    return next((figure for part, figure in STATED if part in name), None)


def device_facts(device: str) -> dict[str, Any]:
    """Return what the numbers depend on besides the code; of a CPU with the load that others made before."""
    facts: dict[str, Any] = {"torch": torch.__version__, "python": platform.python_version(), "kind": device}
    if device == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return facts | {
            "name": properties.name,
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
            "stated_bf16_tflops": stated_tflops(properties.name),
        }
    model, flags = _cpu()
    return facts | {
        "name": model,
        "threads": torch.get_num_threads(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "load": list(os.getloadavg()),
        "features": [feature for feature in FEATURES if feature in flags],
    }


def measured_tflops(device: str, repeats: int, size: int) -> dict[str, float]:
    """Return TFLOP/s of a product of square matrices by precision."""
    found = {}
    for name in precisions(device):
        kind = torch.bfloat16 if name == "bf16" else torch.float32
        left, right = (torch.randn(size, size, device=device).to(kind) for _ in range(2))
        with computing("float32" if name == "bf16" else name, device):
            took = measured(lambda left=left, right=right: left @ right, device, repeats)
        found[name] = 2 * size**3 / took.shortest / 1e12
    return found


def _cpu() -> tuple[str, set[str]]:
    """Return model and features of the CPU, as Linux tells them."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    told = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = told.get("flags", told.get("Features", ""))
    numbers = ", ".join(f"{key} {told[key]}" for key in ("cpu family", "model") if key in told)
    name = told.get("model name", platform.processor() or platform.machine())
    return f"{name} ({numbers})" if numbers else name, set(flags.split())
