"""Float32 means float32, whatever libraries have set for the process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from eo_models.precision.matmul import (
    FLOAT32_NOISE,
    LEVELS,
    Matmul,
    describe_matmul,
    matmul_precision,
    unless_chosen,
)

pytestmark = pytest.mark.process_precision


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The setting is one for the process, that of tests."""
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def product_error() -> float:
    """Relative error of a layer's product, against float64."""
    numbers = torch.Generator().manual_seed(3)
    left, right = (torch.randn(200, 600, generator=numbers) for _ in range(2))
    expected = left.double() @ right.double().T
    return float((left @ right.T - expected).norm() / expected.norm())


def test_float32_is_float32_although_a_library_has_allowed_bfloat16_for_the_process() -> None:
    torch.set_float32_matmul_precision("medium")  # as `import terratorch` does
    with matmul_precision("highest"):
        assert product_error() < FLOAT32_NOISE
    assert torch.get_float32_matmul_precision() == "medium"
    with unless_chosen():
        assert product_error() < FLOAT32_NOISE
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.parametrize("wish", LEVELS)
def test_what_a_run_chose_is_not_overruled_by_the_encoder(wish: Matmul) -> None:
    with matmul_precision(wish):
        chosen = torch.get_float32_matmul_precision()
        with unless_chosen():
            assert torch.get_float32_matmul_precision() == chosen
    assert wish in (chosen, "highest")


def test_a_library_that_is_imported_within_a_run_does_not_change_its_choice() -> None:
    with matmul_precision("highest"):
        torch.set_float32_matmul_precision("medium")  # as `import terratorch` does
        with unless_chosen():
            assert product_error() < FLOAT32_NOISE


def test_the_inner_of_two_blocks_counts_and_then_the_outer_one_again() -> None:
    with matmul_precision("high"):
        outer = torch.get_float32_matmul_precision()
        with matmul_precision("medium"):
            assert torch.get_float32_matmul_precision() == "medium"
        assert torch.get_float32_matmul_precision() == outer == "high"


def test_the_setting_is_put_back_after_an_error() -> None:
    torch.set_float32_matmul_precision("high")
    allowed = torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), matmul_precision("medium"):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == "high"
    assert torch.backends.cudnn.allow_tf32 == allowed


def test_convolutions_on_cuda_are_float32_too() -> None:
    with matmul_precision("highest"):
        assert not torch.backends.cudnn.allow_tf32
    with matmul_precision("high"):
        assert torch.backends.cudnn.allow_tf32


def test_of_two_threads_the_stricter_one_counts_and_the_last_one_puts_the_setting_back() -> None:
    torch.set_float32_matmul_precision("medium")
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with matmul_precision("highest"):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with matmul_precision("medium"):
        thread.start()
        assert inside.wait(10)
        assert product_error() < FLOAT32_NOISE
    assert product_error() < FLOAT32_NOISE  # the other thread is still at work
    leave.set()
    thread.join()
    assert torch.get_float32_matmul_precision() == "medium"


def test_a_setting_by_backend_is_put_back_as_well() -> None:
    if not hasattr(torch.backends.mkldnn, "matmul"):
        pytest.skip("PyTorch before 2.9 has one setting for all backends")
    code = (
        "import torch\n"
        "torch.backends.mkldnn.matmul.fp32_precision = 'bf16'\n"
        "torch.backends.cuda.matmul.fp32_precision = 'ieee'\n"
        "from eo_models.precision.matmul import matmul_precision\n"
        "with matmul_precision('highest'):\n"
        "    pass\n"
        "print(torch.backends.mkldnn.matmul.fp32_precision, torch.backends.cuda.matmul.fp32_precision)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.stdout.split() == ["bf16", "ieee"], done.stderr


def test_an_unknown_level_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(ValueError, match=r"matmul must be one of highest, high, medium, got 'tf32'"):
        matmul_precision("tf32").__enter__()  # type: ignore[arg-type]


def test_what_a_manifest_says_is_what_is_computed() -> None:
    cpu = torch.device("cpu")
    for wish in LEVELS:
        with matmul_precision(wish):
            exact = product_error() < FLOAT32_NOISE
        assert describe_matmul(wish, cpu).startswith("float32") == exact
    assert describe_matmul("highest", cpu).startswith("float32")
