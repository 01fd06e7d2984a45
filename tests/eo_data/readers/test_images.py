"""Units, dates and frames of one modality, and every sample-level fault with its message."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
from affine import Affine
from small_files import constant_bands, hrefs

from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.raster.sample import SampleError
from eo_data.readers.images import ImageReader
from eo_data.sensors.units import InputUnit
from eo_data.temporal.frame_policy import FramePolicy


def _reader(frames: FramePolicy | None = None, index: dict[str, date] | None = None, **options: object) -> ImageReader:
    defaults = {"bands": ["B2", "B3"], "sensor": "sentinel2_l2a", "unit": "digital_number"}
    return ImageReader("S2", ImageSource(**(defaults | options)), frames, index or {})  # type: ignore[arg-type]


def _record(*paths: Path, **fields: object) -> Record:
    return Record("x", {"S2": hrefs(*paths)}, **fields)  # type: ignore[arg-type]


# Units


def test_digital_numbers_become_reflectance_once(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"))
    image = _reader().read(_record(path))
    assert image.raster.pixels[:, 0, 0] == pytest.approx([0.12, 0.3])
    assert (image.unit, image.bands, image.pixel_size) == (InputUnit.REFLECTANCE, ("B2", "B3"), 10)
    assert _reader(offset=-1000).read(_record(path)).raster.pixels[:, 0, 0] == pytest.approx([0.02, 0.2])


@pytest.mark.parametrize(
    ("name", "tags", "expected"),
    [
        ("S2A_MSIL2A_20220301T101010_N0400_R022_T32TMT_20220301T120000.tif", {}, 0.02),
        ("S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif", {}, 0.12),
        ("chip.tif", {"PROCESSING_BASELINE": "05.10"}, 0.02),
        ("chip.tif", {"BOA_ADD_OFFSET_B2": "-1000"}, 0.02),
    ],
)
def test_the_offset_comes_from_the_product(
    write_tif: Callable[..., Path], tmp_path: Path, name: str, tags: dict[str, str], expected: float
) -> None:
    path = write_tif(tmp_path / name, constant_bands(1200, 3000), ("B2", "B3"), tags=tags)
    image = _reader(offset="auto").read(_record(path))
    assert image.raster.pixels[0, 0, 0] == pytest.approx(expected)
    assert any("digital number offset" in note for note in image.notes)


def test_an_unknown_offset_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"))
    with pytest.raises(
        SampleError, match="offset of .*a.tif cannot be told from its name or metadata. State offset: -1"
    ):
        _reader(offset="auto").read(_record(path))
    named = tmp_path / "S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif"
    write_tif(named, constant_bands(1200, 3000), ("B2", "B3"), tags={"BOA_ADD_OFFSET_B2": "-1000"})
    with pytest.raises(SampleError, match="The offset of a Sentinel-2 product is contradictory"):
        _reader(offset="auto").read(_record(named))


def test_a_series_over_the_change_of_baseline_gets_an_offset_per_frame(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    names = (
        "S2A_MSIL2A_20220301T101010_N0400_R022_T32TMT_20220301T120000.tif",
        "S2A_MSIL2A_20210301T101010_N0214_R022_T32TMT_20210301T120000.tif",
    )
    paths = [
        write_tif(tmp_path / n, constant_bands(v, v), ("B2", "B3")) for n, v in zip(names, (2500, 1500), strict=True)
    ]
    image = _reader(FramePolicy(), offset="auto").read(_record(*paths))
    assert image.dates == (date(2021, 3, 1), date(2022, 3, 1))
    assert image.raster.pixels[:, 0, 0, 0] == pytest.approx([0.15, 0.15])


@pytest.mark.parametrize(
    ("pixels", "options", "message"),
    [
        (
            constant_bands(1200, 3000),
            {"unit": "reflectance"},
            "S2 .*a.tif. is declared as reflectance.* look like digital_number",
        ),
        (
            constant_bands(0.1, 0.3, dtype="float32"),
            {},
            "is declared as digital_number, but its values look like reflectance",
        ),
        (constant_bands(1200, 3000), {"target_unit": "kelvin", "unit": "reflectance"}, "look like digital_number"),
        (
            constant_bands(0.1, 0.3, dtype="float32"),
            {"target_unit": "decibel", "unit": "reflectance"},
            "cannot be converted",
        ),
    ],
)
def test_units_that_the_values_contradict_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, pixels: np.ndarray, options: dict[str, object], message: str
) -> None:
    path = write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"))
    with pytest.raises(SampleError, match=message):
        _reader(**options).read(_record(path))


def test_bands_of_different_units_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B4", "B10"), size=30)
    reader = _reader(bands=["B4", "B10"], sensor="landsat8")
    with pytest.raises(SampleError, match="'S2' mixes bands of different units .K, reflectance.. Make them modalities"):
        reader.read(_record(path))
    assert _reader(bands=["B4", "B10"], sensor="landsat8", unit="native").read(_record(path)).unit is InputUnit.NATIVE


# Missing values


def test_nan_in_one_band_poisons_nothing_else(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    pixels = constant_bands(0.1, 0.2, dtype="float32")
    pixels[0, 0, 0] = np.nan
    pixels[1, 0, 1] = np.inf
    pixels[:, 0, 2] = -np.inf
    image = _reader(unit="reflectance").read(_record(write_tif(tmp_path / "a.tif", pixels, ("B2", "B3"))))
    assert np.argwhere(np.isnan(image.raster.pixels)).tolist() == [[0, 0, 0], [0, 0, 2], [1, 0, 1], [1, 0, 2]]
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 2]]
    assert image.raster.pixels[1, 0, 0] == np.float32(0.2)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_an_image_of_no_data_is_refused(write_tif: Callable[..., Path], tmp_path: Path, value: float) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(value, value, dtype="float32"), ("B2", "B3"), nodata=0)
    with pytest.raises(SampleError, match="'S2' .*a.tif. has no valid pixel: all are no-data or NaN"):
        _reader(unit="reflectance").read(_record(path))


def test_an_acquisition_of_no_data_is_not_observed(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    empty = write_tif(tmp_path / "20210101.tif", constant_bands(0, 0), ("B2", "B3"), nodata=0)
    full = write_tif(tmp_path / "20210102.tif", constant_bands(5, 6), ("B2", "B3"), nodata=0)
    image = _reader(FramePolicy()).read(_record(empty, full))
    assert image.observed.tolist() == [False, True]
    assert image.raster.valid.any(axis=(1, 2)).tolist() == [False, True]


# Georeference


def test_pixels_of_another_size_than_the_encoder_is_told_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1200, 3000), ("B2", "B3"), size=20)
    with pytest.raises(SampleError, match="'S2' has pixels of 20 m, but its bands have a GSD of 10 m.* pixel_size: 20"):
        _reader().read(_record(path))
    assert _reader(pixel_size=20).read(_record(path)).pixel_size == 20
    # Pixels in degrees are 10 m high, whatever their width at this latitude.
    degrees = Affine(8.983e-5, 0, 10, 0, -8.983e-5, 60)
    path = write_tif(tmp_path / "b.tif", constant_bands(1200, 3000), ("B2", "B3"), crs="EPSG:4326", transform=degrees)
    assert _reader().read(_record(path)).pixel_size == 10
    # No CRS, no size: that of the bands.
    path = write_tif(tmp_path / "c.tif", constant_bands(1200, 3000), ("B2", "B3"), crs=None)
    assert _reader().read(_record(path)).pixel_size == 10


def test_an_unknown_pixel_size_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 3), ("x", "y"), crs=None)
    with pytest.raises(SampleError, match="The pixel size of 'S2' is not known. Set pixel_size .metres. or sensor"):
        _reader(sensor=None, bands=["x", "y"], unit="native").read(_record(path))


def test_a_transform_that_is_no_place_is_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "a.tif", constant_bands(1, 3), ("B2", "B3"), crs="EPSG:4326")
    with pytest.raises(SampleError, match="'S2': .* is no place in 'WGS 84'"):
        _reader().read(_record(path))


# Dates


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("S2_20200229.tif", {}, "name"),
        ("S2.tif", {"tags": {"DATE_ACQUIRED": "2020-02-29"}}, "tags"),
        ("S2_v1.tif", {"fallback_date": "2020-02-29"}, "fallback"),
        ("d29_02_2020.tif", {"date_pattern": r"d(?P<date>\d\d_\d\d_\d{4})", "date_format": "%d_%m_%Y"}, "pattern"),
    ],
)
def test_the_source_of_a_date_stays_with_it(
    write_tif: Callable[..., Path], tmp_path: Path, name: str, options: dict[str, object], expected: str
) -> None:
    tags = options.get("tags", {})
    path = write_tif(tmp_path / name, constant_bands(1, 2), ("B2", "B3"), tags=tags)
    image = _reader(dated=True, **{k: v for k, v in options.items() if k != "tags"}).read(_record(path))
    assert (image.dates, image.date_sources) == ((date(2020, 2, 29),), (expected,))


def test_a_date_pattern_sees_the_folders_below_the_root_only(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "download_19990101"
    path = write_tif(root / "2020" / "060" / "S2.tif", constant_bands(1, 2), ("B2", "B3"))
    source = _reader(dated=True, date_pattern=r"(?P<year>\d{4})/(?P<doy>\d{3})").source
    image = ImageReader("S2", source, None, {}, root).read(_record(path))
    assert image.dates == (date(2020, 2, 29),)
    source = _reader(dated=True, date_pattern=r"(?P<date>\d{8})").source
    with pytest.raises(SampleError, match="No acquisition date for '2020/060/S2.tif'"):
        ImageReader("S2", source, None, {}, root).read(_record(path))


def test_an_index_dates_samples_and_files(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "S2_20200101.tif", constant_bands(1, 2), ("B2", "B3"))
    for key in ("x", "S2_20200101.tif", "S2_20200101"):
        image = _reader(index={key: date(2021, 5, 6)}, dated=True).read(_record(path))
        assert (image.dates, image.date_sources) == ((date(2021, 5, 6),), ("index",)), key
    image = _reader(dated=True).read(_record(path, dates={"S2": (date(2022, 5, 6),)}))
    assert (image.dates, image.date_sources) == ((date(2022, 5, 6),), ("index",))


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("S2.tif", {}, "x: 'S2': No acquisition date for 'S2.tif'. Tried: index .not given.; .*fallback .not given."),
        (
            "S2A_MSIL2A_20210230T101010_N0214_R022_T32TMT_20210301T120000.tif",
            {},
            "x: 'S2': The product name .* holds an impossible date",
        ),
        ("S2_20210101_20210109.tif", {}, "x: 'S2': The name .* holds several dates"),
        ("S2.tif", {"dates": {"S2": (date(2020, 1, 1),) * 2}}, "x: 'S2' has 1 frames but 2 dates"),
    ],
)
def test_missing_and_impossible_dates_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, name: str, fields: dict[str, object], message: str
) -> None:
    path = write_tif(tmp_path / name, constant_bands(1, 2), ("B2", "B3"))
    with pytest.raises(SampleError, match=message):
        _reader(dated=True).read(_record(path, **fields))
    # Nobody asks for a date that no encoder needs.
    assert _reader().read(_record(path)).dates == ()


def test_a_cube_without_time_needs_a_date_from_elsewhere(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = {band: (("y", "x"), np.full((4, 4), 700, dtype=np.int16)) for band in ("B2", "B3")}
    path = write_cube(tmp_path / "cube.nc", data, pixel_centres(4))
    with pytest.raises(SampleError, match="x: 'S2': No acquisition date for 'cube.nc'"):
        _reader(FramePolicy()).read(_record(path))
    image = _reader(FramePolicy(), fallback_date="2020-01-01").read(_record(path))
    assert (image.raster.pixels.shape, image.date_sources) == ((1, 2, 4, 4), ("fallback",))


def test_frames_and_names_of_an_hdf5_must_be_as_many(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"], file["names"] = np.full((3, 2, 4, 4), 500), [b"S2A_20200101", b"S2B_20200106"]
    reader = _reader(FramePolicy(), dataset="s2", products="names", file_bands=["B2", "B3"])
    with pytest.raises(SampleError, match="x: 'S2' has 3 frames and 2 names to take dates from. State the dates"):
        reader.read(_record(tmp_path / "a.h5"))
    dated = {"x": [date(2020, 1, 3), date(2020, 1, 1), date(2020, 1, 2)]}
    assert _reader(
        FramePolicy(),
        dated,
        dataset="s2",
        file_bands=["B2", "B3"],  # type: ignore[arg-type]
    ).read(_record(tmp_path / "a.h5")).dates == (date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3))
    short = {"x": [date(2020, 1, 3)]}
    with pytest.raises(SampleError, match="x: 'S2' has 3 frames but 1 dates in the index"):
        _reader(FramePolicy(), short, dataset="s2", file_bands=["B2", "B3"]).read(  # type: ignore[arg-type]
            _record(tmp_path / "a.h5")
        )


def test_dates_of_a_sample_go_by_the_order_of_its_files_and_must_not_contradict_their_names(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    names = ("S2_20210101.tif", "S2_20210301.tif", "S2_c.tif")
    paths = [write_tif(tmp_path / name, constant_bands(i, i), ("B2", "B3")) for i, name in enumerate(names, start=1)]
    days = [date(2021, 1, 1), date(2021, 3, 1), date(2020, 7, 1)]
    for key in ("x", "dates"):  # a lone series has no id
        image = _reader(FramePolicy(), {key: days}).read(_record(*paths))  # type: ignore[dict-item]
        assert image.dates == (date(2020, 7, 1), date(2021, 1, 1), date(2021, 3, 1))
        assert (image.raster.pixels[:, 0, 0, 0] * 1e4).tolist() == pytest.approx([3, 1, 2])
    swapped = {"x": [days[1], days[0], days[2]]}
    with pytest.raises(
        SampleError, match="x: the index gives 2021-03-01 to 'S2_20210101.tif', whose name says 2021-01"
    ):
        _reader(FramePolicy(), swapped).read(_record(*paths))  # type: ignore[arg-type]


# Series


def test_several_files_for_one_chip_are_refused(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"S2_2021010{i}.tif", constant_bands(1, 2), ("B2", "B3")) for i in (1, 2)]
    with pytest.raises(
        SampleError, match="x: 'S2' has 2 frames .S2_20210101.tif, S2_20210102.tif.. Read series with T"
    ):
        _reader().read(_record(*paths))


@pytest.mark.parametrize(
    "other", [{"size": 20}, {"corner": (500010.0, 5000000.0)}, {"crs": "EPSG:32633"}, {"side": 5}, {"size": 10.01}]
)
def test_frames_on_different_grids_are_refused(
    write_tif: Callable[..., Path], tmp_path: Path, other: dict[str, object]
) -> None:
    side = other.pop("side", 4)
    one = write_tif(tmp_path / "S2_20210101.tif", constant_bands(1, 2), ("B2", "B3"))
    two = write_tif(tmp_path / "S2_20210102.tif", constant_bands(1, 2, side=int(str(side))), ("B2", "B3"), **other)
    with pytest.raises(SampleError, match="S2_20210102.tif .* lies on another grid than .*S2_20210101.tif .*warp them"):
        _reader(FramePolicy(), pixel_size=10).read(_record(one, two))


def test_rounding_makes_no_other_grid(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    one = write_tif(tmp_path / "S2_20210101.tif", constant_bands(1, 2), ("B2", "B3"))
    two = write_tif(
        tmp_path / "S2_20210102.tif", constant_bands(1, 2), ("B2", "B3"), corner=(500000.0 + 1e-6, 5000000.0)
    )
    assert _reader(FramePolicy()).read(_record(one, two)).raster.pixels.shape == (2, 2, 4, 4)


def test_several_cubes_of_one_sample_are_refused(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    coordinates = pixel_centres(4) | {"t": np.array(["2020-01-01"], dtype="datetime64[ns]")}
    data = {band: (("t", "y", "x"), np.full((1, 4, 4), 700, dtype=np.int16)) for band in ("B2", "B3")}
    paths = [write_cube(tmp_path / f"{i}.nc", data, coordinates) for i in (1, 2)]
    with pytest.raises(SampleError, match="1.nc is a cube of 1 frames; expected one cube per sample, got 2 files"):
        _reader(FramePolicy()).read(_record(*paths))


def test_a_cloud_band_works_with_the_names_of_a_sensor_and_is_not_converted(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    paths = []
    for day, scl in ((1, 9), (2, 4)):
        pixels = constant_bands(1000 * day, 2000 * day, 4)
        pixels[2, 0, 0] = scl
        paths.append(write_tif(tmp_path / f"S2_2021010{day}.tif", pixels, ("B2", "B3", "SCL")))
    image = _reader(FramePolicy(), cloud_band="SCL").read(_record(*paths))
    assert image.bands == ("B2", "B3")
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 0, 0]]
    assert np.isnan(image.raster.pixels[0, :, 0, 0]).all()
    assert image.raster.pixels[1, :, 0, 0] == pytest.approx([0.2, 0.4])
    # The layer may be among the bands too.
    image = _reader(FramePolicy(), cloud_band="SCL", sensor=None, bands=["B2", "SCL"], pixel_size=10).read(
        _record(*paths)
    )
    assert np.argwhere(~image.raster.valid).tolist() == [[0, 0, 0]]
    with pytest.raises(SampleError, match="'S2': cloud band 'B3': A layer of kind 'scl' has whole numbers 0..11"):
        _reader(FramePolicy(), cloud_band="B3", bands=["B2"]).read(_record(*paths))


def test_faults_of_the_frames_name_the_modality(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    paths = [write_tif(tmp_path / f"S2_2021010{i}.tif", constant_bands(1, 2), ("B2", "B3")) for i in (1, 2)]
    with pytest.raises(SampleError, match="'S2' .*S2_20210101.tif.: Got 2 acquisitions for 1 frames"):
        _reader(FramePolicy(frames=1)).read(_record(*paths))
