"""Every frame has the date of its own acquisition, known by where it came from, or the sample is refused."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import h5py
import numpy as np
import pytest
from small_files import constant_bands, image_reader, record_of

from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import Record
from eo_data.raster.sample import SampleError
from eo_data.readers.images import ImageReader
from eo_data.temporal.frame_policy import FramePolicy


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
    image = image_reader(dated=True, **{k: v for k, v in options.items() if k != "tags"}).read(record_of(path))
    assert (image.dates, image.date_sources) == ((date(2020, 2, 29),), (expected,))


def test_a_date_pattern_sees_the_folders_below_the_root_only(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    root = tmp_path / "download_19990101"
    path = write_tif(root / "2020" / "060" / "S2.tif", constant_bands(1, 2), ("B2", "B3"))
    source = image_reader(dated=True, date_pattern=r"(?P<year>\d{4})/(?P<doy>\d{3})").source
    image = ImageReader("S2", source, None, {}, root).read(record_of(path))
    assert image.dates == (date(2020, 2, 29),)
    source = image_reader(dated=True, date_pattern=r"(?P<date>\d{8})").source
    with pytest.raises(SampleError, match="No acquisition date for '2020/060/S2.tif'"):
        ImageReader("S2", source, None, {}, root).read(record_of(path))


def test_an_index_dates_samples_and_files(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    path = write_tif(tmp_path / "S2_20200101.tif", constant_bands(1, 2), ("B2", "B3"))
    for key in ("x", "S2_20200101.tif", "S2_20200101"):
        image = image_reader(index={key: date(2021, 5, 6)}, dated=True).read(record_of(path))
        assert (image.dates, image.date_sources) == ((date(2021, 5, 6),), ("index",)), key
    image = image_reader(dated=True).read(record_of(path, dates={"S2": (date(2022, 5, 6),)}))
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
        image_reader(dated=True).read(record_of(path, **fields))
    # Nobody asks for a date that no encoder needs.
    assert image_reader().read(record_of(path)).dates == ()


def test_a_cube_without_time_needs_a_date_from_elsewhere(
    write_cube: Callable[..., Path], pixel_centres: Callable[..., dict[str, np.ndarray]], tmp_path: Path
) -> None:
    data = {band: (("y", "x"), np.full((4, 4), 700, dtype=np.int16)) for band in ("B2", "B3")}
    path = write_cube(tmp_path / "cube.nc", data, pixel_centres(4))
    with pytest.raises(SampleError, match="x: 'S2': No acquisition date for 'cube.nc'"):
        image_reader(FramePolicy()).read(record_of(path))
    image = image_reader(FramePolicy(), fallback_date="2020-01-01").read(record_of(path))
    assert (image.raster.pixels.shape, image.date_sources) == ((1, 2, 4, 4), ("fallback",))


def test_frames_and_names_of_an_hdf5_must_be_as_many(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["s2"], file["names"] = np.full((3, 2, 4, 4), 500), [b"S2A_20200101", b"S2B_20200106"]
    reader = image_reader(FramePolicy(), dataset="s2", products="names", file_bands=["B2", "B3"])
    with pytest.raises(SampleError, match="x: 'S2' has 3 frames and 2 names to take dates from. State the dates"):
        reader.read(record_of(tmp_path / "a.h5"))
    dated = {"x": [date(2020, 1, 3), date(2020, 1, 1), date(2020, 1, 2)]}
    assert image_reader(
        FramePolicy(),
        dated,
        dataset="s2",
        file_bands=["B2", "B3"],  # type: ignore[arg-type]
    ).read(record_of(tmp_path / "a.h5")).dates == (date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3))
    short = {"x": [date(2020, 1, 3)]}
    with pytest.raises(SampleError, match="x: 'S2' has 3 frames but 1 dates in the index"):
        image_reader(FramePolicy(), short, dataset="s2", file_bands=["B2", "B3"]).read(  # type: ignore[arg-type]
            record_of(tmp_path / "a.h5")
        )


def test_dates_of_a_sample_go_by_the_order_of_its_files_and_must_not_contradict_their_names(
    write_tif: Callable[..., Path], tmp_path: Path
) -> None:
    names = ("S2_20210101.tif", "S2_20210301.tif", "S2_c.tif")
    paths = [write_tif(tmp_path / name, constant_bands(i, i), ("B2", "B3")) for i, name in enumerate(names, start=1)]
    days = [date(2021, 1, 1), date(2021, 3, 1), date(2020, 7, 1)]
    for key in ("x", "dates"):  # a lone series has no id
        image = image_reader(FramePolicy(), {key: days}).read(record_of(*paths))  # type: ignore[dict-item]
        assert image.dates == (date(2020, 7, 1), date(2021, 1, 1), date(2021, 3, 1))
        assert (image.raster.pixels[:, 0, 0, 0] * 1e4).tolist() == pytest.approx([3, 1, 2])
    swapped = {"x": [days[1], days[0], days[2]]}
    with pytest.raises(
        SampleError, match="x: the index gives 2021-03-01 to 'S2_20210101.tif', whose name says 2021-01"
    ):
        image_reader(FramePolicy(), swapped).read(record_of(*paths))  # type: ignore[arg-type]


def test_the_date_of_a_file_in_an_archive_is_in_its_own_name(write_tif: Callable[..., Path], tmp_path: Path) -> None:
    """The archive may be named after the day of the download."""
    inside = write_tif(tmp_path / "S2_20200229.tif", constant_bands(1, 2), ("B2", "B3"))
    with zipfile.ZipFile(tmp_path / "download_19990101.zip", "w") as archive:
        archive.write(inside, "S2_20200229.tif")
    href = Href(f"/vsizip/{tmp_path}/download_19990101.zip/S2_20200229.tif")
    image = image_reader(dated=True).read(Record("x", {"S2": (href,)}))
    assert (image.dates, image.date_sources) == ((date(2020, 2, 29),), ("name",))
    assert image.paths == (str(href),)
