"""Each command shows how it is called."""

from __future__ import annotations

import importlib
import re

import pytest

from eo_embed.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_each_command_has_an_example_that_names_it(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert not end.value.code
    told = capsys.readouterr().out
    assert told.startswith(f"usage: eo {name} ")
    found = re.search(r"^examples?(.*)", told, re.IGNORECASE | re.MULTILINE | re.DOTALL)
    assert found is not None, told
    assert f"eo {name} " in re.sub(r"\s+", " ", found[1]), told


def test_each_command_is_a_function_that_is_there_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    told = capsys.readouterr().out
    for name, (module, function, summary) in COMMANDS.items():
        assert callable(getattr(importlib.import_module(module), function))
        assert re.search(rf"^  {name} +{re.escape(summary)}$", told, re.MULTILINE)
