"""Statistics of bands are those of all valid values, and a file of them is read back as it was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from eo_data.preprocess.normalisation import ZScore
from eo_data.preprocess.statistics import BandStatistics, read_statistics
from eo_data.sensors.tables import SENSORS

L1C = SENSORS["sentinel2_l1c"]


def test_blocks_merge_to_the_statistics_of_the_whole() -> None:
    # Mean far above the deviation: the sum of squares would lose it.
    pixels = np.random.default_rng(0).normal(1e6, 0.5, (7, 2, 30, 40))
    pixels[:, 1] = pixels[:, 1] * 3 - 5
    pixels[2, 0, :5] = np.nan
    pixels[4, 1] = np.inf
    collected = BandStatistics(["a", "b"], "native")
    collected.update(pixels[:1, :, :3])
    collected.update(pixels[0, :, 3:])
    for frame in pixels[1:]:
        collected.update(frame)
    valid = np.where(np.isfinite(pixels), pixels, np.nan)
    np.testing.assert_allclose(collected.mean, np.nanmean(valid, axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(collected.std, np.nanstd(valid, axis=(0, 2, 3)), rtol=1e-9)
    np.testing.assert_array_equal(collected.minimum, np.nanmin(valid, axis=(0, 2, 3)))
    np.testing.assert_array_equal(collected.maximum, np.nanmax(valid, axis=(0, 2, 3)))
    np.testing.assert_array_equal(collected.missing, [5 * 40, 30 * 40])
    np.testing.assert_array_equal(collected.count + collected.missing, [7 * 30 * 40] * 2)


@pytest.mark.parametrize("bands", [[], ["a", "a"]])
def test_every_channel_has_a_name_of_its_own(bands: list[str]) -> None:
    with pytest.raises(ValueError, match="must name every channel once"):
        BandStatistics(bands, "native")


@pytest.mark.parametrize("shape", [(3, 4, 4), (4, 4), (2, 3, 4, 4)])
def test_a_block_of_other_bands_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"Expected a block \(..., 2, H, W\) for \['a', 'b'\], got shape"):
        BandStatistics(["a", "b"], "native").update(np.zeros(shape))


def collected() -> BandStatistics:
    result = BandStatistics(["BLUE", "RED"], "reflectance")
    result.update(np.array([[[0.1, 0.3]], [[0.2, 0.6]]]))
    return result


def test_a_band_without_values_is_not_written(tmp_path: Path) -> None:
    result = BandStatistics(["a", "b"], "native")
    result.update(np.stack([np.ones((2, 2)), np.full((2, 2), np.nan)]))
    with pytest.raises(ValueError, match="No valid value in band b"):
        result.write_yaml(tmp_path / "s.yaml")
    assert not list(tmp_path.iterdir())


def test_a_written_file_is_read_back_by_band_name(tmp_path: Path) -> None:
    path = tmp_path / "new/s.yaml"
    collected().write_yaml(path, {"files": 1})
    content = yaml.safe_load(path.read_text())
    assert content["bands"] == ["BLUE", "RED"]
    assert content["means"] == pytest.approx([0.2, 0.4])
    assert content["stds"] == pytest.approx([0.1, 0.2])
    assert (content["minima"], content["maxima"]) == ([0.1, 0.2], [0.3, 0.6])
    assert (content["unit"], content["count"], content["missing"]) == ("reflectance", [2, 2], [0, 0])
    assert content["provenance"] == {"files": 1}
    transform = read_statistics(path).zscore(["B4", "B2"], "reflectance", L1C)
    assert transform == ZScore(content["means"][::-1], content["stds"][::-1], provenance=str(path))
    assert [entry.name for entry in path.parent.iterdir()] == ["s.yaml"]


def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("old")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        collected().write_yaml(path)
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]


def test_statistics_in_another_unit_are_not_used(tmp_path: Path) -> None:
    collected().write_yaml(tmp_path / "s.yaml")
    read = read_statistics(tmp_path / "s.yaml")
    with pytest.raises(ValueError, match="has statistics in reflectance, but the pixels are in digital_number"):
        read.zscore(["BLUE"], "digital_number")
    with pytest.raises(ValueError, match="not there: GREEN"):
        read.zscore(["GREEN"], "reflectance")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read.*Compute them with"),
        ("a: [", "cannot be read"),
        ("just text", "must hold the lists bands, means and stds"),
        ("{bands: [a], unit: native, means: [1], stds: [1, 2]}", "one entry per band"),
        ("{bands: [a], unit: native, means: 1, stds: [1]}", "one entry per band"),
        ("{bands: [a], means: [1], stds: [1]}", "Unknown unit None"),
    ],
)
def test_a_file_that_holds_no_statistics_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "s.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_statistics(path)
