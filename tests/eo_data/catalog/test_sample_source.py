"""Samples come from what was named: never from two places at once, and from any source that has the one method."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from small_files import hrefs

from eo_data.catalog.folder_patterns import FolderPatterns
from eo_data.catalog.index_table import IndexTable, choose_source
from eo_data.catalog.records import Record, SampleRequest
from eo_data.datamodules import ChipDataModule
from eo_data.inspect import load_data_module


class ReversedFolder:
    """A source of another kind: the files of a folder, last name first."""

    def __init__(self, folder: str = "img") -> None:
        self.folder = folder
        self.asked: list[SampleRequest] = []

    def records(self, request: SampleRequest) -> list[Record]:
        self.asked.append(request)
        (name,) = request.modalities
        paths = sorted((request.root / self.folder).iterdir(), reverse=True)
        return [Record(path.stem, {name: hrefs(path)}, label=len(path.stem), split="val") for path in paths]


def test_a_table_is_chosen_before_patterns_and_both_sources_at_once_are_refused() -> None:
    assert isinstance(choose_source(), FolderPatterns)
    assert choose_source("i.csv") == IndexTable("i.csv")
    other = ReversedFolder()
    assert choose_source(samples=other) is other
    with pytest.raises(
        ValueError, match=r"Both index .i.csv. and samples .ReversedFolder. tell which samples there are"
    ):
        choose_source("i.csv", other)


def test_the_data_module_takes_any_source(
    chips: Callable[..., Path], chip_module: Callable[..., ChipDataModule]
) -> None:
    root = chips(["a", "b"], label=False)
    source = ReversedFolder()
    module = chip_module(root, samples=source, task="regression", train_split=None, val_split=None)
    module.setup("validate")
    (batch,) = module.val_dataloader()
    assert [Path(name).name for name in batch["filename"]] == ["b_S2.tif", "a_S2.tif"]
    assert batch["label"].tolist() == [4, 4]
    (request,) = source.asked
    assert (request.root, request.labelled, request.incomplete) == (root, True, False)
    assert list(request.modalities["S2"].bands) == ["BLUE", "GREEN"]
    module.setup("predict")
    assert not source.asked[-1].labelled


def test_a_config_names_a_source_by_its_class_path(
    chips: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = chips(["a", "b"], label=False)
    (tmp_path / "my_sources.py").write_text(
        "from eo_data.catalog.folder_patterns import FolderPatterns\n"
        "from eo_data.catalog.records import Record, SampleRequest\n"
        "class Last:\n"
        "    def __init__(self, count: int = 1) -> None:\n"
        "        self.count = count\n"
        "    def records(self, request: SampleRequest) -> list[Record]:\n"
        "        return FolderPatterns().records(request)[-self.count:]\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "c.yaml").write_text(
        f"""
data:
  class_path: eo_data.datamodules.ChipDataModule
  init_args:
    root: {root}
    samples: {{class_path: my_sources.Last, init_args: {{count: 1}}}}
    modalities:
      S2: {{files: "img/{{id}}_S2.tif", bands: [BLUE, GREEN], sensor: sentinel2_l2a, unit: digital_number}}
    preprocess:
      class_path: eo_data.preprocess.DatasetNormalise
      init_args: {{means: {{S2: [0.0, 0.0]}}, stds: {{S2: [1.0, 1.0]}}}}
"""
    )
    module = load_data_module([tmp_path / "c.yaml"])
    assert [record.id for record in module.dataset("predict").records] == ["b"]
