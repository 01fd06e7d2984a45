"""Configs are read with what they include, as the command line does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_core.config import config_text, read_config, without_folders


class Parser:
    def dump(self, config: Any, *, skip_none: bool) -> str:
        return f"{config}" if "\n" in config else f"{config} {skip_none}"


class Saving:
    """Stands for the callback by which Lightning's command line saves its config."""

    parser, config = Parser(), "all of it"


class Trainer:
    def __init__(self, *callbacks: object) -> None:
        self.callbacks = callbacks


def test_the_config_of_a_run_is_whole_or_not_there() -> None:
    assert config_text(Trainer(object(), Saving())) == "all of it False"
    assert config_text(Trainer(object())) is None


def test_the_config_of_a_run_has_no_credentials() -> None:
    """It goes into manifests and checkpoints, which are handed on."""

    class Signed(Saving):
        config = yaml.safe_dump(
            {
                "source": "http://user:SECRET@h.org/catalog.json?token=SECRET",
                "more": ["https://h.org/a?sig=SECRET", 2.5],
            }
        )

    text = config_text(Trainer(Signed()))
    assert text is not None
    assert "SECRET" not in text
    assert yaml.safe_load(text) == {
        "source": "http://h.org/catalog.json",
        "more": ["https://h.org/a", 2.5],
    }


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path = path.with_name(f"{path.name}.yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_files_are_included_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    write(
        tmp_path,
        fit="trainer: {callbacks: shared/callbacks.yaml}\ndata: data/floods.yaml\nname: results.yaml\n",
        shared__callbacks="[{class_path: A}, more.yaml]\n",
        shared__more="class_path: B\n",
        data__floods="init_args: {modalities: ../modalities.yaml, root: x}\n",
        modalities="S2: {bands: [RED]}\n",
    )
    assert read_config(tmp_path / "fit.yaml") == {
        "trainer": {"callbacks": [{"class_path": "A"}, {"class_path": "B"}]},
        "data": {"init_args": {"modalities": {"S2": {"bands": ["RED"]}}, "root": "x"}},
        "name": "results.yaml",  # no such file: a text
    }


def test_files_that_include_one_another_are_refused(tmp_path: Path) -> None:
    write(tmp_path, a="data: b.yaml\n", b="data: a.yaml\n")
    with pytest.raises(ValueError, match="a.yaml includes itself: .*a.yaml.*b.yaml"):
        read_config(tmp_path / "a.yaml")


def test_what_is_no_config_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="There is no config .*none.yaml"):
        read_config(tmp_path / "none.yaml")
    write(tmp_path, broken="a: [1\n")
    with pytest.raises(ValueError, match="broken.yaml is no YAML"):
        read_config(tmp_path / "broken.yaml")


def test_dates_without_quotes_stay_text_as_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "frames.yaml").write_text("{start: 2020-01-01, dates: [2020-06-01T10:00:00Z]}")
    (tmp_path / "whole.yaml").write_text("frames: frames.yaml\nfrom: 2021-01-01\ncount: 20200101\nleap: yes\n")
    expected = {"start": "2020-01-01", "dates": ["2020-06-01T10:00:00Z"]}
    content = read_config(tmp_path / "whole.yaml")
    assert content == {"frames": expected, "from": "2021-01-01", "count": 20200101, "leap": True}


def test_a_config_without_folders_tells_no_home_and_keeps_all_else() -> None:
    text = """\
root: /home/me/data/chips
ckpt: ~/weights/a b.pt
windows: C:\\Users\\me\\x.tif
files: ['s2/{id}.tif', '/mnt/x/{id}/y.tif']
date: 2020-01-01
url: https://example.org/a/b.tif
lr: 1.0e-05
none: null
"""
    assert yaml.safe_load(without_folders(text)) == {
        "root": "chips",
        "ckpt": "a b.pt",
        "windows": "x.tif",
        "files": ["s2/{id}.tif", "y.tif"],
        "date": "2020-01-01",
        "url": "https://example.org/a/b.tif",
        "lr": 1e-05,
        "none": None,
    }
