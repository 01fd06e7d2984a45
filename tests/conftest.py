"""What all tests share: the reference material beside the project, offline operation, and which checks are left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import guarded_checks
import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: threads that wait for one another take several times as long. Before torch is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    """Name the markers of checks that do not always run."""
    lines = {name: f"guards {', '.join(parts)}" for name, parts in guarded_checks.GUARDED.items()}
    lines["process_precision"] = "about the precision that the process is set to"
    lines[guarded_checks.SLOW] = "only with CI_FULL=1"
    for name, meaning in lines.items():
        config.addinivalue_line("markers", f"{name}: {meaning}; see CONTRIBUTING.md")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the checks of what did not change, unless the command line names their marker or themselves."""
    asked = config.option.markexpr
    named = {Path(argument.partition("::")[0]).resolve() for argument in config.args if "::" in argument}
    reasons = {name: why for name, why in guarded_checks.left_out().items() if name not in asked}
    kept, dropped, counts = [], [], Counter[str]()
    for item in items:
        marker = next((name for name in reasons if item.get_closest_marker(name)), None)
        if marker is None or item.path in named:
            kept.append(item)
        else:
            dropped.append(item)
            counts[marker] += 1
    items[:] = kept
    config.hook.pytest_deselected(items=dropped)
    config.stash[_LEFT_OUT] = [
        f"{count} tests marked {name}: {reasons[name]}. CI_FULL=1 runs all of them, -m {name} these alone."
        for name, count in counts.items()
    ]


_LEFT_OUT = pytest.StashKey[list[str]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand what was left out to the process that reports."""
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash.get(_LEFT_OUT, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    """Take over what a worker left out; all workers collect the same."""
    config, output = getattr(node, "config", None), getattr(node, "workeroutput", None)
    if isinstance(config, pytest.Config) and output:
        config.stash[_LEFT_OUT] = output.get("left_out", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out, and how to run it."""
    lines = config.stash.get(_LEFT_OUT, [])
    if lines:
        terminalreporter.section("left out")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def float32(request: pytest.FixtureRequest) -> Iterator[None]:
    """Compute in float32 outside of the encoders, too (traces, decoders, gradients): TerraTorch's import allows less.

    But tests marked ``process_precision``, which are about what the process is set to.
    """
    from eo_models.precision.matmul import matmul_precision

    if request.node.get_closest_marker("process_precision"):
        yield
        return
    with matmul_precision("highest"):
        yield


@pytest.fixture(scope="session")
def root() -> Path:
    """Root of the project."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Reference material (golden vectors, real data); must be there in CI."""
    path = ROOT.parent / "shared"
    if not path.is_dir():
        if os.environ.get("CI"):
            pytest.fail(f"CI needs the reference material in {path}")
        pytest.skip("the reference material (../shared) is not here")
    return path


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may reach for the Hub; the constant is read when huggingface_hub is first imported."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
