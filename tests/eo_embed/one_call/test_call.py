"""One call with files and arrays: the same numbers however the pixels come, and an error with the line to add."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
from range_server import range_server
from small_scenes import CORNER, S2_BANDS, numbers, write_scene

import eo_embed
from eo_data.raster.raster import scaled
from eo_data.raster.remote.memory import known_files
from eo_embed import embed, open_embeddings
from eo_embed.one_call.encoders import BuiltEncoder

TINY: dict[str, Any] = {"pretrained": False, "device": "cpu"}


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    return write_scene(tmp_path / "S2A_MSIL2A_20190918_scene.tif", numbers(), ACQUISITION_DATE="2019-09-18")


def test_a_file_an_array_a_tensor_and_xarray_give_the_same_numbers(scene: Path) -> None:
    of_file = embed("thor_v1_tiny", scene, **TINY)
    stated = {"bands": S2_BANDS, "unit": "reflectance", "pixel_size": 10, **TINY}
    reflectance = numbers().astype(np.float32) * np.float32(1e-4)
    cube = xr.DataArray(
        reflectance,
        {"band": list(S2_BANDS), "y": 4_999_835.0 - 10 * np.arange(64), "x": 500_005.0 + 10 * np.arange(64)},
        ("band", "y", "x"),
        attrs={"units": "reflectance"},
    )
    cube = cube.assign_coords(spatial_ref=xr.DataArray(0, attrs={"crs_wkt": rasterio.CRS.from_epsg(32632).to_wkt()}))
    others = [
        embed("thor_v1_tiny", reflectance, **stated),
        embed("thor_v1_tiny", torch.from_numpy(reflectance), **stated),
        embed("thor_v1_tiny", numbers(), **{**stated, "unit": "digital_number", "offset": 0}),
        embed("thor_v1_tiny", cube, sensor="sentinel2_l2a", **TINY),
        embed("thor_v1_tiny", cube.transpose("y", "x", "band"), sensor="sentinel2_l2a", **TINY),
    ]
    for other in others:
        np.testing.assert_allclose(other.vector, of_file.vector, atol=2e-6)
        np.testing.assert_allclose(other.grid.to_numpy(), of_file.grid.to_numpy(), atol=2e-5)
    placed = others[-1]
    assert placed.transform == of_file.transform
    assert rasterio.CRS.from_wkt(placed.crs) == rasterio.CRS.from_epsg(32632)


def test_a_file_on_a_server_is_fetched_once_with_a_cache(scene: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with range_server(tmp_path) as server:
        address = f"http://{server.host}/{scene.name}"
        first = embed("thor_v1_tiny", address, remote_cache=cache, **TINY)
        fetched = server.bytes_given
        server.forget()
        known_files().forget(address)  # as in another process
        second = embed("thor_v1_tiny", address, remote_cache=cache, **TINY)
        assert {stop - start for _, start, stop in server.given} == {1}
    assert fetched < 1.1 * scene.stat().st_size
    of_file = embed("thor_v1_tiny", scene, **TINY)
    np.testing.assert_array_equal(first.vector, of_file.vector)
    np.testing.assert_array_equal(second.vector, of_file.vector)


def test_the_result_has_place_dates_observed_share_and_provenance(scene: Path) -> None:
    found = embed("thor_v1_tiny", scene, **TINY)
    assert found.vector.shape == (192,)
    assert found.grid.shape == (192, 8, 8)
    assert found.grid.attrs["transform"] == scaled(CORNER, 8, 8)
    assert float(found.grid.x[0]) == 500_040.0
    assert found.dates == (date(2019, 9, 18),)
    assert found.valid is not None
    assert (found.valid == 1).all()
    told = json.loads(json.dumps(found.provenance))
    assert told["weights"] == "random"
    assert told["task"]["backbone"] == "thor_v1_tiny"
    assert told["images"]["S2"]["dates"] == ["2019-09-18"]
    assert told["images"]["S2"]["unit"] == "reflectance"
    assert len(told["weights_sha256"]) == 64
    assert str(scene.parent) not in json.dumps(told)


def test_a_saved_embedding_reads_back_as_it_is(scene: Path, tmp_path: Path) -> None:
    found = embed("thor_v1_tiny", scene, **TINY, out=tmp_path / "out")
    export = open_embeddings(tmp_path / "out")
    assert export.pooled is not None
    np.testing.assert_array_equal(export.pooled.embedding[0], found.vector)
    np.testing.assert_array_equal(export.grid(found.id), found.grid)
    assert export.grid(found.id).attrs["transform"] == found.transform
    found.save(tmp_path / "out")  # again: nothing to do


def test_an_array_without_a_place_is_saved_as_arrays(tmp_path: Path) -> None:
    found = embed("thor_v1_tiny", numbers(), bands=S2_BANDS, offset=0, pixel_size=10, **TINY)
    found.save(tmp_path / "out")
    export = open_embeddings(tmp_path / "out")
    np.testing.assert_array_equal(export.grid("array"), found.grid)


def test_a_series_keeps_its_dates_in_order_of_time(tmp_path: Path) -> None:
    files = [write_scene(tmp_path / f"a_{day}.tif", numbers(seed=i)) for i, day in enumerate(("20220611", "20220601"))]
    found = embed("anysat_tiny", files, sensor="sentinel2_l2a", image_size=None, patch_size=80, **TINY)
    assert found.dates == (date(2022, 6, 1), date(2022, 6, 11))
    assert found.grid.shape == (256, 8, 8)
    series = np.stack([numbers(seed=1), numbers(seed=0)]).astype(np.float32) * np.float32(1e-4)
    given = {"bands": S2_BANDS, "unit": "reflectance", "pixel_size": 10, "dates": ["2022-06-01", "2022-06-11"]}
    of_array = embed("anysat_tiny", series, image_size=None, patch_size=80, **given, **TINY)
    np.testing.assert_allclose(of_array.vector, found.vector, atol=1e-5)


def test_universat_embeds_series_single_scenes_and_some_of_the_bands(tmp_path: Path) -> None:
    files = [write_scene(tmp_path / f"a_{day}.tif", numbers(seed=i)) for i, day in enumerate(("20220611", "20220601"))]
    tile = {"normalization": "per_tile_zscore", "patch_size": 80, **TINY}
    found = embed("universat_tiny", files, sensor="sentinel2_l2a", **tile)
    assert found.dates == (date(2022, 6, 1), date(2022, 6, 11))
    assert found.grid.shape == (192, 8, 8)
    of_some = {"bands": ["B2", "B4"], "unit": "reflectance", "pixel_size": 10, "sensor": "sentinel2_l2a"}
    two = numbers()[[0, 2]].astype(np.float32) * np.float32(1e-4)
    fine = embed("universat_tiny", two, dates="2022-06-01", features="dense", cell_metres=40, **of_some, **tile)
    assert fine.grid.shape == (192, 16, 16)
    with pytest.raises(ValueError, match="no published statistics"):
        embed("universat_tiny", two, dates="2022-06-01", **of_some, **TINY)


def test_several_files_become_their_median_for_an_encoder_of_single_images(tmp_path: Path) -> None:
    days = ("20220601", "20220611", "20220621")
    files = [write_scene(tmp_path / f"S2A_MSIL2A_{day}.tif", numbers(seed=i)) for i, day in enumerate(days)]
    found = embed("thor_v1_tiny", files, **TINY)
    median = np.median([numbers(seed=i) for i in range(3)], axis=0).astype(np.float32) * np.float32(1e-4)
    alone = embed("thor_v1_tiny", median, bands=S2_BANDS, unit="reflectance", pixel_size=10, **TINY)
    np.testing.assert_allclose(found.vector, alone.vector, atol=1e-5)
    nearest = embed("thor_v1_tiny", files, frames=["2022-06-12"], **TINY)
    assert nearest.dates == (date(2022, 6, 11),)
    np.testing.assert_allclose(nearest.vector, embed("thor_v1_tiny", files[1], **TINY).vector, atol=1e-6)


def test_missing_pixels_are_not_observed(scene: Path) -> None:
    pixels = numbers().astype(np.float32) * np.float32(1e-4)
    pixels[:, :8, :8] = np.nan
    found = embed("thor_v1_tiny", pixels, bands=S2_BANDS, unit="reflectance", pixel_size=10, **TINY)
    assert found.valid is not None
    assert found.valid[0, 0] == 0
    assert found.valid[1:, 1:].min() == 1
    assert np.isnan(found.grid[:, 0, 0]).all()


def _message(error: type[Exception], *arguments: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        embed(*arguments, **{**TINY, **options})
    return str(caught.value)


def test_what_is_not_known_is_asked_for_with_the_line_to_add(tmp_path: Path) -> None:
    plain = write_scene(tmp_path / "a.tif", numbers(), bands=[""] * 10, scale=None)
    assert "bands=[" in _message(ValueError, "thor_v1_tiny", plain)
    named = write_scene(tmp_path / "b.tif", numbers(), scale=None)
    assert "offset=-1000" in _message(ValueError, "thor_v1_tiny", named)
    ambiguous = write_scene(tmp_path / "c.tif", numbers(3), bands=["BLUE", "GREEN", "RED"])
    assert 'sensor="sentinel2_l2a"' in _message(ValueError, "thor_v1_tiny", ambiguous)
    floats = write_scene(tmp_path / "d.tif", numbers().astype("float32") / 1e4, scale=None)
    assert 'unit="reflectance"' in _message(ValueError, "thor_v1_tiny", floats)
    assert "dates=[" in _message(ValueError, "anysat_tiny", named, offset=0)
    assert "bands=[" in _message(ValueError, "thor_v1_tiny", numbers())
    assert "pixel_size=10" in _message(ValueError, "thor_v1_tiny", numbers(), bands=S2_BANDS, offset=0)
    text = _message(ValueError, "thor_v1_tiny", numbers() / 1e4, bands=S2_BANDS, pixel_size=10)
    assert 'unit="reflectance"' in text
    assert "vsimem" not in text


def test_what_contradicts_itself_is_refused(scene: Path, tmp_path: Path) -> None:
    radar = write_scene(tmp_path / "S1A_IW_20190918.tif", numbers(2), bands=["VV", "VH"], unit="dB")
    assert "several sensors are mixed" in _message(ValueError, "thor_v1_tiny", [scene, radar])
    olci = write_scene(tmp_path / "S3A_OL_1_20190918.tif", numbers(2), bands=["Oa01", "Oa02"])
    assert "of which anysat_tiny reads nothing" in _message(ValueError, "anysat_tiny", olci)
    assert "has no option 'patchsize'. Did you mean 'patch_size'" in _message(
        TypeError, "thor_v1_tiny", scene, patchsize=4
    )
    assert "Did you mean 'thor_v1_tiny'" in _message(ValueError, "thor_v1_tini", scene)
    assert "there is no file" in _message(ValueError, "thor_v1_tiny", tmp_path / "gone.tif").lower()
    assert "source is for places" in _message(ValueError, "thor_v1_tiny", scene, source=tmp_path)
    assert "end after it begins" in _message(
        ValueError, "anysat_tiny", [scene], time=("2022-09-01", "2022-06-01"), sensor="sentinel2_l2a"
    )
    assert "3 bands are named" in _message(ValueError, "thor_v1_tiny", numbers(), bands=["BLUE", "GREEN", "RED"])
    assert "embed takes files" in _message(TypeError, "thor_v1_tiny", 5)


def test_nothing_is_written_when_the_input_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bands"):
        embed("thor_v1_tiny", numbers(), out=tmp_path / "out", **TINY)
    assert not (tmp_path / "out").exists()


def test_every_model_can_be_described() -> None:
    for name in eo_embed.models():
        card = eo_embed.describe(name)
        assert card.width > 0
        assert card.images
        assert name in str(card)


def test_options_of_a_card_are_those_that_embed_takes(scene: Path) -> None:
    options = eo_embed.describe("thor_v1_tiny").options
    plain = embed("thor_v1_tiny", scene, **TINY)
    stated = embed("thor_v1_tiny", scene, **{**TINY, **options})
    np.testing.assert_array_equal(stated.vector, plain.vector)


@pytest.mark.parametrize("setting", [{"pooling": "max"}, {"layers": (0,)}, {"group_merge": "concat"}])
def test_saving_cannot_state_what_the_numbers_were_not_made_with(
    scene: Path, tmp_path: Path, setting: dict[str, Any]
) -> None:
    found = embed("thor_v1_tiny", scene, **TINY)
    with pytest.raises(ValueError, match=f"{next(iter(setting))}.*to embed, not to save"):
        found.save(tmp_path / "out", **setting)
    assert not (tmp_path / "out").exists()
    with pytest.raises(TypeError, match="Did you mean 'overwrite'"):
        found.save(tmp_path / "out", overwrit=True)


def test_one_layer_is_saved_alone(scene: Path, tmp_path: Path) -> None:
    found = embed("thor_v1_tiny", scene, layers=(0, -1), **TINY).layer("layer_0")
    export = open_embeddings(found.save(tmp_path / "out"))
    assert export.pooled is not None
    assert len(export.pooled) == 1
    np.testing.assert_array_equal(export.pooled.embedding[0], found.vector)
    assert export.manifest["facts"]["task"]["layers"] == [0]


def test_names_that_nobody_knows_are_refused_with_the_valid_ones(scene: Path) -> None:
    for stated, valid in (
        ({"extra_bands": ["COASTAL_AEROSOLS"]}, "'COASTAL_AEROSOLS'.*Valid: COASTAL_AEROSOL, WATER_VAPOR"),
        ({"extra_bands": ["WATER_VAPOR"]}, "extra_bands asks for WATER_VAPOR, .* images have BLUE"),
        ({"sensor": "sentinel2"}, "sensor must be one of sentinel2_l1c, sentinel2_l2a"),
        ({"unit": "reflectence"}, "unit must be one of digital_number, reflectance"),
    ):
        with pytest.raises(ValueError, match=valid):
            embed("thor_v1_tiny", scene, **stated, **TINY)


def test_numbers_of_numpy_and_one_layer_are_options_as_any(scene: Path) -> None:
    expected = embed("thor_v1_tiny", scene, patch_size=4, layers=(0,), **TINY)
    found = embed("thor_v1_tiny", scene, patch_size=np.int64(4), layers=0, **TINY)
    np.testing.assert_array_equal(found.vector, expected.vector)


def test_aerial_pictures_reach_anysat_and_other_numbers_than_it_was_trained_with_are_refused() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (4, 100, 100)).astype(np.uint8)
    stated: dict[str, Any] = {
        "bands": ["B", "G", "R", "NIR"],
        "sensor": "aerial",
        "pixel_size": 0.2,
        "dates": "2019-07-01",
    }
    found = embed("anysat_tiny", picture, patch_size=10, **stated, **TINY)
    turned = embed(
        "anysat_tiny", picture[[2, 1, 0, 3]], patch_size=10, **{**stated, "bands": ["R", "G", "B", "NIR"]}, **TINY
    )
    np.testing.assert_array_equal(found.vector, turned.vector)
    with pytest.raises(ValueError, match="must be digital_number.*unit=.native"):
        embed("anysat_tiny", picture / np.float32(255), patch_size=10, unit="reflectance", **stated, **TINY)


def test_what_is_stated_of_one_of_two_sensors_is_not_stated_of_the_other(tmp_path: Path) -> None:
    optical = write_scene(tmp_path / "optical.tif", numbers())
    decibels = np.random.default_rng(1).uniform(-25, -5, (2, 64, 64)).astype(np.float32)
    radar = write_scene(tmp_path / "radar.tif", decibels, ("VV", "VH"), scale=None)
    both: dict[str, Any] = {"s2": [optical], "s1": [radar]}
    stated = {"sensor": {"s2": "sentinel2_l2a"}, "unit": {"s1": "decibel"}, "offset": {"s2": 0}}
    told = embed("thor_v1_tiny", both, **stated, **TINY).provenance["images"]
    assert {name: image["unit"] for name, image in told.items()} == {"S2": "reflectance", "S1": "decibel"}
    with pytest.raises(ValueError, match="unit is stated for 'S1'; images are 's2', 's1'"):
        embed("thor_v1_tiny", both, **{**stated, "unit": {"S1": "decibel"}}, **TINY)


def test_what_is_for_places_is_refused_with_a_file_and_dates_are_refused_with_places(scene: Path) -> None:
    for stated in ({"id_column": "name"}, {"buffer_m": 100.0}):
        with pytest.raises(ValueError, match=f"{next(iter(stated))} is for places"):
            embed("thor_v1_tiny", scene, **stated, **TINY)
    with pytest.raises(ValueError, match="halo is of tiles, and there are none"):
        embed("thor_v1_tiny", scene, halo=48, dry_run=True, **TINY)
    with pytest.raises(ValueError, match=r"dry_run is for places, and an array \(ndarray\) is none"):
        embed("thor_v1_tiny", np.zeros((3, 32, 32), np.float32), dry_run=True, **TINY)
    with pytest.raises(ValueError, match="dates are of files and arrays"):
        embed("thor_v1_tiny", eo_embed.PointBuffer(9, 45, 100), dates=["2022-06-01"], **TINY)


def test_a_misspelt_band_is_not_left_out_as_one_that_nobody_knows() -> None:
    pixels = np.full((3, 32, 32), 0.1, np.float32)
    stated: dict[str, Any] = {"sensor": "sentinel2_l2a", "unit": "reflectance", "pixel_size": 10, **TINY}
    with pytest.raises(ValueError, match="no band 'GREN'. Did you mean 'GREEN'"):
        embed("thor_v1_tiny", pixels, bands=["BLUE", "GREN", "RED"], **stated)
    with pytest.warns(UserWarning, match="is called XX, so thor_v1_tiny does not see .* and works without GREEN, NIR_"):
        embed("thor_v1_tiny", pixels, bands=["BLUE", "XX", "RED"], **stated)


def test_layers_beside_the_bands_are_no_misspelt_bands(recwarn: pytest.WarningsRecorder) -> None:
    pixels = np.full((3, 32, 32), 0.1, np.float32)
    stated: dict[str, Any] = {"sensor": "sentinel2_l2a", "unit": "reflectance", "pixel_size": 10, **TINY}
    for beside in ("SCL", "QA60", "CLOUD_MASK", "-"):
        told = embed("thor_v1_tiny", pixels, bands=["B02", beside, "RED"], clouds=False, **stated).provenance["images"]
        assert told["S2"]["bands"] == ["BLUE", "RED"]
    # All that the encoder wants is there, so what else there is may have any name.
    more = np.full((len(S2_BANDS) + 3, 32, 32), 0.1, np.float32)
    told = embed("thor_v1_tiny", more, bands=[*S2_BANDS, "BLUE_2", "REDD", "B10"], **stated).provenance["images"]
    assert len(told["S2"]["bands"]) == 10
    assert not [one for one in recwarn if "is called" in str(one.message)]


def test_a_tile_larger_than_the_image_leaves_it_whole(scene: Path) -> None:
    whole, cut = (embed("thor_v1_tiny", scene, tile=tile, **TINY) for tile in (None, 960))
    assert cut.id == whole.id
    np.testing.assert_array_equal(cut.vector, whole.vector)


def test_parts_of_an_image_without_data_are_not_encoded_and_stay_without_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.tile(numbers(), (1, 2, 3))[:, :128, :192]
    pixels[:, :, 120:] = 0
    path = write_scene(tmp_path / "S2A_MSIL2A_20220601.tif", pixels)
    calls = []
    inner = BuiltEncoder.__call__
    monkeypatch.setattr(BuiltEncoder, "__call__", lambda *own, **more: (calls.append(1), inner(*own, **more))[1])
    found = embed("thor_v1_tiny", path, tile=64, halo=0, **TINY)
    # The parts from column 128 on hold nothing.
    assert len(calls) == 4
    assert found.grid.shape == (192, 16, 24)
    assert np.isfinite(found.grid[:, :, :15]).all()
    assert np.isnan(found.grid[:, :, 15:]).all()
    export = open_embeddings(found.save(tmp_path / "out", grid_format="npz"))
    assert len(export.ids) == 4
    pixels[:] = 0
    assert "nothing of it was observed" in _message(
        ValueError, "thor_v1_tiny", write_scene(tmp_path / "S2A_MSIL2A_20220602.tif", pixels), tile=64, **TINY
    )


def test_files_of_one_series_in_two_units_are_not_taken_for_one(tmp_path: Path) -> None:
    numbers_file = write_scene(tmp_path / "S2A_MSIL2A_20220601.tif", numbers())
    reflectance = numbers().astype(np.float32) / 10000
    values = write_scene(tmp_path / "S2A_MSIL2A_20220611.tif", reflectance, scale=None, unit="reflectance")
    assert "need one unit" in _message(ValueError, "anysat_tiny", [numbers_file, values])


def test_the_pixel_size_of_a_file_without_a_place_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "S2A_MSIL2A_20220601.npy"
    np.save(path, numbers().astype(np.float32) / 10000)
    stated = {"bands": S2_BANDS, "unit": "reflectance"}
    assert "pixel_size=10" in _message(ValueError, "thor_v1_tiny", path, **stated)
    assert embed("thor_v1_tiny", path, pixel_size=10, **stated, **TINY).grid.shape == (192, 8, 8)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("encoder", "options", "tile", "halo"),
    [
        ("anysat_tiny", {}, 48, None),  # 24 x 24 cells of 2 pixels
        ("anysat_tiny", {}, 36, None),  # of 1.5 pixels, so that tiles start at multiples of 3
        ("thor_v1_tiny", {"resize_mode": "fixed", "image_size": 32}, 48, 0),  # 4 x 4 cells of 12 pixels
    ],
)
def test_tiles_that_are_resampled_make_one_map_whatever_the_size_of_the_image(
    tmp_path: Path, encoder: str, options: dict[str, Any], tile: int, halo: int | None
) -> None:
    pixels = np.tile(numbers(), (1, 2, 2))[:, :61, :77]
    path = write_scene(tmp_path / "S2A_MSIL2A_20220601.tif", pixels)
    found = embed(encoder, path, tile=tile, halo=halo, **options, **TINY)
    cell = tile / (24 if encoder == "anysat_tiny" else 4)
    assert found.transform is not None
    assert (found.transform.a, found.transform.c, found.transform.f) == pytest.approx((10 * cell, CORNER.c, CORNER.f))
    assert found.grid.shape[1:] == (-(-61 // cell), -(-77 // cell))
    # The first cells are those of the first window on its own.
    (tmp_path / "one").mkdir()
    one = write_scene(tmp_path / "one" / path.name, pixels[:, :tile, :tile])
    alone = embed(encoder, one, **options, **TINY)
    np.testing.assert_allclose(found.grid.to_numpy()[:, :4, :4], alone.grid.to_numpy()[:, :4, :4], atol=2e-5)
