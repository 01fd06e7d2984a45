"""The report says what is there, and ends with an error only where something is broken."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from eo_cli.doctor import machine, packages, weights
from eo_cli.doctor.command import main
from eo_cli.doctor.findings import Finding, Part, State, is_broken, report
from eo_core.lazy import PROJECT
from eo_models.preset import EncoderCard, presets


def test_the_report_names_what_matters_and_nothing_is_broken_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    for name in ("terratorch", "torch", "lightning", "torchgeo", PROJECT):
        assert any(row.split()[:2] == [name, metadata.version(name)] for row in told.splitlines()), name
    for what in ("GDAL", "extra stac", "memory", "threads", "GPU", "float32 products", "working folder"):
        assert f"\n  {what}" in told or f"\n! {what}" in told, what


def test_it_loads_no_terratorch_and_no_lightning(root: Path) -> None:
    """They take 12 to 20 s; who asks for a report of the machine has no use for them."""
    code = "import sys; from eo_cli.doctor.command import main; main([]); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    assert not {"terratorch", "lightning", "torchgeo", "transformers"} & set(done.stdout.splitlines()[-1].split())


def test_requirements_are_read_with_their_bound_and_extra() -> None:
    lines = ["torch>=2.6", "ray[data]>=2.60; extra == 'ray'", 'zarr>=3.1 ; extra == "zarr"', "a-b_c"]
    found = [(one.name, one.least, one.extra) for one in packages.requirements(lines)]
    assert found == [("torch", "2.6", ""), ("ray", "2.60", "ray"), ("zarr", "3.1", "zarr"), ("a-b_c", "", "")]


@pytest.mark.parametrize(
    ("version", "state"), [("2.15.0rc1+cpu", State.FINE), ("2.6", State.FINE), ("2.5.9", State.BROKEN)]
)
def test_versions_are_compared_as_numbers(version: str, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """As texts, 2.15 is below 2.6."""
    monkeypatch.setattr(metadata, "version", lambda name: version)
    found = packages._package(packages.Requirement("torch", "2.6", ""))
    assert found.state is state
    assert bool(found.advice) is (state is State.BROKEN)


def test_a_missing_package_is_broken_and_a_missing_extra_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    lines, real = metadata.requires(PROJECT), metadata.version
    assert lines is not None

    def version(name: str) -> str:
        if name in ("scipy", "zarr"):
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    part = packages.look_at_packages()
    by_name = {row.what: row for row in part.findings}
    assert by_name["scipy"].state is State.BROKEN
    assert "pip install 'scipy>=" in by_name["scipy"].advice
    assert by_name["extra zarr"].state is State.FINE
    assert f"pip install '{PROJECT}[zarr]'" in by_name["extra zarr"].found
    assert is_broken([part])


def test_the_advice_stands_at_the_end_with_what_is_broken_first() -> None:
    rows = [Finding("a", "1", State.NOTE, "Mind a."), Finding("bb", "2", State.BROKEN, "Mend b."), Finding("c", "3")]
    assert report([Part("one", rows)]) == ("one\n! a   1\nX bb  2\n  c   3\n\nwhat to do\nX bb: Mend b.\n! a: Mind a.")


def test_threads_beyond_the_cores_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(4)))
    states = {}
    for threads in (1, 4, 9):
        monkeypatch.setattr(torch, "get_num_threads", lambda count=threads: count)
        states[threads] = list(machine._processors())[1]
    assert {threads: row.state for threads, row in states.items()} == {1: State.NOTE, 4: State.FINE, 9: State.NOTE}
    assert "OMP_NUM_THREADS=4" in states[9].advice


def test_weights_are_found_in_the_cache_by_what_each_encoder_declares(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cards: list[EncoderCard] = [preset.card(name) for name, preset in presets().items()]
    hub = next(card.hub for card in cards if card.hub is not None)
    file = tmp_path / f"models--{hub[0].replace('/', '--')}" / "snapshots" / ("0" * 40) / hub[1]
    file.parent.mkdir(parents=True)
    file.write_bytes(b"w" * 2000)
    refs = tmp_path / f"models--{hub[0].replace('/', '--')}" / "refs" / "main"
    refs.parent.mkdir()
    refs.write_text("0" * 40)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    rows = weights.look_at_weights().findings
    (there,) = [row for row in rows if "in the cache," in row.found and not row.found.startswith("not")]
    assert there.found == f"2 kB in the cache, {hub[0]}"
    for card in cards:  # the text and the structured form are of one mind
        assert (card.hub is None) is (card.weights == "")
        assert card.hub is None or all(part in card.weights for part in card.hub)


def test_a_preset_that_cannot_be_loaded_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise ImportError("no such thing")

    monkeypatch.setattr("eo_models.preset.presets", fail)
    part = weights.look_at_weights()
    assert is_broken([part])
    assert "ImportError: no such thing" in report([part])
