"""What nobody can act on is left out, all else is told once, and the process is afterwards as it was before."""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

import pytest

from eo_cli.run.noise import NOISE, WARNINGS, without_noise
from eo_cli.run.own import is_own, own_packages


def warn_from(file: str, text: str, category: type[Warning] = UserWarning) -> None:
    warnings.warn_explicit(text, category, file, 1)


@pytest.fixture(autouse=True)
def _all_warnings_are_told() -> None:
    """Pytest records warnings by a `showwarning` of its own, and makes errors of ours; here they go to the terminal."""
    warnings.resetwarnings()
    warnings.simplefilter("default")


def test_noise_is_left_out_and_other_warnings_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    metric = "The ``compute`` method of metric MulticlassAccuracy was called before the ``update`` method"
    with without_noise():
        for line in range(3):
            warnings.warn_explicit(metric, UserWarning, "torchmetrics/prints.py", line)
            warnings.warn_explicit("Mind the gap.", UserWarning, "lightning/pytorch/x.py", line)
    told = capsys.readouterr().err
    assert "compute" not in told
    assert told.count("Mind the gap.") == 1


def test_filters_that_libraries_set_when_they_are_imported_bring_no_noise_back(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Lightning and PyTorch put theirs in front of those that are there."""
    with without_noise():
        warnings.simplefilter("always")
        warn_from("x.py", "predict returned None if it was on purpose, ignore this warning...")
    assert capsys.readouterr().err == ""


def test_warnings_of_ours_are_told_without_the_line_of_code(capsys: pytest.CaptureFixture[str]) -> None:
    import eo_data.raster.zarr_chunks

    assert eo_data.raster.zarr_chunks.__file__
    with without_noise():
        warn_from(eo_data.raster.zarr_chunks.__file__, "Chunks are large.")
        warn_from(eo_data.raster.zarr_chunks.__file__, "Chunks are large.")
    assert capsys.readouterr().err == "warning: Chunks are large.\n"


def test_what_lies_beside_our_packages_is_not_ours() -> None:
    """Where packages are installed, those of others lie in the same folder."""
    ours = Path(next(iter(sys.modules["eo_cli"].__path__)))
    assert is_own(ours / "run" / "noise.py")
    assert not is_own(ours.parent / "lightning" / "pytorch" / "trainer.py")
    assert not is_own(pytest.__file__)
    assert len(own_packages()) > 6


def test_lines_of_logs_are_left_out_and_others_stay(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    caplog.set_level(logging.INFO, logger.name)
    logger.addHandler(caplog.handler)  # Lightning's loggers do not hand theirs on
    try:
        with without_noise():
            logger.info("TPU available: False, using: 0 TPU cores")
            logger.info("GPU available: %s, used: %s", False, False)
    finally:
        logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"GPU available: False, used: False"}


def test_the_process_is_as_it_was() -> None:
    loggers = [logging.getLogger(one.source) for one in NOISE if one.source != WARNINGS]
    before = (warnings.showwarning, list(warnings.filters), [list(logger.filters) for logger in loggers])
    with pytest.raises(RuntimeError), without_noise():
        raise RuntimeError
    assert (warnings.showwarning, list(warnings.filters), [list(logger.filters) for logger in loggers]) == before
    with pytest.warns(UserWarning, match="Detected pickle protocol 4"):
        warn_from("x.py", "Detected pickle protocol 4")


def test_every_row_of_the_table_has_a_reason() -> None:
    assert all(one.begins and len(one.reason) > 10 for one in NOISE)
