"""Where the samples of a swath come to lie: compared with pyproj, sample by sample."""

from __future__ import annotations

import numpy as np
import pyproj
import pytest
from affine import Affine
from small_sentinel3 import swath

from eo_data.catalog.sources import ImageSource
from eo_data.raster.georeference import PixelGrid
from eo_data.readers.formats.facts import BandFacts, FileFacts, Part
from eo_data.readers.products.sentinel3.swath import Swath, SwathLayer, note_on_place, swath_grids

SHAPE, SIZE = (60, 70), 300.0


def _source(**stated: object) -> ImageSource:
    return ImageSource(bands=["a"], **stated)  # type: ignore[arg-type]


def _layer(values: np.ndarray, centre: tuple[float, float] = (9.0, 48.0), **stated: object) -> SwathLayer:
    longitude, latitude = swath(*values.shape, SIZE, centre)
    source = _source(**stated) if stated else None
    (grid,) = swath_grids([(longitude, latitude)], [SIZE], source)
    own = Swath(longitude, latitude, str(grid.crs))
    facts = FileFacts("swath", grid, (BandFacts("a"),))
    return SwathLayer(facts, own, lambda _, samples: samples.of(lambda *part: values[part])[None])


def _whole(grid: PixelGrid) -> Part:
    return Part(0, 0, grid.height, grid.width)


def _transform(grid: PixelGrid) -> Affine:
    assert grid.transform is not None
    return grid.transform


def _places(pixels: np.ndarray, grid: PixelGrid, value: float) -> np.ndarray:
    """Map coordinates of the centres of all pixels with a value."""
    rows, columns = np.nonzero(pixels == value)
    t = _transform(grid)
    return np.stack([t.c + t.a * (columns + 0.5), t.f + t.e * (rows + 0.5)])


@pytest.mark.parametrize(("row", "column"), [(0, 0), (7, 60), (31, 33), (59, 69)])
@pytest.mark.parametrize("stated", [{}, {"resample_to": 100.0}, {"crs": "EPSG:3035"}])
def test_a_painted_sample_is_not_shifted_or_turned(row: int, column: int, stated: dict[str, object]) -> None:
    values = np.zeros(SHAPE, np.float32)
    rows, columns = slice(max(row - 2, 0), row + 3), slice(max(column - 2, 0), column + 3)
    values[rows, columns] = 1
    layer = _layer(values, **stated)
    grid = layer.facts.grid
    pixels = layer.stored([0], _whole(grid))[0]
    longitude, latitude = swath(*SHAPE, SIZE)
    to_map = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True)
    true = np.array(to_map.transform(longitude[rows, columns], latitude[rows, columns])).reshape(2, -1).mean(axis=1)
    off = np.abs(_places(pixels, grid, 1).mean(axis=1) - true)
    assert (off < SIZE / 2).all(), off
    area = np.count_nonzero(pixels == 1) * _transform(grid).a ** 2
    assert area == pytest.approx(values.sum() * SIZE**2, rel=0.25)


def test_each_pixel_has_the_nearest_sample_and_none_beyond_the_edge() -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    layer = _layer(values)
    grid = layer.facts.grid
    pixels = layer.stored([0], _whole(grid))[0]
    x, y = pyproj.Transformer.from_crs("EPSG:4326", grid.crs, always_xy=True).transform(*swath(*SHAPE, SIZE))
    columns, rows = np.meshgrid(np.arange(grid.width) + 0.5, np.arange(grid.height) + 0.5)
    left, top = _transform(grid).c, _transform(grid).f
    own = left + SIZE * columns[..., None], top - SIZE * rows[..., None]
    distances = np.hypot(own[0] - x.ravel(), own[1] - y.ravel())
    there = np.isfinite(pixels)
    assert (pixels[there] == distances.argmin(axis=-1)[there]).all()
    assert (distances.min(axis=-1)[~there] > 0.49 * SIZE).all()
    # All of the ground is there, but for the rounding of its outline.
    assert there.sum() == pytest.approx(values.size, rel=0.02)


def test_a_window_is_the_same_part_of_the_whole() -> None:
    values = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    layer = _layer(values)
    whole = layer.stored([0], _whole(layer.facts.grid))[0]
    assert np.isfinite(whole).any()
    for part in (Part(0, 0, 9, 11), Part(20, 30, 1, 1), Part(33, 5, 20, 40)):
        own = layer.stored([0], part)[0]
        expected = whole[part.top : part.top + part.height, part.left : part.left + part.width]
        np.testing.assert_array_equal(own, expected)


def test_a_window_far_from_the_corner_of_a_large_swath_has_its_own_samples() -> None:
    values = np.arange(200 * 220, dtype=np.float32).reshape(200, 220)
    layer = _layer(values)
    whole = layer.stored([0], _whole(layer.facts.grid))[0]
    part = Part(170, 150, 10, 12)
    own = layer.stored([0], part)[0]
    assert np.isfinite(own).all()
    np.testing.assert_array_equal(own, whole[170:180, 150:162])


def test_edges_without_a_place_do_not_cut_the_samples_inside() -> None:
    longitude, latitude = swath(*SHAPE, SIZE)
    latitude[[0, 1, -1, -2]] = longitude[:, [0, 1, 2, -1]] = np.nan
    (grid,) = swath_grids([(longitude, latitude)], [SIZE], None)
    own = Swath(longitude, latitude, str(grid.crs))
    samples = own.nearest(grid, _whole(grid))
    assert samples.there.sum() == pytest.approx(56 * 66, rel=0.03)
    assert {*samples.rows} == {*range(2, 58)}
    assert {*samples.columns} == {*range(3, 69)}


def test_samples_without_a_place_leave_a_gap_instead_of_a_neighbour_far_away() -> None:
    longitude, latitude = swath(*SHAPE, SIZE)
    latitude[20:40, 20:40] = np.nan
    (grid,) = swath_grids([(longitude, latitude)], [SIZE], None)
    own = Swath(longitude, latitude, str(grid.crs))
    samples = own.nearest(grid, _whole(grid))
    lost = (samples.rows >= 20) & (samples.rows < 40) & (samples.columns >= 20) & (samples.columns < 40)
    assert not lost.any()
    assert samples.there.sum() == pytest.approx(np.prod(SHAPE) - 400, rel=0.03)


@pytest.mark.parametrize(
    ("centre", "code"),
    [
        ((9.0, 48.0), 32632),
        ((-70.2, -33.0), 32719),
        ((179.99, 10.0), 32660),
        ((-179.99, 10.0), 32601),
        ((20.0, 86.0), 5041),
        ((20.0, -85.0), 5042),
    ],
)
def test_the_local_map_is_that_of_the_centre_also_at_the_date_line_and_the_poles(
    centre: tuple[float, float], code: int
) -> None:
    layer = _layer(np.ones(SHAPE, np.float32), centre)
    grid = layer.facts.grid
    assert pyproj.CRS.from_wkt(str(grid.crs)).to_epsg() == code
    assert max(grid.height, grid.width) < 2 * max(SHAPE)
    assert _transform(grid).c % SIZE == _transform(grid).f % SIZE == 0
    assert np.isfinite(layer.stored([0], _whole(grid))).sum() == pytest.approx(np.prod(SHAPE), rel=0.05)


def test_two_swaths_over_one_ground_have_the_same_corners() -> None:
    places = [swath(60, 80, 500.0), swath(30, 40, 1000.0)]
    fine, coarse = swath_grids(places, [500.0, 1000.0], None)
    assert (fine.height, fine.width) == (2 * coarse.height, 2 * coarse.width)
    assert (_transform(fine).c, _transform(fine).f) == (_transform(coarse).c, _transform(coarse).f)
    assert (_transform(fine).a, _transform(coarse).a) == (500, 1000)
    same = swath_grids(places, [500.0, 1000.0], _source(resample_to=480.0))
    assert same[0] == same[1]
    larger = swath_grids(places, [500.0, 1000.0], _source(resample_to=960.0))[1]
    assert (larger.height * 2, larger.width * 2) == (same[0].height, same[0].width)
    assert (_transform(larger).c, _transform(larger).f) == (_transform(same[0]).c, _transform(same[0]).f)


def test_larger_pixels_than_samples_are_left_to_the_resampling_that_the_config_states() -> None:
    (grid,) = swath_grids([swath(60, 80, 300.0)], [300.0], _source(resample_to=960.0))
    assert _transform(grid).a == 300


def test_a_map_in_degrees_has_the_stated_size_of_pixels() -> None:
    layer = _layer(np.ones(SHAPE, np.float32), crs="EPSG:4326", resample_to=0.002)
    assert _transform(layer.facts.grid).a == 0.002
    area = np.isfinite(layer.stored([0], _whole(layer.facts.grid))).sum() * (0.002 * 111.2e3) ** 2
    assert area * np.cos(np.radians(48)) == pytest.approx(np.prod(SHAPE) * SIZE**2, rel=0.03)


def test_the_note_says_how_far_the_map_is_off_at_the_edge_of_a_wide_swath() -> None:
    wide = swath(20, 1270, 1000.0)
    (grid,) = swath_grids([wide], [1000.0], None)
    own = Swath(*wide, str(grid.crs))
    # Of a transverse Mercator projection of the sphere, k = 0.9996 cosh(x / R) at x from the central meridian.
    x = max(abs(_transform(grid).c - 5e5), abs(_transform(grid).c + 1000 * grid.width - 5e5)) - 1500
    expected = 0.9996 * np.cosh(x / 6.38e6 / 0.9996) - 1
    assert own.stretch == pytest.approx(expected, rel=0.02)
    assert f"off by up to {100 * expected:.1f} %" in note_on_place(own)


def test_bad_geolocation_is_refused() -> None:
    longitude, latitude = swath(20, 20, 300.0)
    with pytest.raises(ValueError, match="no sample of its swath has a latitude"):
        swath_grids([(longitude, np.full_like(latitude, np.nan))], [300.0], None)
    with pytest.raises(ValueError, match="not those of one swath"):
        swath_grids([(longitude[:5], latitude)], [300.0], None)
    with pytest.raises(ValueError, match="State resample_to, in degrees"):
        swath_grids([(longitude, latitude)], [300.0], _source(crs="EPSG:4326"))
    with pytest.raises(ValueError, match="crs 'EPSG:1' cannot be read"):
        swath_grids([(longitude, latitude)], [300.0], _source(crs="EPSG:1"))
    across = swath(20, 20, 300.0, (180.0, 0.0))
    with pytest.raises(ValueError, match="reaches over the date line"):
        swath_grids([across], [300.0], _source(crs="EPSG:4326", resample_to=0.003))
