"""Which scenes places are embedded from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from same_exports import assert_same_exports
from small_products import LEFT, TOP, write_hls, write_sentinel2
from small_scenes import numbers, write_scene

from eo_data.catalog.shards import Shard
from eo_embed import PointBuffer, embed
from eo_embed.export.shards.whole import merge_shards

#: Around 178 degrees east, 18 degrees south.
FIJI = Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 8_000_000.0)


def test_the_window_counts_in_solar_days_as_the_dates_of_the_frames_do(tmp_path: Path) -> None:
    """At 178 degrees east, 22:20 UTC is the morning of the next day: only that day has an acquisition."""
    write_scene(tmp_path / "S2A_20220101T222000_SR.tif", numbers() + 1000, transform=FIJI, crs="EPSG:32760")
    place = PointBuffer(177.9475, -18.0893, 80)
    found = embed(
        "thor_v1_tiny",
        place,
        source=tmp_path,
        time=("2022-01-02", "2022-01-03"),
        sensor="sentinel2_l2a",
        pretrained=False,
        offset=0,
    )
    assert [str(day) for day in found.dates] == ["2022-01-02"]


def test_files_of_bands_give_what_their_product_gives_without_its_clouds(tmp_path: Path) -> None:
    """HLS as it is downloaded, a file for each band: the numbers of the bands, and the quality layer among them."""
    fmask = np.full((20, 20), 64, np.uint8)
    fmask[8:10, 8:10] = 66  # bit 1: cloud
    product = write_hls(tmp_path / "whole", pixels={"Fmask": fmask})
    (tmp_path / "flat").mkdir()
    for file in product.glob("*.B*.tif"):
        shutil.copy(file, tmp_path / "flat")
    shutil.copy(product / f"{product.name}.Fmask.tif", tmp_path / "flat")
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT + 300, TOP - 300)
    options: dict[str, Any] = {"time": ("2022-06-01", "2022-07-01"), "pretrained": False}
    whole, flat = (
        embed("thor_v1_tiny", PointBuffer(lon, lat, 160), source=tmp_path / name, **options)
        for name in ("whole", "flat")
    )
    assert float(whole.valid.mean()) < 1
    np.testing.assert_array_equal(flat.valid, whole.valid)
    np.testing.assert_allclose(flat.vector, whole.vector, atol=2e-6)


def test_every_scene_must_say_its_offset_not_only_the_first(tmp_path: Path) -> None:
    """The second would be read without the offset that the tags of the first state, and be 0.1 too bright."""
    first = write_scene(tmp_path / "S2A_20220101T222000_SR.tif", numbers() + 1000, transform=FIJI, crs="EPSG:32760")
    with rasterio.open(first, "r+") as file:
        file.offsets = [-0.1] * file.count
    place = PointBuffer(177.9475, -18.0893, 80)
    options: dict[str, Any] = {"source": tmp_path, "time": ("2022-01-01", "2022-02-01"), "sensor": "sentinel2_l2a"}
    embed("thor_v1_tiny", place, pretrained=False, **options)
    later = tmp_path / "S2A_20220106T222000_SR.tif"
    write_scene(later, numbers() + 1000, transform=FIJI, crs="EPSG:32760", scale=None)
    with pytest.raises(ValueError, match=f"{later.name}.*offset=-1000"):
        embed("thor_v1_tiny", place, pretrained=False, **options)


def test_clouds_are_left_out_of_all_scenes_or_of_none(tmp_path: Path) -> None:
    """Level 1C has a mask from baseline 04.00 on: by the first scene, which has none, the second would go unmasked."""
    write_sentinel2(tmp_path, "1C", "02.14", date="20200823")
    write_sentinel2(tmp_path, "1C", "05.09", date="20230823")
    lon, lat = Transformer.from_crs(32632, 4326, always_xy=True).transform(LEFT + 600, TOP - 600)
    place = PointBuffer(lon, lat, 160)
    options: dict[str, Any] = {"source": tmp_path, "time": ("2020-01-01", "2024-01-01"), "pretrained": False}
    with pytest.raises(ValueError, match="N0509.*MSK_CLASSI_OPAQUE.*no quality layer.*clouds=False"):
        embed("thor_v1_tiny", place, **options)
    assert embed("thor_v1_tiny", place, clouds=False, **options).vector.shape == (192,)


def test_an_export_counts_places_once_and_says_when_none_was_made(tmp_path: Path) -> None:
    """A place that has scenes, of which none shows its shape, is a record and a failure: it is one place."""
    write_scene(tmp_path / "s" / "S2A_20220101T222000_SR.tif", numbers(), transform=FIJI, crs="EPSG:32760")
    left, top = FIJI.c, FIJI.f
    around = shapely.union_all(
        [
            shapely.box(left - 300, top - 300, left - 200, top + 300),
            shapely.box(left - 300, top + 200, left + 300, top + 300),
        ]
    )
    inside = shapely.box(left + 100, top - 300, left + 300, top - 100)
    table = geopandas.GeoDataFrame(geometry=[around, inside], crs="EPSG:32760")
    options: dict[str, Any] = {
        "source": tmp_path / "s", "time": ("2022-01-01", "2022-02-01"), "sensor": "sentinel2_l2a", "pretrained": False
    }  # fmt: skip
    with pytest.warns(UserWarning, match=r"1 of 2 places failed; first: 0: nothing of it was observed"):
        embed("thor_v1_tiny", table, out=tmp_path / "out", **options)
    with pytest.raises(ValueError, match="No item could be exported: 0: nothing of it"):
        embed("thor_v1_tiny", table[:1], out=tmp_path / "none", **options)


@pytest.mark.filterwarnings("ignore:.*places failed")
def test_shards_of_places_are_one_export_also_where_all_of_one_fail(tmp_path: Path) -> None:
    """A place that nothing shows fails in its own shard only: in the others it would fail once more."""
    write_scene(tmp_path / "s" / "S2A_20220101T222000_SR.tif", numbers(), transform=FIJI, crs="EPSG:32760")
    left, top = FIJI.c, FIJI.f
    boxes = [shapely.box(left + 80 * i, top - 200, left + 80 * i + 70, top - 100) for i in range(3)]
    far = shapely.box(left + 9e5, top, left + 9e5 + 100, top + 100)
    lost = next(name for name in "abcdefgh" if Shard(0, 2).holds(name))
    names = [lost, *[name for name in "ijklmnopqrstuvw" if not Shard(0, 2).holds(name)][:3]]
    table = geopandas.GeoDataFrame({"name": names}, geometry=[far, *boxes], crs="EPSG:32760")
    options: dict[str, Any] = {
        "source": tmp_path / "s", "time": ("2022-01-01", "2022-02-01"), "sensor": "sentinel2_l2a", "pretrained": False,
        "id_column": "name",
    }  # fmt: skip
    embed("thor_v1_tiny", table, out=tmp_path / "one", **options)
    shards = [embed("thor_v1_tiny", table, out=tmp_path / "whole", shard=(i, 2), **options) for i in range(2)]
    assert [len(shard.ids) for shard in shards] == [0, 3]
    assert [list(shard.failures) for shard in shards] == [[lost], []]
    assert [row["id"] for row in merge_shards(tmp_path / "whole", remove=True).failures] == [lost]
    assert_same_exports(tmp_path / "one", tmp_path / "whole")
    with pytest.raises(ValueError, match="shard is a part of many places that are written to a folder"):
        embed("thor_v1_tiny", table, shard=(0, 2), **options)
