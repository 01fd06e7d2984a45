"""Errors end with a sentence, not with the config that they quote, and slips get a suggestion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from eo_cli.run.errors import is_of_input, shortened, suggestion, told
from eo_data.sensors.bands import select_bands

BASE = "lightning.pytorch.callbacks.Callback"


@dataclass
class Thing:
    """Stands for a class of a config."""

    width: int = 1


def refused(config: dict[str, Any]) -> Exception:
    """What jsonargparse says of a section that Lightning's command line would give it."""
    from jsonargparse import ArgumentError, ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--thing", type=Thing | None)
    with pytest.raises(ArgumentError) as error:
        parser.parse_object({"thing": config})
    return error.value


def test_a_message_of_jsonargparse_loses_the_config_that_it_quotes() -> None:
    error = refused({"class_path": f"{__name__}.Thing", "init_args": {"widht": 3, "marker": "SECRET" * 200}})
    assert "SECRET" in str(error)
    text = told(error)
    assert "SECRET" not in text
    assert "Given value" not in text
    assert "NoneType" not in text
    assert "widht" in text
    assert len(text) < 400
    assert is_of_input(error)


def test_slips_get_a_suggestion() -> None:
    option = (
        "Problem with given class_path 'lightning.pytorch.callbacks.EarlyStopping':\n  Option 'patiens' is not accepted"
    )
    assert suggestion(option) == " Did you mean 'patience'?"
    attribute = "module 'lightning.pytorch.callbacks' has no attribute 'EarlyStoping'"
    assert suggestion(attribute) == " Did you mean 'EarlyStopping'?"
    assert suggestion("Key 'trainer.max_epoch' is not expected") == " Did you mean 'trainer.max_epochs'?"
    assert suggestion("Option 'x' is not accepted") == ""


def test_an_error_of_ours_is_told_as_it_is_whatever_is_around_it() -> None:
    with pytest.raises(ValueError, match="REDD") as cause:
        select_bands(["RED"], ["REDD"], None)
    error = ValueError("Does not validate against any of the Union subtypes\nGiven value: {...}")
    error.__cause__ = cause.value
    assert told(error) == str(cause.value)
    assert is_of_input(error)


def test_an_error_of_a_library_keeps_its_traceback() -> None:
    """It may be a fault of the code, which a sentence would hide."""
    with pytest.raises(RuntimeError) as error:
        raise RuntimeError("shape mismatch")
    assert not is_of_input(error.value)
    assert told(error.value) == "shape mismatch"


def test_lines_that_say_nothing_are_left_out() -> None:
    text = (
        'Parser key "data":\n  Does not validate against any of the Union subtypes\n  Subtypes: [A, B]\n  Errors:\n'
        "    - Problem with given class_path 'a.B':\n        Option 'x' is not accepted\n"
        "    - Expected a <class 'NoneType'>\n  Given value type: <class 'dict'>\n  Given value: {'class_path': 1}"
    )
    assert shortened(text) == ("Parser key \"data\":\nProblem with given class_path 'a.B':\nOption 'x' is not accepted")


Command = Callable[[dict[str, Any]], tuple[int, str]]


@pytest.fixture
def command(tmp_path: Path, root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run a config by the command, with TerraTorch; return the exit code and what stderr got."""
    monkeypatch.chdir(root)

    def run(config: dict[str, Any]) -> tuple[int, str]:
        from eo_cli.run.command import main

        file = tmp_path / "run.yaml"
        file.write_text(yaml.safe_dump(config))
        code = main(["predict", "--config", str(file)])
        return code, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        (("data", "init_args", "batch_size"), "four", "batch_size"),
        (("data", "init_args", "preprocess", "init_args", "patch_size"), -3, "patch_size must be"),
        (("model", "init_args", "backbone"), "thor_v1_tny", "Did you mean 'thor_v1_tiny'?"),
        (("trainer", "nonsense"), 1, "nonsense"),
    ],
)
def test_what_terratorch_finds_out_ends_with_our_sentence(
    place: tuple[str, ...], value: object, expected: str, command: Command, root: Path, tmp_path: Path
) -> None:
    config = yaml.safe_load((root / "config" / "embed_quickstart.yaml").read_text())
    config["model"]["init_args"]["out"] = str(tmp_path / "out")
    config["trainer"] |= {"default_root_dir": str(tmp_path), "enable_progress_bar": False, "callbacks": []}
    section = config
    for key in place[:-1]:
        section = section[key]
    section[place[-1]] = value
    code, error = command(config)
    assert code == 2
    assert "Given value" not in error
    assert "usage:" not in error
    last = error[error.rindex("eo run: error:") :]
    assert expected in last, error
    assert len(last.splitlines()) <= 6
