"""What is written into a batch is what is read out of it, and samples that do not fit together make none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from eo_data.dataset.batch import collate
from eo_data.raster.sample import SampleError


def _entry(**fields: Any) -> dict[str, Any]:
    return {"image": torch.zeros(2, 4, 4), "filename": "a.tif"} | fields


def test_samples_that_do_not_fit_together_are_refused() -> None:
    assert collate([_entry(), _entry()])["image"].shape == (2, 2, 4, 4)
    with pytest.raises(SampleError, match=r"a.tif has \(2, 4, 4\), b.tif has \(2, 4, 5\). Use batch_size: 1, a crop"):
        collate([_entry(), _entry(image=torch.zeros(2, 4, 5), filename="b.tif")])
    one, two = (
        {"image": {"S2": torch.zeros(1, 2, 2)} | more, "filename": "c"} for more in ({}, {"S1": torch.zeros(1)})
    )
    with pytest.raises(SampleError, match="Samples of different shapes cannot be one batch"):
        collate([one, two])
    # In neither order: torch would drop the entry, or fail with a bare KeyError.
    located = _entry(crs="EPSG:32632", filename="b.tif")
    for pair in ([_entry(), located], [located, _entry()]):
        with pytest.raises(SampleError, match="a.tif and b.tif|b.tif and a.tif"):
            collate(pair)
        with pytest.raises(SampleError, match="only one of them has crs. Do all files have a georeference"):
            collate(pair)
