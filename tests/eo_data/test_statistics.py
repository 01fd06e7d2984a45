"""Statistics of a data set are those of numpy on all valid pixels, however the files are cut into blocks."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin

from eo_data import statistics
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit, UnitConversion
from eo_data.statistics import main, statistics_of_files

DN = UnitConversion(InputUnit.DIGITAL_NUMBER)
L1C = SENSORS["sentinel2_l1c"]
S1 = SENSORS["sentinel1"]


def write(path: Path, pixels: np.ndarray, names: tuple[str, ...] | None = None, **profile: object) -> Path:
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": str(pixels.dtype)}
    place = {"crs": "EPSG:32633", "transform": from_origin(0, 0, 10, 10)}
    with rasterio.open(path, "w", driver="GTiff", **shape, **place, **profile) as file:
        file.write(pixels)
        if names:
            file.descriptions = names
    return path


@pytest.mark.parametrize("block_values", [1 << 22, 4000])
def test_the_spain_chip_equals_numpy(shared: Path, monkeypatch: pytest.MonkeyPatch, block_values: int) -> None:
    monkeypatch.setattr(statistics, "_BLOCK_VALUES", block_values)
    path = shared / "data/sen1floods11_v1.1/data/S2L1CHand/Spain_7370579_S2Hand.tif"
    found = statistics_of_files([path], DN, sensor=L1C)
    with rasterio.open(path) as file:
        numbers = file.read().astype(np.float64)
    assert found.bands == L1C.band_names
    assert found.unit is InputUnit.REFLECTANCE
    np.testing.assert_allclose(found.mean, numbers.mean(axis=(1, 2)) / 1e4, rtol=1e-7)
    np.testing.assert_allclose(found.std, numbers.std(axis=(1, 2)) / 1e4, rtol=1e-6)
    np.testing.assert_allclose(found.maximum, numbers.max(axis=(1, 2)) / 1e4, rtol=1e-6)
    assert (found.count == 512 * 512).all()
    assert (found.missing == 0).all()


def test_radar_with_missing_pixels_equals_numpy(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/sen1floods11_v1.1/data/S1GRDHand/Spain_7370579_S1Hand.tif"
    with rasterio.open(path) as file:
        decibel = file.read()
    decibel[0, 100:200, :300] = np.nan
    decibel[1, :5] = np.nan
    holed = write(tmp_path / "holed.tif", decibel, ("VV", "VH"), nodata=np.nan)
    found = statistics_of_files([holed, path], UnitConversion(InputUnit.DECIBEL), sensor=S1, select=["VH", "VV"])
    with rasterio.open(path) as file:
        both = np.stack([decibel, file.read()])[:, ::-1].astype(np.float64)
    assert found.bands == ("IW_VH", "IW_VV")
    np.testing.assert_allclose(found.mean, np.nanmean(both, axis=(0, 2, 3)), rtol=1e-10)
    np.testing.assert_allclose(found.std, np.nanstd(both, axis=(0, 2, 3)), rtol=1e-10)
    np.testing.assert_array_equal(found.missing, [5 * 512, 100 * 300])


def test_linear_power_is_averaged_in_decibel(tmp_path: Path) -> None:
    power = np.array([[[0.1, 0.001], [0.0, np.nan]]], np.float32)
    path = write(tmp_path / "power.tif", power, ("VV",))
    found = statistics_of_files([path], UnitConversion(InputUnit.LINEAR_POWER), sensor=S1)
    assert found.unit is InputUnit.DECIBEL
    np.testing.assert_allclose([found.mean[0], found.std[0]], [-20, 10], rtol=1e-6)
    assert (found.count[0], found.missing[0]) == (2, 2)
    stored = statistics_of_files([path], UnitConversion(InputUnit.LINEAR_POWER), sensor=S1, target="linear_power")
    assert stored.mean[0] == pytest.approx((0.1 + 0.001 + 0) / 3)


def test_no_data_of_the_file_or_of_the_user_does_not_count(tmp_path: Path) -> None:
    numbers = np.array([[[0, 1000], [3000, 9999]]], np.uint16)
    path = write(tmp_path / "a.tif", numbers, ("B02",), nodata=0)
    assert statistics_of_files([path], DN, sensor=L1C).mean[0] == pytest.approx((0.1 + 0.3 + 0.9999) / 3)
    assert statistics_of_files([path], DN, sensor=L1C, nodata=9999).mean[0] == pytest.approx((0 + 0.1 + 0.3) / 3)


def test_files_in_another_band_order_are_matched_by_name(tmp_path: Path) -> None:
    blue, red = np.full((1, 2, 2), 1000, np.uint16), np.full((1, 2, 2), 3000, np.uint16)
    one = write(tmp_path / "1.tif", np.concatenate([blue, red]), ("B02", "B04"))
    two = write(tmp_path / "2.tif", np.concatenate([red, blue]), ("red", "blue"))
    found = statistics_of_files([one, two], DN, sensor=L1C)
    assert found.bands == ("BLUE", "RED")
    np.testing.assert_allclose(found.mean, [0.1, 0.3], rtol=1e-6)
    assert (found.std < 1e-9).all()


def test_bands_without_a_name_are_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tif", np.full((3, 2, 2), 1000, np.uint16))
    assert statistics_of_files([path], DN, sensor=L1C, file_bands=["-", "B02", "-"]).bands == ("BLUE",)


def test_a_file_of_unknown_band_order_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tif", np.full((2, 2, 2), 1000, np.uint16))
    with pytest.raises(ValueError, match="band order of .*1.tif .*is unknown.*Declare the names"):
        statistics_of_files([path], DN, sensor=L1C)


def test_a_file_that_lacks_a_band_is_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "1.tif", np.full((2, 2, 2), 1000, np.uint16), ("B02", "B04"))
    two = write(tmp_path / "2.tif", np.full((1, 2, 2), 1000, np.uint16), ("B02",))
    with pytest.raises(ValueError, match="not there: RED.*Available: BLUE"):
        statistics_of_files([one, two], DN, sensor=L1C)


def test_a_file_in_another_unit_is_refused(shared: Path) -> None:
    path = shared / "data/sen1floods11_v1.1/data/S2L1CHand/Spain_7370579_S2Hand.tif"
    with pytest.raises(ValueError, match="Spain.* declared as reflectance, but its values look like digital_number"):
        statistics_of_files([path], UnitConversion(InputUnit.REFLECTANCE), sensor=L1C)


def test_bands_of_two_units_have_no_common_statistics(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tif", np.full((2, 2, 2), 20000, np.uint16), ("B4", "B10"))
    with pytest.raises(ValueError, match="RED, THERMAL_INFRARED_1 have kelvin and reflectance in Landsat 8"):
        statistics_of_files([path], DN, sensor=SENSORS["landsat8"])


def test_without_a_sensor_the_unit_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "1.tif", np.full((1, 2, 2), 300, np.int16), ("elevation",))
    found = statistics_of_files([path], UnitConversion(InputUnit.NATIVE))
    assert (found.bands, found.unit, found.mean[0]) == (("elevation",), InputUnit.NATIVE, 300)
    assert statistics_of_files([path], DN).unit is InputUnit.REFLECTANCE


def test_no_files_have_no_statistics() -> None:
    with pytest.raises(ValueError, match="There are no files"):
        statistics_of_files([], DN)


def test_a_truncated_file_is_named(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "data/sen1floods11_v1.1/data/S2L1CHand/Spain_7370579_S2Hand.tif").read_bytes()
    for size in (0, 100, len(whole) // 2):
        path = tmp_path / "cut.tif"
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match="cut.tif cannot be read.*truncated.*copy it again"):
            statistics_of_files([path], DN, sensor=L1C)


@pytest.mark.parametrize("layout", [{}, {"tiled": True, "blockxsize": 256, "blockysize": 256}])
def test_memory_does_not_grow_with_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: dict[str, object]
) -> None:
    monkeypatch.setattr(statistics, "_BLOCK_VALUES", 1 << 17)
    path = write(tmp_path / "large.tif", np.full((2, 2000, 1500), 1000, np.uint16), ("B02", "B03"), **layout)
    tracemalloc.start()
    statistics_of_files([path], DN, sensor=L1C)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6  # the image alone would be 24 MB as float32


def test_windows_cover_every_pixel_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.arange(1, 301 * 203 + 1, dtype=np.float32).reshape(1, 301, 203)
    layouts: list[dict[str, object]] = [{}, {"tiled": True, "blockxsize": 64, "blockysize": 32}, {"blockysize": 301}]
    for values in (500, 5000, 1 << 22):
        monkeypatch.setattr(statistics, "_BLOCK_VALUES", values)
        for layout in layouts:
            path = write(tmp_path / "a.tif", numbers, ("x",), **layout)
            found = statistics_of_files([path], UnitConversion(InputUnit.NATIVE))
            assert found.count[0] == numbers.size
            assert found.mean[0] == pytest.approx((numbers.size + 1) / 2)


def test_the_command_writes_what_the_function_computes(shared: Path, tmp_path: Path) -> None:
    folder = shared / "data/s2_l1c_timeseries_eolearn"
    out = tmp_path / "s.yaml"
    pattern = str(folder / "S2L1C_*.tif")
    options = ["--sensor", "sentinel2_l1c", "--unit", "digital_number", "--select", "B4", "B2", "--out", str(out)]
    main([pattern, str(folder / "S2L1C_20150711T100008.tif"), *options])
    content = yaml.safe_load(out.read_text())
    numbers = []
    for path in sorted(folder.glob("S2L1C_*.tif")):
        with rasterio.open(path) as file:
            numbers.append(file.read([4, 2]).astype(np.float64))
    stack = np.stack(numbers)
    assert content["bands"] == ["RED", "BLUE"]
    assert content["means"] == pytest.approx(list(stack.mean(axis=(0, 2, 3)) / 1e4))
    assert content["stds"] == pytest.approx(list(stack.std(axis=(0, 2, 3)) / 1e4))
    assert content["provenance"]["files"] == 5
    assert content["provenance"]["scale"] == 1e-4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere/*.tif", "--unit", "decibel"], "'nowhere/*.tif' matches no file. Give file names or a pattern"),
        ([".", "--unit", "decibel"], "'.' is a folder. Give file names"),
        (["x.tif", "--unit", "dn"], "invalid choice: 'dn'"),
        ([__file__, "--unit", "decibel", "--formula", "worldcereal_s1"], "is for the unit digital_number"),
        ([__file__, "--unit", "decibel"], "cannot be read"),
    ],
)
def test_faults_end_the_command_with_a_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--out", str(tmp_path / "s.yaml")])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err.replace("\n", " ")
    assert not list(tmp_path.iterdir())


def test_the_command_runs_as_a_module_without_torch(root: Path) -> None:
    code = "import sys; from eo_data.statistics import main; assert 'torch' not in sys.modules; main(['--help'])"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    assert "eo statistics" in done.stdout


def test_a_place_that_cannot_be_written_to_is_known_before_reading(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([__file__, "--unit", "decibel", "--out", f"{__file__}/folder/s.yaml"])
    assert "Not a directory" in capsys.readouterr().err
