"""What gets installed, and what the repository promises about itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def test_the_wheel_holds_the_packages_and_nothing_named_datasets(root: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)  # noqa: S603
    (wheel,) = tmp_path.glob("*.whl")
    top = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == {
        "eo_data",
        "thor_terratorch_ext",
        "anysat_ext",
        "eo_embed",
        "eo_finetune",
    }


def test_every_dependency_is_pinned_by_a_constraint(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    pinned = {line.partition("==")[0] for line in project["tool"]["uv"]["constraint-dependencies"]}
    groups = project["dependency-groups"].values()
    named = [*project["project"]["dependencies"], *(line for group in groups for line in group)]
    names = {line.partition(">=")[0].lower().replace("_", "-") for line in named}
    assert names <= pinned, names - pinned


def test_no_registry_address_or_lock_file_is_committed(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True)  # noqa: S607
    files = listed.stdout.split()
    assert "uv.lock" not in files
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    assert "index-url" not in text
    assert "[[tool.uv.index]]" not in text


def test_the_readme_names_files_that_exist(root: Path) -> None:
    import re

    readme = (root / "README.md").read_text(encoding="utf-8")
    for path in set(re.findall(r"(?:config|datasets|benchmarks|tests)/[\w./-]+\.(?:yaml|py|md)", readme)):
        assert (root / path).is_file(), path


def test_the_configs_are_yaml_with_plain_numbers(root: Path) -> None:
    """PyYAML reads ``1e-4`` as text; the command line then hands a string to the optimiser."""

    def leaves(node: Any) -> Iterator[Any]:
        if isinstance(node, dict | list):
            for value in node.values() if isinstance(node, dict) else node:
                yield from leaves(value)
        else:
            yield node

    for file in (root / "config").rglob("*.yaml"):
        for leaf in leaves(yaml.safe_load(file.read_text(encoding="utf-8"))):
            assert not (isinstance(leaf, str) and re.fullmatch(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+", leaf)), (file, leaf)
