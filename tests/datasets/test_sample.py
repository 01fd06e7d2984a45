"""The embedded sample is reproducible, and what it says about itself holds for every pixel of it."""

import importlib.util
import json
from datetime import datetime
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2] / "datasets" / "sample"
FOLDERS = {"S1": ("S1Hand", 2, "float32"), "S2": ("S2Hand", 13, "int16"), "Label": ("LabelHand", 1, "int16")}


def load_script() -> ModuleType:
    """Load the script by its path: ``datasets`` is no package, and must not become one."""
    spec = importlib.util.spec_from_file_location("make_sample", ROOT / "make_sample.py")
    if spec is None or spec.loader is None:
        raise ImportError(ROOT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
NAMES = [chip.name for chip in SCRIPT.CHIPS]


def tif(name: str, kind: str, root: Path = ROOT) -> Path:
    return root / SCRIPT.HAND / f"{kind}Hand" / f"{name}_{kind}Hand.tif"


def read(name: str, kind: str, root: Path = ROOT) -> NDArray[np.float64]:
    with rasterio.open(tif(name, kind, root)) as source:
        return source.read()


def split_names(split: str) -> list[str]:
    path = ROOT / "v1.1" / "splits" / "flood_handlabeled" / SCRIPT.SPLITS[split]
    return path.read_text().splitlines()


def catalogue() -> dict[str, dict]:
    features = json.loads((ROOT / "v1.1" / "Sen1Floods11_Metadata.geojson").read_text())["features"]
    return {feature["properties"]["location"]: feature for feature in features}


def contents(root: Path, suffix: str) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob(f"*{suffix}"))}


@pytest.mark.parametrize("number", [7, 16])
def test_committed_pixels_are_not_those_of_an_older_script(tmp_path: Path, number: int) -> None:
    chip = next(chip for chip in SCRIPT.CHIPS if chip.number == number)
    SCRIPT.make_chip(chip, tmp_path)
    for kind in FOLDERS:
        np.testing.assert_array_equal(read(chip.name, kind, tmp_path), read(chip.name, kind))
        with rasterio.open(tif(chip.name, kind)) as old, rasterio.open(tif(chip.name, kind, tmp_path)) as new:
            assert (old.crs, old.transform, old.tags()) == (new.crs, new.transform, new.tags())


def test_chip_does_not_depend_on_the_chips_made_before_it(tmp_path: Path) -> None:
    first, second = SCRIPT.CHIPS[3], SCRIPT.CHIPS[11]
    for order, chips in (("a", (first, second)), ("b", (second, first))):
        for chip in chips:
            SCRIPT.make_chip(chip, tmp_path / order)
    assert contents(tmp_path / "a", ".tif") == contents(tmp_path / "b", ".tif")


def test_no_stray_or_missing_file_shifts_the_pairing_by_sorted_position() -> None:
    for kind, (folder, _, _) in FOLDERS.items():
        found = sorted(path.name for path in (ROOT / SCRIPT.HAND / folder).iterdir())
        assert found == sorted(f"{name}_{kind}Hand.tif" for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_images_and_label_lie_on_one_grid_with_the_dtypes_and_nodata_of_the_real_files(name: str) -> None:
    grids = set()
    for kind, (_, count, dtype) in FOLDERS.items():
        with rasterio.open(tif(name, kind)) as source:
            grids.add((source.crs.to_epsg(), source.transform, source.shape))
            assert (source.count, set(source.dtypes)) == (count, {dtype})
            nodata = {"S1": np.nan, "S2": 0.0, "Label": None}[kind]
            np.testing.assert_equal(source.nodata, nodata)
    assert len(grids) == 1
    assert grids.pop()[2] == (128, 128)


@pytest.mark.parametrize("name", NAMES)
def test_band_order_can_be_read_from_the_file_and_not_only_guessed(name: str) -> None:
    for kind, bands in (("S1", SCRIPT.S1_BANDS), ("S2", SCRIPT.S2_BANDS)):
        with rasterio.open(tif(name, kind)) as source:
            assert source.descriptions == bands


def test_nobody_takes_a_chip_for_a_satellite_image() -> None:
    for path in (ROOT / SCRIPT.HAND).rglob("*.tif"):
        with rasterio.open(path) as source:
            assert source.tags()["SYNTHETIC"] == "YES"
        assert "_SYN" in path.name


def test_degrees_and_metres_and_both_hemispheres_occur() -> None:
    codes, origins = [], []
    for name in NAMES:
        with rasterio.open(tif(name, "S2")) as source:
            codes.append(source.crs.to_epsg())
            origins.append((source.transform.c, source.transform.f))
            size = SCRIPT.DEGREE if codes[-1] == 4326 else 10.0
            assert (source.transform.a, source.transform.e) == (size, -size)
    assert codes.count(4326) == len(codes) // 2
    assert len(set(codes)) >= 6
    assert any(32600 < code < 32700 for code in codes)
    assert any(32700 < code < 32800 for code in codes)
    assert len(set(origins)) == len(origins)


@pytest.mark.parametrize("name", NAMES)
def test_no_unobserved_pixel_is_scored(name: str) -> None:
    s1, s2, label = read(name, "S1"), read(name, "S2"), read(name, "Label")[0]
    assert set(np.unique(label)) <= {-1, 0, 1}
    assert (label[np.isnan(s1).any(0) | (s2 == 0).any(0)] == -1).all()


@pytest.mark.parametrize("name", NAMES)
def test_nodata_hits_all_bands_of_a_sensor_at_once(name: str) -> None:
    void = np.isnan(read(name, "S1"))
    np.testing.assert_array_equal(void.any(0), void.all(0))
    void = read(name, "S2") == 0
    np.testing.assert_array_equal(void.any(0), void.all(0))


def test_every_trap_that_the_readme_names_is_in_the_training_split() -> None:
    names = split_names("train")
    assert any(np.isnan(read(name, "S1")).any() for name in names)
    assert any((read(name, "S2") == 0).any() for name in names)
    assert any((read(name, "S2")[1] > 3500).mean() > 0.02 for name in names)  # opaque cloud
    assert any((read(name, "Label") == 1).sum() == 0 for name in names)  # no water at all


@pytest.mark.parametrize("name", NAMES)
def test_label_is_neither_inverted_nor_shifted_against_the_images(name: str) -> None:
    s1, s2, label = read(name, "S1"), read(name, "S2").astype(float), read(name, "Label")[0]
    water, land = label == 1, label == 0
    index = (s2[2] - s2[7]) / (s2[2] + s2[7] + 1e-9)  # green against near infrared
    assert index[land].mean() < 0
    if not water.any():
        return
    assert index[water].mean() > 0.1
    power = 10 ** (s1[0] / 10)

    def contrast(mask_water: NDArray[np.bool_], mask_land: NDArray[np.bool_]) -> float:
        return float(10 * np.log10(np.nanmean(power[mask_land]) / np.nanmean(power[mask_water])))

    assert contrast(water, land) > 7
    for shift in ((4, 0), (-4, 0), (0, 4), (0, -4)):
        moved = np.roll(label, shift, axis=(0, 1))
        assert contrast(moved == 1, moved == 0) < contrast(water, land)


def test_units_are_decibels_and_digital_numbers() -> None:
    s1 = np.stack([read(name, "S1") for name in NAMES])
    s2 = np.stack([read(name, "S2") for name in NAMES]) * 1.0
    assert np.nanmin(s1) > -40
    assert np.nanmax(s1) < 15
    assert 4 < np.nanmean(s1[:, 0] - s1[:, 1]) < 9  # cross polarisation is weaker
    assert 0.05 < s2[:, 1].mean() / 1e4 < 0.3
    assert s2[:, 10].mean() < 100  # cirrus: B10 is not swapped with B11
    assert s2.max() < 10000


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_split_is_not_silently_empty_for_a_reader_that_matches_substrings(split: str) -> None:
    names = split_names(split)
    assert len(names) == {"train": 8, "valid": 4, "test": 4}[split]
    for folder, _, _ in FOLDERS.values():
        stems = [path.stem for path in (ROOT / SCRIPT.HAND / folder).glob("*.tif")]
        found = [stem.rsplit("_", 1)[0] for stem in stems if any(name in stem for name in names)]
        assert sorted(found) == sorted(names)


def test_no_chip_is_in_two_splits_or_in_none() -> None:
    names = [name for split in SCRIPT.SPLITS for name in split_names(split)]
    assert sorted(names) == sorted(NAMES)


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_both_classes_occur_in_every_split(split: str) -> None:
    labels = np.stack([read(name, "Label") for name in split_names(split)])
    assert (labels == 1).mean() > 0.1
    assert (labels == 0).mean() > 0.1


@pytest.mark.parametrize("chip", SCRIPT.CHIPS, ids=NAMES)
def test_no_chip_falls_back_to_a_made_up_date(chip: tuple) -> None:
    found = catalogue()
    feature = found[SCRIPT.LOCATION_OF.get(chip.event, chip.event)]
    dates = [datetime.strptime(feature["properties"][key], "%Y/%m/%d") for key in ("s1_date", "s2_date")]
    assert abs((dates[0] - dates[1]).days) <= 2
    assert all(2015 < date.year < 2020 for date in dates)


def test_mekong_chips_need_the_alias_as_in_the_real_catalogue() -> None:
    assert "Mekong" not in catalogue()
    assert any(name.startswith("Mekong_") for name in NAMES)


def test_catalogue_is_what_the_script_writes_and_its_boxes_hold_the_chips(tmp_path: Path) -> None:
    for chip in SCRIPT.CHIPS:
        target = tif(chip.name, "Label", tmp_path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tif(chip.name, "Label").read_bytes())
    SCRIPT.write_catalogue(tmp_path)
    for suffix in (".txt", ".geojson"):
        assert contents(tmp_path, suffix) == contents(ROOT, suffix)


def test_repository_stays_small() -> None:
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) < 2_000_000


def test_no_package_shadows_the_datasets_library() -> None:
    assert not list(ROOT.parent.rglob("__init__.py"))
