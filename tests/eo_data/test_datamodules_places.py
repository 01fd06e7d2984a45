"""Places and times in a config: what is read of a catalogue, and labels by place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import yaml
from affine import Affine
from pyproj import Transformer
from small_scenes import CORNER, S2_BANDS, numbers, write_scene
from small_stac import bounds, item, sentinel2_item, stac_api, write_band, write_catalogue

from eo_data import inspect
from eo_data.catalog.sources import LabelSource
from eo_data.dataset.batch import collate
from eo_data.dataset.place_splits import PlaceSplits
from eo_data.inspect import load_splits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_data.raster.raster import Raster, to_map
from eo_data.raster.sample import SampleError

BANDS = ["BLUE", "RED", "NIR_BROAD"]
NUMBERS = [S2_BANDS.index(name) for name in BANDS]
#: All that must be stated of a catalogue's images.
S2: dict[str, dict[str, Any]] = {"S2": {"bands": BANDS, "sensor": "sentinel2_l2a"}}
JUNE = ("2022-06-01", "2022-07-01")


def row(name: str, column: float, line: float, **known: Any) -> dict[str, Any]:
    """A place of 16 x 16 pixels around a corner of pixels of the scenes."""
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(*to_map(CORNER, column, line))
    return {"id": name, "lon": float(lon), "lat": float(lat), "buffer_m": 79.0, **known}


def splits(root: Path, places: Any, source: Any = "catalog.json", **arguments: Any) -> PlaceSplits:
    modalities = arguments.pop("modalities", S2)
    zeros, ones = ({name: [number] * len(own["bands"]) for name, own in modalities.items()} for number in (0.0, 1.0))
    preprocess = DatasetNormalise(zeros, ones)
    of = arguments.pop("of", PlaceSplits)
    return of(places, JUNE, source, modalities, str(root), preprocess=preprocess, **arguments)


def window(raster: Raster) -> tuple[slice, slice]:
    """Rows and columns of the scene that a raster shows."""
    assert raster.transform is not None
    row, column = (CORNER.f - raster.transform.f) / 10, (raster.transform.c - CORNER.c) / 10
    assert row == int(row)
    assert column == int(column)
    return slice(int(row), int(row) + raster.height), slice(int(column), int(column) + raster.width)


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Folder with a catalogue of one scene of June, whose numbers have the offset, with four cloudy pixels."""
    classes = np.full((64, 64), 4, np.uint8)
    classes[30:32, 30:32] = 9
    made = sentinel2_item(tmp_path / "cogs", "earth-search", "s", numbers() + 1000, classes=classes)
    write_catalogue(tmp_path, [made])
    return tmp_path


def test_bands_and_sensor_are_enough(catalogue: Path) -> None:
    """Scale and offset are those of the item, clouds those of its classes: a default would be wrong by 0.1."""
    module = splits(catalogue, [row("a", 32, 32)], multiple=4)
    raster = module.dataset("predict").read(0).images["S2"].raster
    rows, columns = window(raster)
    expected = numbers()[NUMBERS, rows, columns] * 1e-4
    expected[:, 30 - rows.start : 32 - rows.start, 30 - columns.start : 32 - columns.start] = np.nan
    assert np.isnan(expected).sum() == 3 * 4
    np.testing.assert_allclose(raster.pixels[0], expected, atol=1e-6)
    seen = splits(catalogue, [row("a", 32, 32)], multiple=4, clouds=False).dataset("predict")
    assert not np.isnan(seen.read(0).images["S2"].raster.pixels).any()


def test_what_is_stated_counts_and_nothing_else_is_taken_for_a_field(catalogue: Path) -> None:
    coarse = splits(catalogue, [row("a", 32, 32)], pixel_size=20.0)
    assert coarse.dataset("predict").read(0).images["S2"].pixel_size == 20
    with pytest.raises(ValueError, match=r"'S2' of places needs bands and sensor, .*got bands\. Valid: files, bands"):
        splits(catalogue, [], modalities={"S2": {"bands": BANDS}})
    with pytest.raises(ValueError, match=r"needs bands and sensor, .*got bands, sensor, gain"):
        splits(catalogue, [], modalities={"S2": S2["S2"] | {"gain": 2}})


def test_digital_numbers_without_an_offset_are_asked_about(tmp_path: Path) -> None:
    """Read with offset 0, half of the archive is 0.1 too bright, and nothing shows it."""
    made = sentinel2_item(tmp_path / "cogs", "planetary-computer", "s", numbers())
    del made["properties"]["s2:processing_baseline"]
    write_catalogue(tmp_path, [made])
    with pytest.raises(ValueError, match=r"B02\.tif does not say .*offset=-1000"):
        splits(tmp_path, [row("a", 32, 32)]).dataset("predict")
    stated = splits(tmp_path, [row("a", 32, 32)], modalities={"S2": S2["S2"] | {"offset": 0}}, multiple=4)
    raster = stated.dataset("predict").read(0).images["S2"].raster
    np.testing.assert_allclose(raster.pixels[0], numbers()[NUMBERS, *window(raster)] * 1e-4, atol=1e-6)


def test_a_place_that_nothing_shows_is_listed_and_the_others_go_on(catalogue: Path, tmp_path: Path) -> None:
    places = [row("far", 90000, 32), row("a", 32, 32)]
    with pytest.raises(ValueError, match=r"1 of 2 places cannot be used.*on_error: skip.*far"):
        splits(catalogue, places).dataset("predict")
    module = splits(catalogue, places, on_error="skip", skipped_file=str(tmp_path / "skipped.csv"))
    with pytest.warns(UserWarning, match="1 of 2 samples of 'predict' are left out"):
        dataset = module.dataset("predict")
    assert [record.id for record in dataset.records] == ["a"]
    ((split, name, reason),) = module.skipped
    assert (split, name) == ("predict", "far")
    assert "no scene shows it" in reason


class Listed(PlaceSplits):
    """As under a task that lists failures."""

    @property
    def lists_faults(self) -> bool:
        return True


def test_places_are_read_once_by_a_task_that_lists_failures(catalogue: Path) -> None:
    """A check of all places before the run would fetch each of them twice, also of a finished export."""
    places = [row("far", 90000, 32), row("a", 32, 32), row("b", 40, 32)]
    dataset = splits(catalogue, places, on_error="skip", multiple=4, of=Listed).dataset("predict")
    (catalogue / "cogs" / "s").rename(catalogue / "cogs" / "away")
    names = [record.id for record in dataset.records]
    assert sorted(names) == ["a", "b", "far"]
    batch = collate(dataset.__getitems__(range(3)))
    assert batch["id"] == []
    assert {*batch["faults"]} == {*names}
    assert "no scene shows it" in batch["faults"]["far"]
    (catalogue / "cogs" / "away").rename(catalogue / "cogs" / "s")
    batch = collate(dataset.__getitems__(range(3)))
    assert (batch["id"], [*batch["faults"]]) == ([name for name in names if name != "far"], ["far"])
    assert batch["image"]["S2"].shape[:2] == (2, 3)


def test_a_server_is_asked_once_for_all_splits(catalogue: Path) -> None:
    """Each stage of a run makes its samples anew; each search of a catalogue may be pages of answers."""
    made = sentinel2_item(catalogue / "cogs", "earth-search", "s", numbers() + 1000)
    places = [row(name, 32, line, label=i, split=split) for i, (name, line, split) in enumerate(
        [("a", 20, "train"), ("b", 44, "val")])]  # fmt: skip
    options: dict[str, Any] = {"label_column": "label", "split_column": "split", "task": "classification"}
    with stac_api([made]) as api:
        module = splits(catalogue, places, api.url, **options)
        module.dataset("predict")
        once = len(api.searches)
        assert [record.id for record in module.dataset("train").records] == ["a"]
        assert [record.id for record in module.dataset("val").records] == ["b"]
        assert len(api.searches) == once


@pytest.mark.parametrize("form", ["rows", "file"])
def test_labels_and_splits_are_columns_of_the_places(catalogue: Path, form: str) -> None:
    """By name, whatever their order; a class that nobody has named is refused, not numbered anew."""
    rows = [
        row("a", 20, 20, crop="maize", split="val"),
        row("b", 20, 44, crop="barley", split="train"),
        row("c", 44, 44, split="train"),
    ]
    places: Any = rows
    options: dict[str, Any] = {"label_column": "crop", "split_column": "split", "task": "classification"}
    if form == "file":
        points = [shapely.Point(own["lon"], own["lat"]) for own in rows]
        columns = {key: [own.get(key) for own in rows] for key in ("id", "crop", "split")}
        geopandas.GeoDataFrame(columns, geometry=points, crs=4326).to_file(catalogue / "places.gpkg")
        places = "places.gpkg"
        options |= {"id_column": "id", "buffer_m": 79.0}
    module = splits(catalogue, places, class_names=["barley", "maize"], **options)
    assert [(own.id, own.label) for own in module.dataset("val").records] == [("a", 1)]
    assert module.dataset("val")[0]["label"] == 1
    assert module.label is not None
    assert module.label.classes == 2
    with pytest.raises(ValueError, match=r"1 of 2 samples have no label \(first: c\)"):
        module.dataset("train")
    with pytest.raises(ValueError, match=r"'a' has the label 'maize' in 'crop', which is no number.*\[barley, maize\]"):
        splits(catalogue, places, **options).dataset("val")
    with pytest.raises(ValueError, match=r"'a' has the label 'maize' in 'crop', which is none of .*: oats, rye"):
        splits(catalogue, places, class_names=["oats", "rye"], **options).dataset("val")
    assert len(splits(catalogue, places, **options).dataset("predict")) == 3


def test_values_by_place(catalogue: Path) -> None:
    places = [row("a", 20, 20, height=2.5, split="train"), row("b", 44, 44, height=3, split="train")]
    options: dict[str, Any] = {"label_column": "height", "split_column": "split"}
    dataset = splits(catalogue, places, task="regression", **options).dataset("train")
    assert [float(dataset[i]["label"]) for i in range(2)] == [2.5, 3.0]
    with pytest.raises(ValueError, match="label_column has one label for each place, and segmentation"):
        splits(catalogue, places, **options)


def label_map(path: Path, transform: Affine = CORNER, crs: str = "EPSG:32632") -> np.ndarray:
    """Write classes 0..2 of which no two pixels beside each other are equal, and return them."""
    lines, columns = np.mgrid[0:64, 0:64]
    classes = ((lines + 2 * columns) % 3).astype(np.uint8)
    write_band(path, classes, transform, crs, nodata=255)
    return classes


def test_a_label_raster_of_a_larger_area_lies_on_the_pixels_of_the_place(catalogue: Path) -> None:
    """Off by one pixel, every label would be wrong and the loss would still fall."""
    classes = label_map(catalogue / "cover.tif")
    places = [row("a", 20, 28, split="train"), row("b", 60, 60, split="train")]
    arguments = {"label_map": "cover.tif", "label": LabelSource(classes=3), "split_column": "split", "multiple": 4}
    dataset = splits(catalogue, places, **arguments).dataset("train")
    sample = dataset.read(0)
    assert isinstance(sample.label, Raster)
    rows, columns = window(sample.label)
    seen = sample.images["S2"].raster.valid[0]
    np.testing.assert_array_equal(sample.label.pixels[0][seen], classes[rows, columns][seen])
    assert (sample.label.pixels[0][~seen] == -1).all()
    # The second place reaches over the end of map and scene.
    beyond = dataset.read(1)
    assert isinstance(beyond.label, Raster)
    assert beyond.label.transform is not None
    first = round((beyond.label.transform.c - CORNER.c) / 10), round((CORNER.f - beyond.label.transform.f) / 10)
    inside = beyond.label.pixels[0, : 64 - first[1], : 64 - first[0]]
    np.testing.assert_array_equal(inside, classes[first[1] :, first[0] :])
    assert (beyond.label.pixels[0, 64 - first[1] :] == -1).all()


def test_a_map_of_values_is_read_as_it_is(catalogue: Path) -> None:
    """Heights of which no two are equal."""
    heights = np.random.default_rng(0).uniform(0, 40, (64, 64)).astype(np.float32)
    write_band(catalogue / "heights.tif", heights, nodata=-9999)
    places = [row("a", 32, 32, split="train")]
    arguments: dict[str, Any] = {"label_map": "heights.tif", "label": LabelSource(), "task": "regression"}
    module = splits(catalogue, places, clouds=False, split_column="split", **arguments)
    label = module.dataset("train").read(0).label
    assert isinstance(label, Raster)
    np.testing.assert_array_equal(label.pixels[0], heights[window(label)])


def test_a_label_raster_of_other_pixels_gives_the_class_at_the_centre(catalogue: Path) -> None:
    """Cells of 25 m that begin between pixels: by hand, the cell in which the centre of the pixel lies."""
    cells = Affine(25, 0, CORNER.c - 13, 0, -25, CORNER.f + 7)
    classes = label_map(catalogue / "labels" / "a.tif", cells)
    arguments: dict[str, Any] = {"label": LabelSource("labels/{id}.tif", classes=3), "train_split": "train.txt"}
    (catalogue / "train.txt").write_text("a\n")
    dataset = splits(catalogue, [row("a", 32, 32), row("b", 20, 20)], multiple=4, clouds=False, **arguments).dataset(
        "train"
    )
    label = dataset.read(0).label
    assert isinstance(label, Raster)
    assert label.transform is not None
    lines, columns = np.mgrid[0 : label.height, 0 : label.width] + 0.5
    x, y = label.transform.c + 10 * columns, label.transform.f - 10 * lines
    by_hand = classes[((cells.f - y) // 25).astype(int), ((x - cells.c) // 25).astype(int)]
    np.testing.assert_array_equal(label.pixels[0], by_hand)


def test_labels_that_cannot_be_placed_or_are_told_twice_are_refused(catalogue: Path) -> None:
    places = [row("a", 20, 28, kind=1, split="train")]
    write_band(catalogue / "large.tif", np.full((64, 64), 2**24 + 1, np.uint32), nodata=None)
    with rasterio.open(catalogue / "bare.tif", "w", driver="GTiff", width=9, height=9, count=1, dtype="uint8") as file:
        file.write(np.ones((1, 9, 9), np.uint8))
    arguments: dict[str, Any] = {"label": LabelSource(classes=3), "split_column": "split"}
    with pytest.raises(ValueError, match=r"There is no label map .*gone\.tif"):
        splits(catalogue, places, label_map="gone.tif", **arguments).dataset("train")
    with pytest.raises(ValueError, match=r"bare\.tif.*has no georeference"):
        splits(catalogue, places, label_map="bare.tif", **arguments).dataset("train").read(0)
    with pytest.raises(ValueError, match=r"large\.tif.*numbers from 16777216 on, which are not exact"):
        splits(catalogue, places, label_map="large.tif", **arguments).dataset("train").read(0)
    both = {"label": LabelSource("labels/{id}.tif", classes=3), "split_column": "split", "label_map": "large.tif"}
    with pytest.raises(ValueError, match=r"label_map \(large\.tif\), label\.files \(labels/\{id\}\.tif\)"):
        splits(catalogue, places, **both).dataset("train")


def test_the_orbit_of_radar_is_chosen_and_shown(tmp_path: Path) -> None:
    """Ascending and descending passes see slopes from opposite sides; of a mixture no pixel is right."""
    items = []
    for number, (day, orbit) in enumerate([("01", "ascending"), ("03", "descending"), ("13", "ascending")]):
        power = np.full((64, 64), 0.1 * (number + 1), np.float32)
        assets = {
            key: {"href": str(write_band(tmp_path / f"{number}{key}.tif", power, nodata=-32768))}
            for key in ("vv", "vh")
        }
        when = f"2022-06-{day}T05:20:31Z"
        items.append(item(f"i{number}", "sentinel-1-rtc", bounds((64, 64)), when, assets, **{"sat:orbit_state": orbit}))
    write_catalogue(tmp_path, items)
    radar = {"S1": {"bands": ["VV", "VH"], "sensor": "sentinel1"}}
    for orbit, expected in ((None, [-10.0, 10 * np.log10(0.3)]), ("descending", [10 * np.log10(0.2)])):
        dataset = splits(tmp_path, [row("a", 32, 32)], modalities=radar, orbit=orbit).dataset("predict")
        image = dataset.read(0).images["S1"]
        np.testing.assert_allclose(image.raster.pixels[:, 0, 0, 0], expected, atol=1e-4)
        assert [note for note in image.notes if note.startswith(f"only {orbit or 'ascending'} passes")]


def test_a_folder_below_the_root_is_read_as_a_catalogue_is(catalogue: Path) -> None:
    """Numbers that are reflectance already, in a file that says so."""
    plain = numbers().astype(np.float32) * 1e-4
    write_scene(catalogue / "files" / "S2A_MSIL2A_20220601T102031.tif", plain, scale=None, unit="reflectance")
    places = [row("a", 32, 32)]
    of_files = splits(catalogue, places, "files", multiple=4).dataset("predict").read(0).images["S2"].raster
    of_items = splits(catalogue, places, multiple=4, clouds=False).dataset("predict").read(0).images["S2"].raster
    np.testing.assert_allclose(of_files.pixels, of_items.pixels, atol=1e-6)
    with pytest.raises(ValueError, match=r"no catalogue is called 'nowhere'"):
        splits(catalogue, places, "nowhere").dataset("predict")


def test_a_config_is_inspected_without_lightning(
    catalogue: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preprocess = {"class_path": "thor_terratorch_ext.ThorPreprocess", "init_args": {"patch_size": 8}}
    one_frame = {"class_path": "eo_data.preprocess.OneFrame", "init_args": {"preprocess": preprocess}}
    arguments = {"root": str(catalogue), "places": [row("a", 32, 32)], "time": list(JUNE), "source": "catalog.json"}
    arguments |= {"modalities": S2, "multiple": 16, "preprocess": one_frame}
    config = {"data": {"class_path": "eo_data.datamodules.PlaceDataModule", "init_args": arguments}}
    file = catalogue / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    assert type(load_splits([file])) is PlaceSplits
    monkeypatch.chdir(catalogue)
    inspect.main(["--config", str(file)])
    shown = capsys.readouterr().out
    assert "digital_number -> reflectance" in shown
    assert "2022-06-01" in shown


def test_a_source_may_be_named_by_its_class(catalogue: Path) -> None:
    """Whoever has a catalogue of another kind writes a class with `search`."""
    stac = "eo_data.catalog.scenes.catalogues.stac.source.StacCatalogue"
    source = {"class_path": stac, "init_args": {"catalogue": str(catalogue / "catalog.json")}}
    normalise = {"means": {"S2": [0.0] * 3}, "stds": {"S2": [1.0] * 3}}
    plain = {"class_path": "eo_data.preprocess.DatasetNormalise", "init_args": normalise}
    places = [[row("a", 32, 32)["lon"], row("a", 32, 32)["lat"], 79.0]]
    arguments = {"root": str(catalogue), "places": places, "time": list(JUNE), "source": source, "modalities": S2}
    for kind in ("PlaceDataModule", "TimeSeriesDataModule"):
        own: dict[str, Any] = dict(arguments)
        if kind == "TimeSeriesDataModule":
            inner = {key: own.pop(key) for key in ("places", "time", "source")}
            own["samples"] = {"class_path": "eo_data.datamodules.Places", "init_args": inner}
            own["modalities"] = {"S2": S2["S2"] | {"unit": "digital_number", "offset": "auto"}}
        data = {"class_path": f"eo_data.datamodules.{kind}", "init_args": own | {"preprocess": plain}}
        file = catalogue / f"{kind}.yaml"
        file.write_text(yaml.safe_dump({"data": data}))
        assert load_splits([file]).dataset("predict").read(0).id == "0"


@pytest.mark.parametrize("name", ["index", "samples"])
def test_samples_by_files_are_refused_beside_places(catalogue: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} names samples by files"):
        splits(catalogue, [row("a", 32, 32)], **{name: "index.csv"})
    assert splits(catalogue, [row("a", 32, 32)], **{name: None}).samples is not None


def test_a_scene_without_its_classes_does_not_leave_the_clouds_of_the_others(catalogue: Path) -> None:
    """It comes first by its name; by it alone there would be no layer that tells clouds."""
    classes = np.full((64, 64), 4, np.uint8)
    classes[30:32, 30:32] = 9
    whole = sentinel2_item(catalogue / "cogs", "earth-search", "s", numbers() + 1000, classes=classes)
    poor = sentinel2_item(catalogue / "cogs", "earth-search", "a", numbers() + 1000, "2022-06-20T10:20:31Z")
    write_catalogue(catalogue, [poor, whole])
    module = splits(catalogue, [row("a", 32, 32)], multiple=4)
    dataset = module.dataset("predict")
    assert module.modalities["S2"].cloud_band == "SCL"
    with pytest.raises(SampleError, match="SCL"):  # of the scene that lacks it, clouds cannot be told
        dataset.read(0)


def test_bands_that_the_sensor_does_not_have_are_named(catalogue: Path) -> None:
    """Not the pixel size, which is what nobody knows of such a band."""
    wrong = {"S2": {"bands": ["INFRARED"], "sensor": "sentinel2_l2a"}}
    with pytest.raises(ValueError, match=r"sentinel2_l2a has no band 'INFRARED' .*Valid: .*NIR_BROAD"):
        splits(catalogue, [row("a", 32, 32)], modalities=wrong).dataset("predict")
