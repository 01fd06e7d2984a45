"""Checks that are left out are those of parts that did not change, and nothing else."""

from __future__ import annotations

from pathlib import Path

import guarded_checks
import pytest


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of one guarded folder."""
    monkeypatch.delenv("CI_FULL", raising=False)
    monkeypatch.setattr(guarded_checks, "GUARDED", {"parity": ("encoder", "settings.toml")})
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "model.py").write_text("WIDTH = 192\n")
    (tmp_path / "settings.toml").write_text("")
    return tmp_path


def record(project: Path) -> Path:
    file = project / "passed.json"
    file.write_text(f'{{"parity": "{guarded_checks.fingerprint(("encoder", "settings.toml"), project)}"}}')
    return file


def test_what_was_never_recorded_runs(project: Path) -> None:
    assert list(guarded_checks.left_out(project, project / "passed.json")) == ["slow"]


def test_what_passed_is_left_out_until_it_changes(project: Path) -> None:
    file = record(project)
    assert list(guarded_checks.left_out(project, file)) == ["parity", "slow"]
    (project / "encoder" / "__pycache__").mkdir()
    (project / "encoder" / "__pycache__" / "model.cpython-312.pyc").write_bytes(b"byte code")
    assert "parity" in guarded_checks.left_out(project, file)
    (project / "encoder" / "model.py").write_text("WIDTH = 193\n")
    assert "parity" not in guarded_checks.left_out(project, file)


@pytest.mark.parametrize("change", ["new", "removed", "renamed"])
def test_files_that_come_and_go_are_changes(project: Path, change: str) -> None:
    file = record(project)
    model = project / "encoder" / "model.py"
    if change == "new":
        (project / "encoder" / "layers.py").write_text("")
    elif change == "removed":
        model.unlink()
    else:
        model.rename(model.with_name("core.py"))
    assert "parity" not in guarded_checks.left_out(project, file)


def test_a_guard_that_was_moved_is_an_error(project: Path) -> None:
    (project / "settings.toml").unlink()
    with pytest.raises(FileNotFoundError, match=r"settings.toml is guarded by checks"):
        guarded_checks.left_out(project, project / "passed.json")


def test_ci_full_runs_everything(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = record(project)
    monkeypatch.setenv("CI_FULL", "1")
    assert guarded_checks.left_out(project, file) == {}
