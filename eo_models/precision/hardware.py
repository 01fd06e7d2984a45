"""What the hardware multiplies fast."""

from __future__ import annotations

import functools

import torch

#: Units of a CPU that multiply bfloat16 several times as fast as float32, and the names of PyTorch before 2.10.
_BF16_UNITS = {"amx_bf16": "_is_amx_tile_supported", "avx512_bf16": "_is_avx512_bf16_supported", "bf16": ""}


def has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 faster than float32: AVX-512 BF16, AMX or Arm's BF16; Ampere on a GPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and any(map(_cpu_has, _BF16_UNITS))


def has_amx() -> bool:
    """Whether the CPU multiplies tiles of bfloat16 (Intel since Sapphire Rapids)."""
    return _cpu_has("amx_bf16")


@functools.lru_cache(maxsize=8)
def _cpu_has(unit: str) -> bool:
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is not None:
        return bool(capabilities().get(unit, False))
    older = getattr(torch.cpu, _BF16_UNITS[unit] or "-", None)
    return older is not None and bool(older())
