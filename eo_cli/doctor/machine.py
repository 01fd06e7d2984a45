"""What the machine multiplies with, and how much of it there is."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from eo_cli.doctor.findings import Finding, Part, State
from eo_core.memory import as_amount, memory_of_machine

#: Below this, TerraTorch and a batch of a small encoder do not fit.
_LEAST_MEMORY = 3 * 10**9
_LEAST_DISK = 5 * 10**9
_DRIVER = Path("/proc/driver/nvidia/version")


def look_at_machine() -> Part:
    """Return processors, threads, memory and GPU, and what float32 products are."""
    rows = [
        Finding("system", f"{platform.system()} {platform.release().partition('-')[0]}, {platform.machine()}"),
        *_memory(),
    ]
    try:
        import torch  # noqa: F401, PLC0415
    except (ImportError, OSError) as error:
        advice = "PyTorch cannot be imported; install it again, in an environment of its own."
        rows.append(Finding("PyTorch", f"{type(error).__name__}: {error}", State.BROKEN, advice))
    else:
        rows += [*_processors(), *_gpus(), *_products()]
    return Part("machine", rows)


def _memory() -> Iterator[Finding]:
    total = memory_of_machine()
    free = _free_memory()
    few = total < _LEAST_MEMORY
    advice = "TerraTorch alone takes about 1 GB. Take small batches (batch_size: 1), or `batch_memory`." if few else ""
    state = State.NOTE if few else State.FINE
    yield Finding("memory", as_amount(total) + (f", {as_amount(free)} free" if free else ""), state, advice)


def _free_memory() -> int:
    """Return the free bytes, as Linux tells them; 0 where it does not."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), 0)


def _processors() -> Iterator[Finding]:
    import torch  # noqa: PLC0415

    from eo_models.precision.hardware import has_amx, has_bf16  # noqa: PLC0415

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quick = [name for name, has in (("bfloat16", has_bf16(torch.device("cpu"))), ("AMX", has_amx())) if has]
    units = f"{torch.backends.cpu.get_cpu_capability()}, {' and '.join(quick) if quick else 'no bfloat16 units'}"
    yield Finding("CPU", f"{_name_of_cpu()}, {cores} cores for this process, {units}")
    threads = torch.get_num_threads()
    found = f"{threads}" + (f" (OMP_NUM_THREADS={stated})" if (stated := os.environ.get("OMP_NUM_THREADS")) else "")
    if threads > cores:
        advice = f"More threads than cores wait for each other. Set OMP_NUM_THREADS={cores} before the command."
        yield Finding("threads", found, State.NOTE, advice)
    elif threads == 1 < cores:
        advice = f"One thread uses one of {cores} cores. Unset OMP_NUM_THREADS for a run that has them for itself."
        yield Finding("threads", found, State.NOTE, advice)
    else:
        yield Finding("threads", found)


def _name_of_cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _gpus() -> Iterator[Finding]:
    import torch  # noqa: PLC0415

    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        yield Finding(f"GPU {index}", f"{facts.name}, {as_amount(facts.total_memory)}, CUDA {torch.version.cuda}")
    if torch.cuda.is_available():
        return
    if torch.backends.mps.is_available():
        yield Finding("GPU", "Apple's, through MPS")
    elif _DRIVER.exists() or shutil.which("nvidia-smi"):
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        advice = "There is a driver of NVIDIA, but PyTorch finds no GPU: install a build of PyTorch for this driver."
        yield Finding("GPU", f"none that PyTorch finds ({built})", State.NOTE, advice)
    else:
        yield Finding("GPU", "none; encoders run on the CPU")


def _products() -> Iterator[Finding]:
    import torch  # noqa: PLC0415

    from eo_models.precision.matmul import describe_matmul  # noqa: PLC0415

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    exact, loose = (describe_matmul(level, device) for level in ("highest", "medium"))
    yield Finding("float32 products", f"{exact}; where a run allows less (matmul: medium): {loose}")


def look_at_disk(cache: Path) -> Part:
    """Return the free disk of the working folder and of a cache."""
    return Part("disk", [_disk("working folder", Path.cwd()), _disk("cache of weights", cache)])


def _disk(what: str, folder: Path) -> Finding:
    there = next(part for part in (folder, *folder.parents) if part.exists())
    free = shutil.disk_usage(there).free
    found = f"{as_amount(free)} free, {folder}"
    if not os.access(there, os.W_OK):
        return Finding(
            what, f"{found}, not writable", State.NOTE, "Nothing can be written there. Choose another folder."
        )
    if free < _LEAST_DISK:
        return Finding(what, found, State.NOTE, "Little is free: grids of embeddings and checkpoints take gigabytes.")
    return Finding(what, found)
