"""Shards: every sample in one and only one, the same one whatever else there is, and about as many in each."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from eo_data.catalog.records import Record
from eo_data.catalog.shards import Shard, agreed, in_shard
from eo_data.datamodules import ChipDataModule


def test_a_sample_is_in_the_shard_that_sha256_of_its_id_says() -> None:
    """By hand: the first 8 bytes of the digest as a number. Another rule later would lose and double samples."""
    for name in ("a", "tile/r0_c288", "Kräuter"):
        number = int(hashlib.sha256(name.encode()).hexdigest()[:16], 16)
        assert [Shard(i, 5).holds(name) for i in range(5)] == [i == number % 5 for i in range(5)]
    assert int(hashlib.sha256(b"a").hexdigest()[:16], 16) % 3 == 0xCA978112CA1BBDCA % 3  # the standard's own vector
    assert Shard(0xCA978112CA1BBDCA % 3, 3).holds("a")


def test_the_spelling_of_an_id_does_not_move_it_to_another_shard() -> None:
    composed, apart = (unicodedata.normalize(form, "Kräuter/öd") for form in ("NFC", "NFD"))
    assert composed != apart
    assert [Shard(i, 97).holds(composed) for i in range(97)] == [Shard(i, 97).holds(apart) for i in range(97)]


def test_shards_share_out_all_samples_in_order_and_evenly() -> None:
    records = [Record(f"region/tile_{i}", {}) for i in range(3000)]
    shares = [in_shard(Shard(i, 3), records) for i in range(3)]
    assert sorted(record.id for share in shares for record in share) == sorted(record.id for record in records)
    assert all(900 < len(share) < 1100 for share in shares)
    assert [record.id for record in shares[0]] == [r.id for r in records if Shard(0, 3).holds(r.id)]
    assert in_shard(Shard(1, 3), records[1000:2000]) == [r for r in shares[1] if r in records[1000:2000]]
    assert in_shard(None, records) == records


@pytest.mark.parametrize(
    ("index", "of", "message"),
    [
        (3, 3, r"shard.index must be from 0 to 2 \(shard.of is 3\), got 3"),
        (-1, 3, "shard.index must be from 0 to 2"),
        (0, 0, "shard.of must be at least 1"),
        (True, 3, "whole number, got True"),
        (1.0, 3, "whole number, got 1.0"),
    ],
)
def test_a_shard_that_there_is_not_is_refused(index: Any, of: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shard(index, of)


def test_text_and_folder_names_come_back_as_the_shard() -> None:
    assert Shard.of_text("2/12") == Shard(2, 12)
    assert Shard.named(Shard(2, 12).name) == Shard(2, 12)
    assert [Shard.named(name) for name in ("2-of-2", "02-of-12", "x-of-3", "1-of-3 (copy)")] == [None] * 4
    assert Shard(2, 12).folder(Path("out")) == Path("out/shards/2-of-12")
    for text in ("2", "2 of 12", "-1/3"):
        with pytest.raises(ValueError, match="INDEX/OF, such as 0/3"):
            Shard.of_text(text)


def test_data_module_and_task_may_both_state_a_shard_but_not_two() -> None:
    assert agreed(None, Shard(1, 2)) == agreed(Shard(1, 2), None) == agreed(Shard(1, 2), Shard(1, 2)) == Shard(1, 2)
    with pytest.raises(ValueError, match=r"data module states shard 0/2 and the task shard 1/2"):
        agreed(Shard(0, 2), Shard(1, 2))


def test_shards_of_tiles_cover_the_raster_and_an_empty_shard_is_no_error(
    chips: Callable[..., Path], chip_module: Callable[..., ChipDataModule]
) -> None:
    root = chips(["a", "b"], label=False)

    def ids(shard: Shard | None, **other: Any) -> list[str]:
        module = chip_module(root, label=None, train_split=None, val_split=None, shard=shard, **other)
        module.setup("predict")
        assert module.predict_dataset is not None
        return [record.id for record in module.predict_dataset.records]

    whole = ids(None, tile=8, tile_align=4)
    assert len(whole) > 4
    shares = [ids(Shard(i, 3), tile=8, tile_align=4) for i in range(3)]
    assert sorted(name for share in shares for name in share) == sorted(whole)
    assert len([share for share in shares if {name.split("/")[0] for name in share} == {"a", "b"}]) > 1
    assert sorted(len(ids(Shard(i, 7))) for i in range(7))[:5] == [0] * 5


def test_a_shard_of_the_task_counts_and_training_on_a_shard_is_refused(
    chips: Callable[..., Path], chip_module: Callable[..., ChipDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training on a third of the samples without a word is what nobody would notice."""
    root = chips(["a", "b", "c", "d"], label=False)
    module = chip_module(root, label=None, train_split=None, val_split=None)
    run = SimpleNamespace(task=SimpleNamespace(shard=Shard(1, 2)), infers_by_tiles=False, takes_georeference=True)
    monkeypatch.setattr(ChipDataModule, "run", run)
    monkeypatch.setattr("eo_data.datamodules.check_bands", lambda *_: None)
    monkeypatch.setattr("eo_data.datamodules.check_dates", lambda *_: None)
    module.setup("predict")
    assert module.predict_dataset is not None
    assert [record.id for record in module.predict_dataset.records] == [n for n in "abcd" if Shard(1, 2).holds(n)]
    for stage in ("fit", "validate", "test"):
        with pytest.raises(
            ValueError, match=rf"shard \(1/2\) is a part of the samples to predict, and this is {stage}"
        ):
            module.setup(stage)
