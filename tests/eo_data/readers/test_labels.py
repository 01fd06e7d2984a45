"""Labels lie on their image and hold the classes that the config declares; what means "no label" becomes -1."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from rasterio.control import GroundControlPoint
from small_files import hrefs

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.catalog.sources import LabelSource
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, SampleError
from eo_data.readers.labels import read_label
from eo_data.sensors.units import InputUnit

UTM32 = (
    'PROJCS["WGS 84 / UTM zone 32N",GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]],PROJECTION["Transverse_Mercator"],'
    'PARAMETER["latitude_of_origin",0],PARAMETER["central_meridian",9],PARAMETER["scale_factor",0.9996],'
    'PARAMETER["false_easting",500000],PARAMETER["false_northing",0],UNIT["metre",1],AUTHORITY["EPSG","32632"]]'
)


GRID = Affine(10, 0, 500000, 0, -10, 5000000)


def _image(side: int = 4, transform: Affine | None = GRID) -> Image:
    pixels = np.ones((1, side, side), dtype=np.float32)
    raster = Raster(pixels, np.ones((side, side), dtype=bool), transform, UTM32 if transform else None)
    return Image(raster, ("B2",), InputUnit.REFLECTANCE, 10)


def _plane(*values: float, dtype: str = "int16") -> np.ndarray:
    """Return values in the first row, the rest 0."""
    plane = np.zeros((1, 4, 4), dtype=dtype)
    plane[0, 0, : len(values)] = values
    return plane


def _stated(label: Path | float) -> Href | float:
    return hrefs(label)[0] if isinstance(label, Path) else label


def _read(path: Path | float, task: str = "segmentation", image: Image | None = None, **source: object) -> Raster:
    defaults = {"files": "{id}.tif", "classes": 3}
    found = read_label(
        Record("x", {}, label=_stated(path)), LabelSource(**(defaults | source)), task, image or _image()
    )  # type: ignore[arg-type]
    assert isinstance(found, Raster)
    return found


def _first_row(raster: Raster) -> list[float]:
    return list(raster.pixels[0, 0].tolist())


def test_no_label_is_none() -> None:
    assert read_label(Record("x", {}), LabelSource("{id}.tif", classes=2), "segmentation", _image()) is None


@pytest.mark.parametrize(
    ("values", "dtype", "options", "source"),
    [
        ((0, 1, 2, -1), "int16", {}, {}),
        ((0, 1, 2, 255), "uint8", {"nodata": 255}, {}),
        ((0, 1, 2, 255), "uint8", {}, {"ignore": [255]}),
        ((0, 1, 2, np.nan), "float32", {}, {}),
        ((0, 1, 2, np.nan), "float64", {"nodata": np.nan}, {}),
    ],
)
def test_all_ways_to_say_no_label(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    values: tuple[float, ...],
    dtype: str,
    options: dict[str, float],
    source: dict[str, object],
) -> None:
    label = _read(write_tif(tmp_path / "x.tif", _plane(*values, dtype=dtype), **options), **source)
    assert _first_row(label) == [0, 1, 2, -1]
    assert label.valid[0].tolist() == [True, True, True, False]
    assert label.pixels.dtype == np.float32


def test_a_class_may_have_the_number_that_the_file_ignores(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """Files with 0 = no label and classes from 1 on: class 0 must survive the remapping."""
    path = write_tif(tmp_path / "x.tif", _plane(0, 1, 2, 3))
    label = _read(path, ignore=[0], remap={1: 0, 2: 1, 3: 2})
    assert _first_row(label) == [-1, 0, 1, 2]
    # To remap a value to -1 is to ignore it.
    assert _first_row(_read(path, ignore=[], remap={0: -1, 1: 0, 2: 1, 3: -1})) == [-1, 0, 1, -1]


@pytest.mark.parametrize(
    ("values", "source", "message"),
    [
        ((0, 3, 7), {}, r"x: the label .*x.tif holds \[3.0, 7.0\], expected classes 0..2. Set classes, remap"),
        ((0, -2), {}, r"holds \[-2.0\], expected classes 0..2"),
        ((0, 9), {"remap": {0: 0, 1: 1}}, r"holds \[9.0\], expected classes 0..2.*remap covers \[0, 1\]"),
        ((0, 1), {"remap": {0: 0, 1: 5}}, r"holds \[1.0\], expected classes 0..2"),
        ((0, 1), {"classes": None}, "Segmentation needs the number of classes: set classes in the label source"),
    ],
)
def test_values_outside_the_classes_are_refused(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    values: tuple[float, ...],
    source: dict[str, object],
    message: str,
) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(*values))
    with pytest.raises(SampleError, match=message):
        _read(path, **source)


def test_fractions_are_no_classes(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(0.5, 1, dtype="float32"))
    with pytest.raises(SampleError, match=r"holds \[0.5\], expected classes 0..2"):
        _read(path)
    assert _first_row(_read(path, "regression")) == [0.5, 1, 0, 0]


@pytest.mark.parametrize("beside", [False, True])
def test_what_the_mask_and_the_no_data_tag_hide_is_no_label(
    write_tif: Callable[..., Path], tmp_path: Path, beside: bool
) -> None:
    mask = np.full((4, 4), 255, dtype=np.uint8)
    mask[0, 1] = 0
    path = write_tif(tmp_path / "x.tif", _plane(0, 1, 2, 9), nodata=9, mask=mask, beside=beside)
    assert _first_row(_read(path)) == [0, -1, 2, -1]


def test_opacity_is_no_layer_of_a_label_but_hides_it(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    picture = np.concatenate([_plane(0, 1, 2, 1), np.full((1, 4, 4), 255)]).astype(np.uint8)
    picture[1, 0, 3] = 0
    path = write_tif(tmp_path / "x.png", picture, driver="PNG", crs=None, transform=None)
    assert _first_row(_read(path)) == [0, 1, 2, -1]


@pytest.mark.parametrize(
    ("values", "nodata", "source"), [((0, 1, 2), 0, {}), ((7, 1, 2), 7, {"remap": {7: 0, 1: 1, 2: 2, 0: 2}})]
)
def test_a_class_that_the_file_states_as_no_data_is_not_swallowed(
    write_tif: Callable[..., Path],
    tmp_path: Path,
    values: tuple[float, ...],
    nodata: float,
    source: dict[str, object],
) -> None:
    """QGIS and gdal_rasterize write 0 so: the background would never be learned, and the mIoU of the rest be 1."""
    path = write_tif(tmp_path / "x.tif", _plane(*values), nodata=nodata)
    count = int((_plane(*values) == nodata).sum())
    with pytest.raises(
        SampleError, match=f"states {nodata} as no-data, .* a class; its {count} pixels of 16 .*nodata: .n"
    ):
        _read(path, **source)
    assert _first_row(_read(path, nodata=float("nan"), **source))[:3] == [0, 1, 2]
    assert _first_row(_read(path, **(source | {"ignore": [nodata]})))[0] == -1


def test_a_target_has_the_unit_that_the_file_states(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(
        tmp_path / "x.tif", _plane(250, 300, 65535, dtype="uint16"), scales=[0.01], offsets=[1], nodata=65535
    )
    assert _first_row(_read(path, "regression")) == pytest.approx([3.5, 4, -1, 1])


def test_classes_with_a_scale_are_decoded_by_cf_and_refused_where_the_meaning_is_open(
    write_tif: Callable[..., Path], write_cube: Callable[..., Path], pixel_centres: Callable[..., dict], tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(0, 1, 2), scales=[2.0])
    with pytest.raises(SampleError, match=r"number \* 2 \+ 0, but classes are whole numbers as stored.*state by remap"):
        _read(path)
    assert _first_row(_read(path, remap={0: 0, 1: 1, 2: 2})) == [0, 1, 2, 0]
    packed = ("y", "x"), _plane(0, 10, 20, -1)[0], {"scale_factor": 0.1, "_FillValue": np.int16(-1)}
    cube = write_cube(tmp_path / "x.nc", {"label": packed}, pixel_centres(4))
    assert _first_row(_read(cube)) == [0, 1, 2, -1]


@pytest.mark.parametrize("value", [-9999, -32768, np.finfo("float32").min, 1e20])
def test_fill_values_that_nobody_declares_are_no_targets(
    write_tif: Callable[..., Path], tmp_path: Path, value: float
) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(value, -40, 3000.5, dtype="float32"))
    with pytest.raises(
        SampleError, match=r"x: the label .*x.tif holds .* in 1 of 16 pixels, a usual number for no data"
    ):
        _read(path, "regression")
    assert _first_row(_read(path, "regression", nodata=float(np.float32(value)))) == [-1, -40, 3000.5, 0]
    assert _first_row(_read(path, "regression", nodata=float("nan")))[0] == np.float32(value)


def test_labels_where_the_image_shows_nothing_are_left_out(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(1, 2, 1))
    image = _image()
    image.raster.valid[0, :2] = False
    assert _first_row(_read(path, image=image)) == [-1, -1, 1, 0]
    image.raster.valid[:] = False
    with pytest.raises(SampleError, match="x: the image has no data wherever the label .*x.tif has one .16 pixels"):
        _read(path, image=image)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_label_that_only_points_locate_does_not_lie_on_a_grid(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    points = [GroundControlPoint(row, column, 12 + column, 45 - row) for row in (0, 4) for column in (0, 4)]
    path = write_tif(tmp_path / "x.tif", _plane(0, 1), transform=None, gcps=points, crs="EPSG:4326")
    with pytest.raises(
        SampleError, match="x: only ground control points say .* label .*x.tif lie, but the image has a"
    ):
        _read(path)
    assert _first_row(_read(path, image=_image(transform=None))) == [0, 1, 0, 0]


def test_a_label_of_another_place_without_crs_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(0, 1), crs=None, corner=(700000.0, 6000000.0))
    with pytest.raises(SampleError, match="they show different ground. It states no CRS; its transform counts"):
        _read(path)


def test_a_label_without_any_label_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """A batch of nothing but ignored pixels has the loss NaN."""
    path = write_tif(tmp_path / "x.tif", np.full((1, 4, 4), -1, dtype=np.int16))
    for task in ("segmentation", "regression"):
        with pytest.raises(SampleError, match="x: the label .*x.tif holds no label: all pixels are no-data or listed"):
            _read(path, task)


def test_broken_label_files(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    two = write_tif(tmp_path / "two.tif", np.zeros((2, 4, 4), dtype=np.uint8))
    with pytest.raises(SampleError, match="label .*two.tif cannot be used: it has 2 layers, expected one. Set layer"):
        _read(two)
    noise = np.random.default_rng(0).integers(0, 3, (1, 300, 300), dtype=np.uint8)
    whole = write_tif(tmp_path / "whole.tif", noise).read_bytes()
    for name, content in (("half.tif", whole[: len(whole) // 2]), ("zero.tif", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SampleError, match=f"The label .*{name} cannot be read: .*may be truncated"):
            _read(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corner": (500010.0, 5000000.0)}, r"covers \(500010.0, .* they show different ground"),
        ({"size": 20.0}, "they show different ground"),
        ({"crs": "EPSG:32633"}, "x: the label .*x.tif has another CRS than the image"),
    ],
)
def test_a_label_on_another_grid_is_refused(
    write_tif: Callable[..., Path], tmp_path: Path, options: dict[str, object], message: str
) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(0, 1), **options)
    with pytest.raises(SampleError, match=message):
        _read(path)


def test_a_label_whose_rows_run_the_other_way_is_turned_to_the_image(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    values = np.arange(16, dtype=np.uint8).reshape(1, 4, 4) % 2
    values[0, 0] = 1
    south_up = Affine(10, 0, 500000, 0, 10, 4999960)
    path = write_tif(tmp_path / "x.tif", values, transform=south_up)
    label = _read(path)
    assert isinstance(label, Raster)
    assert label.pixels[0].tolist() == values[0, ::-1].tolist()
    assert label.bounds == (500000, 4999960, 500040, 5000000)
    assert label.transform is not None
    assert label.transform.e < 0


def test_a_label_of_another_size_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", np.zeros((1, 4, 5), dtype=np.uint8))
    with pytest.raises(
        SampleError, match=r"x: the label .*x.tif has \(4, 5\) pixels, the image 4 x 4 .height x width."
    ):
        _read(path)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_label_without_georeference_takes_that_of_the_image(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "x.tif", _plane(0, 1), crs=None, transform=Affine.identity())
    label = _read(path)
    assert (label.transform, label.crs) == (_image().raster.transform, UTM32)
    located = write_tif(tmp_path / "y.tif", _plane(0, 1))
    assert _read(located, image=_image(transform=None)).transform == Affine(10, 0, 500000, 0, -10, 5000000)


@pytest.mark.parametrize(
    ("value", "task", "source", "expected"),
    [
        (2, "classification", {}, 2),
        (2.0, "classification", {}, 2),
        (11, "classification", {"remap": {11: 1}}, 1),
        (7, "classification", {"classes": None}, 7),
        (2.5, "regression", {}, 2.5),
        (-40, "regression", {"classes": None}, -40.0),
    ],
)
def test_scalars(value: float, task: str, source: dict[str, object], expected: float) -> None:
    found = read_label(Record("x", {}, label=_stated(value)), LabelSource(**({"classes": 3} | source)), task, _image())  # type: ignore[arg-type]
    assert found == expected
    assert isinstance(found, float if task == "regression" else int)


@pytest.mark.parametrize(
    ("value", "task", "source", "message"),
    [
        (3, "classification", {}, "x: the label is 3, expected a class 0..2"),
        (-1, "classification", {}, "x: the label is -1, expected a class 0..2"),
        (1.5, "classification", {}, "x: the label is 1.5, expected a class 0..2"),
        (2, "classification", {"remap": {11: 1}}, r"x: the label is 2, expected a class 0..2, after remap of \[11\]"),
        (float("nan"), "regression", {}, "x: the label is nan, expected a number"),
        (float("inf"), "classification", {}, "x: the label is inf, expected a number"),
        (-9999, "regression", {}, "x: the label is -9999, a usual number for no data.*nodata: .nan"),
        (1, "segmentation", {}, "x: segmentation needs a label raster, got 1"),
        (Path("x.tif"), "classification", {}, "x: classification needs one class per sample, got the raster x.tif"),
    ],
)
def test_wrong_scalars_are_refused(value: float | Path, task: str, source: dict[str, object], message: str) -> None:
    with pytest.raises(SampleError, match=message):
        read_label(Record("x", {}, label=_stated(value)), LabelSource(**({"classes": 3} | source)), task, _image())  # type: ignore[arg-type]


def test_a_label_within_an_archive_is_read_by_gdal_and_an_array_there_is_refused(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    write_tif(tmp_path / "l.tif", _plane(1, 2))
    np.save(tmp_path / "l.npy", np.zeros((4, 4)))
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.write(tmp_path / "l.tif", "l.tif")
        archive.write(tmp_path / "l.npy", "l.npy")
    source = LabelSource("{id}.tif", classes=3)
    inside = [Record("x", {}, label=Href(f"/vsizip/{tmp_path}/l.zip/l.{kind}")) for kind in ("tif", "npy")]
    found = read_label(inside[0], source, "segmentation", None)
    assert isinstance(found, Raster)
    assert _first_row(found) == [1, 2, 0, 0]
    with pytest.raises(SampleError, match="The label /vsizip/.*l.npy cannot be read"):
        read_label(inside[1], source, "segmentation", None)
