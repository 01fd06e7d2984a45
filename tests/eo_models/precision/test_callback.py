"""A run computes in the precision of its config, not in that of an import."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eo_models.precision.callback import MatmulPrecision
from eo_models.precision.matmul import FLOAT32_NOISE

pytestmark = pytest.mark.process_precision


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


class Product(LightningModule):
    """Notes how exact a product is, forwards and backwards."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.layer = nn.Linear(600, 64, bias=False)
        self.fails = fails
        self.errors: list[float] = []

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        if self.fails:
            raise ZeroDivisionError
        (image,) = batch
        made = self.layer(image)
        expected = image.double() @ self.layer.weight.double().T
        self.errors.append(float((made - expected).norm() / expected.norm()))
        return made.square().sum()

    def on_after_backward(self) -> None:
        image = torch.randn(64, 600, generator=torch.Generator().manual_seed(1))
        expected = 2 * (image.double() @ self.layer.weight.double().T).T @ image.double()
        found = self.layer.weight.grad
        assert found is not None
        self.errors.append(float((found - expected).norm() / expected.norm()))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def fit(module: Product, callback: MatmulPrecision) -> None:
    image = torch.randn(64, 600, generator=torch.Generator().manual_seed(1))
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", callbacks=[callback], enable_model_summary=False, **quiet)
    trainer.fit(module, DataLoader(TensorDataset(image), batch_size=64))


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on loaders
def test_training_is_float32_forwards_and_backwards_after_terratorch_was_imported() -> None:
    torch.set_float32_matmul_precision("medium")
    module = Product()
    fit(module, MatmulPrecision())
    assert len(module.errors) == 2
    assert max(module.errors) < FLOAT32_NOISE
    assert torch.get_float32_matmul_precision() == "medium"


@pytest.mark.filterwarnings("ignore")
def test_the_setting_is_put_back_when_a_run_fails() -> None:
    torch.set_float32_matmul_precision("medium")
    with pytest.raises(ZeroDivisionError):
        fit(Product(fails=True), MatmulPrecision("high"))
    assert torch.get_float32_matmul_precision() == "medium"


def test_an_unknown_level_ends_before_the_run() -> None:
    with pytest.raises(ValueError, match="matmul must be one of highest, high, medium"):
        MatmulPrecision("32")  # type: ignore[arg-type]


def test_it_travels_to_other_processes_as_its_argument() -> None:
    assert pickle.loads(pickle.dumps(MatmulPrecision("high"))).matmul == "high"  # noqa: S301
