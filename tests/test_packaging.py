"""What gets installed, and what the repository promises about itself."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.version import Version

#: What is imported under another name than it is installed under.
DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
    "huggingface_hub": "huggingface-hub",
    "odc": "odc-geo",
    "pystac_client": "pystac-client",
    "ee": "earthengine-api",
    "google": "google-auth",
    "googleapiclient": "google-api-python-client",
}
#: Declared and not imported by us: xarray reads NetCDF through it.
BEHIND_OTHERS = {"h5netcdf"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def packages(root: Path) -> set[str]:
    """Folders at the root that are packages."""
    return {file.parent.name for file in root.glob("*/__init__.py")}


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ ;\[]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def imported(folder: Path) -> set[str]:
    """Top-level names that a package imports, in whatever function."""
    names = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.partition(".")[0])
    return names - set(sys.stdlib_module_names)


def test_the_wheel_holds_the_packages_and_nothing_named_datasets(
    root: Path, tmp_path: Path, packages: set[str]
) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)  # noqa: S603
    (wheel,) = tmp_path.glob("*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in files}
    assert {name for name in top if not name.endswith(".dist-info")} == packages
    assert "datasets" not in packages
    assert {f"{package}/py.typed" for package in packages} <= set(files)
    # Who has the wheel alone finds each recipe, and the sample that the quick start reads.
    kept = "git ls-files config datasets/sample"
    known = subprocess.run(kept.split(), cwd=root, check=True, capture_output=True, text=True)  # noqa: S603
    expected = {f"eo_cli/files/{name}" for name in known.stdout.split() if not name.endswith(".py")}
    assert {name for name in files if name.startswith("eo_cli/files/")} == expected


def test_the_version_is_the_same_wherever_it_is_told(root: Path) -> None:
    """A release is a tag; citation and changes name it before it is made."""
    (newest, *_) = re.findall(r"^## \[.*", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    stated = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    assert stated in newest
    for tag in git(root, "tag", "--points-at", "HEAD").split():
        assert tag == f"v{stated}"


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "protocol.file.allow=always"]
    command = ["git", *who, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout  # noqa: S603


def version_of(folder: Path) -> Version:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"], cwd=folder, check=True, capture_output=True, text=True
    )
    return Version(done.stdout.strip())


def test_the_version_is_that_of_the_tag_and_there_is_one_without_tags_or_git(root: Path, tmp_path: Path) -> None:
    """An archive, a shallow clone or a clone without tags would not install, or be taken for a release."""
    project = tmp_path / "project"
    project.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, project)
    assert str(version_of(project)) == "0.1.dev0"
    git(project, "init", "--quiet")
    git(project, "add", ".")
    git(project, "commit", "--quiet", "-m", "first")
    untagged = version_of(project)
    assert untagged.release == (0, 1)
    assert untagged.is_devrelease
    assert untagged < Version("0.1.0")
    git(project, "tag", "v0.2.0")
    assert str(version_of(project)) == "0.2.0"
    git(project, "commit", "--quiet", "--allow-empty", "-m", "second")
    assert version_of(project).base_version == "0.2.1"
    assert version_of(project).is_devrelease
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "--quiet", "--no-tags", "--depth", "1", project.as_uri(), str(shallow))
    assert version_of(shallow).is_devrelease
    shutil.rmtree(project / ".git")  # an sdist says its version itself
    (project / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: thor-anysat-terratorch\nVersion: 0.7.1\n")
    assert str(version_of(project)) == "0.7.1"


def test_no_package_is_left_out_of_the_wheel_or_of_the_type_check(project: dict[str, Any], packages: set[str]) -> None:
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == packages
    assert set(project["tool"]["mypy"]["packages"]) == packages
    assert set(project["tool"]["check-wheel-contents"]["toplevel"]) == packages


def test_a_warning_of_ours_is_an_error_in_every_package(project: dict[str, Any], packages: set[str]) -> None:
    (ours,) = [line for line in project["tool"]["pytest"]["ini_options"]["filterwarnings"] if line.startswith("error")]
    module = re.compile(ours.removeprefix("error:::"))
    for package in packages:
        assert module.match(f"{package}.some.module"), package


def test_what_is_imported_is_declared_and_what_is_declared_is_imported(
    root: Path, project: dict[str, Any], packages: set[str]
) -> None:
    """A package that another one happens to bring is gone on the day that the other one drops it."""
    names = set[str]().union(*(imported(root / package) for package in packages)) - packages
    used = {DISTRIBUTIONS.get(name, name).lower() for name in names}
    declared = {name_of(line) for line in project["project"]["dependencies"]}
    optional = {name_of(line) for lines in project["project"]["optional-dependencies"].values() for line in lines}
    assert (used - optional) | BEHIND_OTHERS == declared


def test_every_dependency_has_a_lower_bound(project: dict[str, Any]) -> None:
    """Without one, the job that installs the lowest versions gets those of many years ago."""
    extras = project["project"]["optional-dependencies"].values()
    groups = project["dependency-groups"].values()
    for lines in (project["project"]["dependencies"], *extras, *groups):
        named = [line for line in lines if isinstance(line, str)]  # a group may include another one, which is here, too
        assert [line for line in named if ">=" not in line] == []


def test_the_peer_stays_out_of_the_environment_and_has_the_same_day(root: Path, project: dict[str, Any]) -> None:
    peer = tomllib.loads((root / "tests" / "parity" / "pyproject.toml").read_text(encoding="utf-8"))
    assert peer["tool"]["uv"]["exclude-newer"] == project["tool"]["uv"]["exclude-newer"]
    assert "rs-embed" not in (root / "pyproject.toml").read_text(encoding="utf-8")
    assert importlib.util.find_spec("rs_embed") is None


def test_every_command_is_a_function_without_obligatory_arguments(project: dict[str, Any]) -> None:
    scripts = project["project"]["scripts"]
    assert all(name == "eo" or name.startswith("eo-") for name in scripts)
    for target in scripts.values():
        module, _, function = target.partition(":")
        parameters = inspect.signature(getattr(importlib.import_module(module), function)).parameters.values()
        assert all(parameter.default is not inspect.Parameter.empty for parameter in parameters), target


def test_ci_runs_the_test_command_of_the_readme(root: Path) -> None:
    readme = (root / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^uv (run pytest .*)$", readme, re.MULTILINE)
    assert command in (root / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_ci_hides_no_warnings(root: Path) -> None:
    for file in (root / ".ci").iterdir():
        assert "PYTHONWARNINGS" not in file.read_text(encoding="utf-8"), file


def test_no_registry_address_or_lock_file_is_committed(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=root, check=True, capture_output=True, text=True)  # noqa: S607
    files = listed.stdout.split()
    assert not [file for file in files if file.endswith("uv.lock")]
    for file in (root / "pyproject.toml", root / "tests" / "parity" / "pyproject.toml", *(root / ".ci").iterdir()):
        text = file.read_text(encoding="utf-8")
        assert "index-url" not in text, file
        assert "[[tool.uv.index]]" not in text, file


def test_the_readme_names_files_that_exist(root: Path) -> None:
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
