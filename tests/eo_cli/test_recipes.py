"""Recipes are found by name and copied whole, so that the wheel alone runs them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from eo_cli import recipes
from eo_cli.config import main
from eo_cli.recipes import copy_recipe, files_of, find_recipe
from eo_core.config import read_config


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_recipe_of_the_repository_is_listed_with_what_it_does(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list"]) == 0
    rows = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    names = [row[2:].split()[0] for row in rows]
    assert names == sorted(file.stem for file in (root / "config").glob("*.yaml"))
    assert all(len(row.split()) > 3 and len(row) <= 120 for row in rows)
    runs_here = {row[2:].split()[0] for row in rows if row.startswith("*")}
    assert runs_here == {
        *("embed_quickstart", "embed_universat_quickstart"),
        *("quickstart_anysat", "quickstart_fit", "quickstart_universat"),
    }


def test_a_copy_reads_the_same_as_the_recipe_and_has_all_files_that_it_names(root: Path, tmp_path: Path) -> None:
    """A copy without one of its includes takes the name of the file for a text, and fails far from the cause."""
    for file in sorted((root / "config").glob("*.yaml")):
        done = copy_recipe(find_recipe(file.stem), tmp_path / file.stem)
        assert read_config(done.config) == read_config(file)
        for named in re.findall(r"--config (config/\S+\.yaml)", file.read_text(encoding="utf-8")):
            assert (tmp_path / file.stem / named).is_file(), named


def test_the_quick_start_brings_the_embedded_sample_and_no_other_recipe_does(root: Path, tmp_path: Path) -> None:
    done = copy_recipe(find_recipe("quickstart_fit"), tmp_path)
    data = read_config(done.config)["data"]["init_args"]
    for name in ("train_data_root", "train_label_data_root", "train_split", "test_split"):
        assert (tmp_path / data[name]).exists(), name
    copied, sample = tree(tmp_path / "datasets"), root / "datasets" / "sample" / "v1.1"
    images = {f"sample/v1.1/{path.relative_to(sample).as_posix()}" for path in sample.rglob("*.tif")}
    assert len(images) == 48
    assert images <= set(copied)
    assert not any(name.parts[0] == "datasets" for name in files_of(find_recipe("eurosat_thor_S2")))


def test_what_is_there_with_another_content_stays_and_nothing_is_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "config" / "shared" / "callbacks.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("[]  # my own\n")
    with pytest.raises(SystemExit) as end:
        main(["copy", "sen1floods11_thor_S2", str(tmp_path)])
    assert end.value.code == 2
    assert f"{mine}: there already, with another content. Nothing was copied." in capsys.readouterr().err
    assert tree(tmp_path) == {"config/shared/callbacks.yaml": b"[]  # my own\n"}

    assert main(["copy", "sen1floods11_thor_S2", str(tmp_path), "--overwrite"]) == 0
    assert mine.read_text() != "[]  # my own\n"
    before = tree(tmp_path)
    assert main(["copy", "sen1floods11_thor_S1", str(tmp_path)]) == 0  # the part that both include is the same
    assert before.items() <= tree(tmp_path).items()
    assert "there already, with the same content" in capsys.readouterr().out


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_failure_in_the_middle_leaves_everything_as_it_was(
    failing: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "config" / "shared" / "callbacks.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text("[]\n")
    place, calls = recipes.put_in_place, []

    def full(*arguments: object) -> None:
        calls.append(arguments)
        if len(calls) > failing:
            raise OSError(28, "No space left on device")
        place(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(recipes, "put_in_place", full)
    with pytest.raises(OSError, match="No space left"):
        copy_recipe(find_recipe("sen1floods11_thor_S2"), tmp_path, overwrite=True)
    assert tree(tmp_path) == {"config/shared/callbacks.yaml": b"[]\n"}
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_dir()) == ["config", "shared"]


def test_an_unknown_name_gets_the_nearest_ones(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["copy", "quickstart", str(tmp_path)])
    assert end.value.code == 2
    assert "There is no recipe 'quickstart'. Did you mean 'quickstart_fit'" in capsys.readouterr().err
    assert find_recipe("config/quickstart_fit.yaml") == find_recipe("quickstart_fit")
    assert find_recipe("shared/labels_10_percent").is_file()


def test_a_config_is_shown_with_its_includes(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = read_config(root / "config" / "sen1floods11_thor_S2.yaml")
    monkeypatch.chdir(tmp_path)
    assert main(["show", "sen1floods11_thor_S2"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == whole
    assert main(["show", str(root / "config" / "sen1floods11_thor_S2.yaml"), "--out", "one.yaml"]) == 0
    assert yaml.safe_load(Path("one.yaml").read_text()) == whole


def test_the_config_of_a_checkpoint_is_shown_in_both_spellings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    file = tmp_path / "best.ckpt"
    torch.save({"config": "data: {init_args: {root: a}}\n"}, file)
    for arguments in (["show", str(file)], [str(file)], ["--root", "b", str(file)]):
        assert main(arguments) == 0
        shown = yaml.safe_load(capsys.readouterr().out)
        assert shown == {"data": {"init_args": {"root": "b" if "b" in arguments else "a"}}}
    assert main([str(tmp_path / "none.ckpt")]) == 2
    assert "none.ckpt" in capsys.readouterr().err
