"""inspect shows what files say beside what the config makes of it, and raises the alarm itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_files import constant_bands

from eo_data import inspect


def config(root: Path, **source: object) -> Path:
    modality = {"files": "{id}.tif", "bands": ["B02", "B03"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    preprocess = {"means": {"S2": [0.2, 0.2]}, "stds": {"S2": [0.1, 0.1]}}
    arguments = {
        "root": str(root),
        "modalities": {"S2": modality | source},
        "preprocess": {"class_path": "eo_data.preprocess.DatasetNormalise", "init_args": preprocess},
    }
    path = root / "config.yaml"
    path.write_text(yaml.safe_dump({"class_path": "eo_data.datamodules.ChipDataModule", "init_args": arguments}))
    return path


def test_facts_of_files_need_no_config(
    write_tif: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 2), ("B02", "B03"), nodata=5)
    inspect.main(["--facts", str(path), str(path)])
    printed = capsys.readouterr().out
    assert printed.count("GTiff, 4 x 4 px") == 2
    assert "1 B02" in printed


def test_a_file_that_cannot_be_read_ends_the_facts_with_exit_code_2(
    write_tif: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write_tif(tmp_path / "a.tif", constant_bands(1))
    (tmp_path / "b.tif").write_text("no raster")
    with pytest.raises(SystemExit) as stopped:
        inspect.main(["--facts", str(tmp_path / "b.tif"), str(good), str(tmp_path / "c.tif")])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert "GTiff, 4 x 4 px" in printed.out
    assert "b.tif cannot be read" in printed.err
    assert "There is no file" in printed.err


def test_facts_and_verdicts_stand_beside_the_values(
    write_tif: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(1000, 3000, (2, 16, 16)).astype(np.uint16)
    write_tif(tmp_path / "a.tif", pixels, ("B02", "B03"), nodata=0)
    inspect.main(["--config", str(config(tmp_path)), "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "1 B02" in printed
    assert "verdict   B03        used        scale: 0.0001, offset: 0" in printed
    assert "ALARM" not in printed


def test_what_is_implausible_is_an_alarm(
    write_tif: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(20000, 21000, (2, 16, 16)).astype(np.uint16)
    pixels[1] = 3000
    write_tif(tmp_path / "a.tif", pixels, ("B02", "B03"))
    inspect.main(["--config", str(config(tmp_path)), "--out", str(tmp_path)])
    alarms = [line for line in capsys.readouterr().out.splitlines() if "ALARM" in line]
    assert "B02: after normalisation its mean is 18.5" in alarms[0]
    assert "B03: all pixels have the value 0.3" in alarms[1]
    assert len(alarms) == 2


def test_a_sample_that_is_refused_shows_its_facts_first(
    write_tif: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tif(tmp_path / "a.tif", np.full((2, 8, 8), -9999, np.int16), ("B02", "B03"))
    with pytest.raises(SystemExit) as stopped:
        inspect.main(["--config", str(config(tmp_path)), "--out", str(tmp_path)])
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    assert "1 B02                  int16" in printed.out
    assert "verdict   B02        used" in printed.out
    assert "nodata: -9999" in printed.err
