"""What a product of two float32 matrices is computed in: chosen by a run, not inherited from the process.

PyTorch has one setting for the whole process (`torch.set_float32_matmul_precision`), and libraries change it:
TerraTorch 1.2.13 sets ``medium`` on import (``terratorch/models/backbones/clay_v15/model.py``). On CPUs with AMX that
rounds the factors of every product to bfloat16 (relative error 2e-3), on GPUs to TF32; on other CPUs it only chooses
the library that multiplies.

A run states what it wants with :func:`matmul_precision`, which also puts the setting back. The encoders ask for
:func:`unless_chosen` around their forward pass, so that float32 is float32 where nobody chose.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Literal, get_args

import torch

#: ``highest`` is float32 to float noise; ``high`` allows TF32, ``medium`` TF32 or bfloat16, where the hardware has it.
Matmul = Literal["highest", "high", "medium"]
LEVELS: tuple[Matmul, ...] = get_args(Matmul)
#: Largest relative error of a product that is float32: noise is 4e-7, TF32 3e-4, bfloat16 2e-3.
FLOAT32_NOISE = 2e-6

_chosen: ContextVar[Matmul | None] = ContextVar("matmul", default=None)


def check_matmul(matmul: object) -> Matmul:
    """Return ``matmul`` if it is known.

    Raises
    ------
    ValueError
        If it is not.
    """
    for valid in LEVELS:
        if matmul == valid:
            return valid
    msg = (
        f"matmul must be one of {', '.join(LEVELS)}, got {matmul!r}. highest is float32 on every machine; high and "
        "medium let products round their factors to TF32 or bfloat16 where the hardware is quicker then."
    )
    raise ValueError(msg)


class _ProcessSetting:
    """PyTorch's setting while blocks of code hold it: the innermost of each thread, and of these the strictest."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._wishes: dict[int, list[Matmul]] = {}
        self._restore: Callable[[], None] = _nothing

    def enter(self, wish: Matmul) -> None:
        with self.lock:
            if not self._wishes:
                self._restore = _current()
            self._wishes.setdefault(threading.get_ident(), []).append(wish)
            self._apply()

    def leave(self) -> None:
        with self.lock:
            own = self._wishes[threading.get_ident()]
            own.pop()
            if not own:
                del self._wishes[threading.get_ident()]
            if self._wishes:
                self._apply()
            else:
                self._restore()

    def renew(self) -> None:
        """Set it again, as a library that was imported meanwhile may have changed it."""
        with self.lock:
            if self._wishes:
                self._apply()

    def _apply(self) -> None:
        strictest = min((own[-1] for own in self._wishes.values()), key=LEVELS.index)
        _set(_level(strictest), strictest != "highest")


@contextlib.contextmanager
def matmul_precision(matmul: Matmul) -> Iterator[None]:
    """Compute products of float32 matrices, and convolutions on CUDA, in a precision; put the setting back behind.

    Of blocks within each other, the inner one counts. The setting is one for the process: while blocks of several
    threads run, the strictest of them counts.

    Parameters
    ----------
    matmul : {'highest', 'high', 'medium'}
        See `Matmul`. Under ``highest``, a CPU multiplies with the library that PyTorch takes for ``medium`` where that
        is float32 all the same, as it is twice as quick there (AMD with AVX-512: 415 against 195 GFLOP/s).

    Raises
    ------
    ValueError
        For another value.
    """
    wish = check_matmul(matmul)
    token = _chosen.set(wish)
    _process.enter(wish)
    try:
        yield
    finally:
        _process.leave()
        _chosen.reset(token)


@contextlib.contextmanager
def unless_chosen() -> Iterator[None]:
    """Compute products in float32, unless a :func:`matmul_precision` around this says otherwise.

    Without effect while `torch.export` or `torch.compile` trace: the setting is no part of a graph.
    """
    if torch.compiler.is_compiling():
        yield
        return
    if _chosen.get() is not None:
        _process.renew()
        yield
        return
    with matmul_precision("highest"):
        yield


def chosen_matmul() -> Matmul | None:
    """Return what the code around this has chosen with `matmul_precision` or `unless_chosen`, if any has."""
    return _chosen.get()


def describe_matmul(matmul: Matmul, device: torch.device) -> str:
    """Return in which numbers products of float32 matrices are computed, for people and for a manifest.

    Parameters
    ----------
    matmul : {'highest', 'high', 'medium'}
        What is chosen.
    device : torch.device
        Where the encoder runs.
    """
    check_matmul(matmul)
    if device.type == "cuda":
        capable = torch.cuda.get_device_capability(device) >= (8, 0)
        return "TF32" if capable and matmul != "highest" else "float32"
    if device.type != "cpu":
        return "float32"
    level = _level(matmul)
    with _process_at(level):
        exact = _product_error() <= FLOAT32_NOISE
    library = "oneDNN" if level == "medium" and torch.backends.mkldnn.is_available() else "PyTorch's BLAS"
    return f"{'float32' if exact else 'bfloat16 or TF32'} ({library}, {torch.backends.cpu.get_cpu_capability()})"


def _level(matmul: Matmul) -> Matmul:
    """Return the setting of PyTorch that gives a precision here."""
    return "medium" if matmul == "highest" and _medium_is_float32() else matmul


@functools.lru_cache(maxsize=1)
def _medium_is_float32() -> bool:
    """Whether nothing but the library changes with ``medium``: measured, as it depends on the CPU and on oneDNN."""
    if torch.cuda.is_available():  # the setting would allow TF32 there
        return False
    with _process_at("medium"):
        return _product_error() <= FLOAT32_NOISE


@contextlib.contextmanager
def _process_at(level: Matmul) -> Iterator[None]:
    with _process.lock:
        restore = _current()
        torch.set_float32_matmul_precision(level)
        try:
            yield
        finally:
            restore()


def _product_error() -> float:
    """Return the relative error of a product of the size of a layer's; fixed numbers, no random state."""
    steps = torch.arange(256 * 768, dtype=torch.float64)
    left, right = (steps * 0.7071).sin().view(256, 768), (steps * 0.5773).cos().view(256, 768)
    single = [part.float() for part in (left, right)]
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        expected = single[0].double() @ single[1].double().T
        found = torch.nn.functional.linear(*single).double()
    return float((found - expected).norm() / expected.norm())


def _current() -> Callable[[], None]:
    """Return what puts PyTorch's present setting back.

    PyTorch 2.9 has a second way to state it, by backend, and refuses to read the first where the two differ.
    """
    try:
        return functools.partial(_set, torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    except RuntimeError:
        backends: Any = torch.backends
        parts = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)
        stated = [(part, part.fp32_precision) for part in parts]
        return functools.partial(_set_by_backend, stated)


def _nothing() -> None:
    return


def _set(level: str, cudnn_tf32: bool) -> None:  # noqa: FBT001
    torch.set_float32_matmul_precision(level)
    torch.backends.cudnn.allow_tf32 = cudnn_tf32


def _set_by_backend(stated: Sequence[tuple[Any, str]]) -> None:
    for part, precision in stated:
        part.fp32_precision = precision


_process = _ProcessSetting()
