"""Metadata beside a raster that nobody reads, or that are read of another file."""

from __future__ import annotations

import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_files import touch

from eo_data.readers.formats.sidecars import SidecarBand, sidecar_of
from eo_data.sensors.scaling import product_scaling
from eo_data.sensors.sentinel2 import sentinel2_offset

LANDSAT = "LC09_L2SP_193024_20220615_20230411_02_T1"
MTL = f"""GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    LANDSAT_PRODUCT_ID = "{LANDSAT}"
    PROCESSING_LEVEL = "L2SP"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
    REFLECTANCE_MULT_BAND_2 = 2.75e-05
    REFLECTANCE_ADD_BAND_2 = -0.2
  END_GROUP = LEVEL2_SURFACE_REFLECTANCE_PARAMETERS
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    REFLECTANCE_MULT_BAND_2 = 2.0000E-05
    REFLECTANCE_ADD_BAND_2 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""
SENTINEL2 = "S2A_MSIL2A_20230409T002611_N0509_R102_T33TWN_20230409T040056"
MTD = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-2A.xsd">
  <n1:General_Info>
    <Product_Info>
      <PRODUCT_START_TIME>2023-04-09T00:26:11.024Z</PRODUCT_START_TIME>
      <PRODUCT_URI>S2A.SAFE</PRODUCT_URI>
      <PROCESSING_BASELINE>05.09</PROCESSING_BASELINE>
    </Product_Info>
    <Product_Image_Characteristics>
      <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT><SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
      </Special_Values>
      <QUANTIFICATION_VALUES_LIST><BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
      </QUANTIFICATION_VALUES_LIST>
      <BOA_ADD_OFFSET_VALUES_LIST><BOA_ADD_OFFSET band_id="0">-1000</BOA_ADD_OFFSET>
        <BOA_ADD_OFFSET band_id="8">-1000</BOA_ADD_OFFSET></BOA_ADD_OFFSET_VALUES_LIST>
    </Product_Image_Characteristics>
  </n1:General_Info>
</n1:Level-2A_User_Product>
"""


def write(path: Path, content: str | dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def item(assets: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "here",
        "collection": "sentinel-2-c1-l2a",
        "properties": properties,
        "assets": assets,
    }


@pytest.mark.parametrize("name", [f"{LANDSAT}_SR_B2.TIF", f"{LANDSAT}.tif", f"{LANDSAT}_stack.tif"])
@pytest.mark.parametrize("as_json", [True, False])
def test_the_mtl_file_of_landsat_is_read_with_its_groups(tmp_path: Path, name: str, as_json: bool) -> None:
    groups = {
        "PRODUCT_CONTENTS": {"LANDSAT_PRODUCT_ID": LANDSAT},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            "REFLECTANCE_MULT_BAND_2": "2.75e-05",
            "REFLECTANCE_ADD_BAND_2": "-0.2",
        },
        "LEVEL1_RADIOMETRIC_RESCALING": {"REFLECTANCE_MULT_BAND_2": "2e-5", "REFLECTANCE_ADD_BAND_2": "-0.1"},
    }
    path = (
        write(tmp_path / f"{LANDSAT}_MTL.json", {"LANDSAT_METADATA_FILE": groups})
        if as_json
        else write(tmp_path / f"{LANDSAT}_MTL.txt", MTL)
    )
    found = sidecar_of(tmp_path / name)
    assert found is not None
    assert found.path == path
    assert found.tags["LANDSAT_METADATA_FILE.PRODUCT_CONTENTS.LANDSAT_PRODUCT_ID"] == LANDSAT
    scaling = product_scaling("landsat8", "BLUE", "renamed.tif", found.tags)
    assert scaling is not None
    assert (scaling.scale, scaling.offset) == (2.75e-5, -0.2)
    assert "MTL" in scaling.origin


def test_the_mtl_file_of_another_product_says_nothing(tmp_path: Path) -> None:
    write(tmp_path / f"{LANDSAT}_MTL.txt", MTL)
    for name in (f"{LANDSAT.replace('20220615', '20220701')}_SR_B2.TIF", "x.tif", f"x_{LANDSAT}_SR_B2.TIF"):
        assert sidecar_of(tmp_path / name) is None


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (f"{LANDSAT}_MTL.txt", MTL[:200], "without END, so it is not complete"),
        (f"{LANDSAT}_MTL.txt", "no metadata\n", "line 1 is 'no metadata', expected GROUP"),
        (f"{LANDSAT}_MTL.json", "{", "Expecting"),
        (f"{LANDSAT}_MTL.json", "[]", "expected LANDSAT_METADATA_FILE"),
        (f"{LANDSAT}_SR_B2.json", '{"stac_version": "1.0.0", ', "Expecting"),
        (f"{LANDSAT}_SR_B2.stac.json", "{}", "expected a STAC item"),
        (f"{LANDSAT}_SR_stac.json", '{"type": "Feature", "stac_version": "1.0.0", "properties": 3}', "with properties"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path: Path, name: str, content: str, says: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=says) as error:
        sidecar_of(tmp_path / f"{LANDSAT}_SR_B2.TIF")
    assert str(path) in str(error.value)


def test_the_metadata_of_a_sentinel_2_product_tell_the_offset_of_its_files(tmp_path: Path) -> None:
    root = tmp_path / f"{SENTINEL2}.SAFE"
    write(root / "MTD_MSIL2A.xml", MTD)
    below = root / "GRANULE/L2A_T33TWN_A040711_20230409T002611"
    image = below / "IMG_DATA/R10m/T33TWN_20230409T002611_B02_10m.jp2"
    found = sidecar_of(image)
    assert found is not None
    assert found.path == root / "MTD_MSIL2A.xml"
    said = {
        "PROCESSING_BASELINE": "05.09",
        "PRODUCT_URI": "S2A.SAFE",
        "PRODUCT_START_TIME": "2023-04-09T00:26:11.024Z",
        "BOA_QUANTIFICATION_VALUE": 10000,
        "BOA_ADD_OFFSET_B01": -1000,
        "BOA_ADD_OFFSET_B8A": -1000,
        "SPECIAL_VALUE_NODATA": 0,
        "SPECIAL_VALUE_SATURATED": 65535,
    }
    assert found.tags == said
    assert sentinel2_offset(metadata=found.tags) == -1000
    for elsewhere in (below / "QI_DATA/MSK_CLDPRB_20m.jp2", root / "x.tif", tmp_path / "IMG_DATA/x.jp2"):
        assert sidecar_of(elsewhere) is None


def test_level_1c_before_the_offset_has_none(tmp_path: Path) -> None:
    text = "<a><PROCESSING_BASELINE>03.01</PROCESSING_BASELINE><QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE></a>"
    write(tmp_path / "x/MTD_MSIL1C.xml", text)
    found = sidecar_of(tmp_path / "x/GRANULE/y/IMG_DATA/T33TWN_20190409T002611_B02.jp2")
    assert found is not None
    assert sentinel2_offset(metadata=found.tags) == 0


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        ("<a><PROCESSING_BASELINE>", "no element found"),
        ("<a></a>", "no PROCESSING_BASELINE"),
        (MTD.replace(">-1000<", ">much<"), "BOA_ADD_OFFSET must be a number, got 'much'"),
    ],
)
def test_xml_with_entities_or_without_sense_is_refused(tmp_path: Path, content: str, says: str) -> None:
    path = write(tmp_path / "x/MTD_MSIL2A.xml", content)
    with pytest.raises(ValueError, match=says) as error:
        sidecar_of(tmp_path / "x/GRANULE/y/IMG_DATA/R10m/z.jp2")
    assert str(path) in str(error.value)
    utf16 = '<?xml version="1.0" encoding="UTF-16"?><!DOCTYPE a><a/>'.encode("utf-16")
    path.write_bytes(utf16)
    with pytest.raises(ValueError, match="document type"):
        sidecar_of(tmp_path / "x/GRANULE/y/IMG_DATA/R10m/z.jp2")


STATED = {"scale": 0.0001, "offset": -0.1, "nodata": 0}


@pytest.mark.parametrize("name", ["B02.json", "B02.stac.json", "B02_stac.json", "B02.tif.json", "item.json"])
def test_a_stac_item_beside_a_file_tells_scale_offset_and_no_data(tmp_path: Path, name: str) -> None:
    blue = {"href": "https://x.org/a/B02.tif?sig=1", "raster:bands": [STATED], "eo:bands": [{"name": "blue"}]}
    path = write(tmp_path / name, item({"blue": blue}, **{"s2:processing_baseline": "05.09"}))
    found = sidecar_of(tmp_path / "B02.tif")
    assert found is not None
    assert found.path == path
    assert found.bands == (SidecarBand("blue", 0.0001, -0.1, 0),)
    assert found.tags == {
        "s2:processing_baseline": "05.09",
        "stac:id": "here",
        "stac:collection": "sentinel-2-c1-l2a",
    }
    assert sentinel2_offset(metadata=found.tags) == -1000
    scaling = found.scaling(0)
    assert scaling is not None
    assert (scaling.scale, scaling.offset, scaling.number_offset) == pytest.approx((1e-4, -0.1, -1000))
    assert found.scaling(1) is None


def test_bands_of_stac_1_1_override_what_the_asset_says_of_all(tmp_path: Path) -> None:
    bands = [{"name": "a", "raster:scale": 2, "nodata": "nan"}, {"name": "b", "raster:offset": 3}, {}]
    asset = {"href": "./x.tif", "raster:scale": 1e-4, "bands": bands}
    write(tmp_path / "x.json", item({"data": asset}))
    found = sidecar_of(tmp_path / "x.tif")
    assert found is not None
    first, *others = found.bands
    assert (first.name, first.scale, first.offset) == ("a", 2, None)
    assert first.nodata is not None
    assert math.isnan(first.nodata)
    assert others == [SidecarBand("b", 1e-4, 3), SidecarBand(None, 1e-4)]


def test_the_scale_of_another_asset_is_not_taken(tmp_path: Path) -> None:
    assets = {
        "a": {"href": "B03.tif", "raster:bands": [STATED]},
        "b": {"href": "B02.jp2", "raster:bands": [{"scale": 5}]},
    }
    write(tmp_path / "item.json", item(assets))
    found = sidecar_of(tmp_path / "B02.tif")
    assert found is not None
    assert found.bands == (SidecarBand(None, 5),)
    assert sidecar_of(tmp_path / "other.tif") is None
    # Its own item counts though no asset has its name: the properties hold.
    write(tmp_path / "other.json", item(assets, platform="sentinel-2a"))
    own = sidecar_of(tmp_path / "other.tif")
    assert own is not None
    assert (own.tags["platform"], own.bands) == ("sentinel-2a", ())


def test_assets_of_one_name_are_told_apart_or_refused(tmp_path: Path) -> None:
    assets = {
        "a": {"href": "1/x.tif", "raster:bands": [STATED]},
        "preview": {"href": "x.png"},
        "b": {"href": "2/x.tif"},
    }
    write(tmp_path / "x.json", item(assets))
    found = sidecar_of(tmp_path / "x.tif")
    assert found is not None
    assert found.bands[0].scale == 1e-4
    assets["b"]["raster:bands"] = [{"scale": 3}]
    write(tmp_path / "x.json", item(assets))
    with pytest.raises(ValueError, match="several assets have the name x.tif"):
        sidecar_of(tmp_path / "x.tif")
    assets["b"]["raster:bands"] = [{"scale": "much"}]
    write(tmp_path / "x.json", item(assets))
    with pytest.raises(ValueError, match="x.json cannot be understood: scale, offset or no-data"):
        sidecar_of(tmp_path / "x.tif")


def test_an_offset_that_the_catalogue_has_taken_off_is_not_taken_off_again(tmp_path: Path) -> None:
    asset = {"href": "x.tif", "raster:bands": [STATED]}
    write(tmp_path / "x.json", item({"blue": asset}, **{"earthsearch:boa_offset_applied": True}))
    found = sidecar_of(tmp_path / "x.tif")
    assert found is not None
    assert found.bands[0].offset == 0
    assert sentinel2_offset(metadata=found.tags) == 0


@pytest.mark.parametrize("content", ['{"annotations": []}', "not JSON at all", '{"type": "FeatureCollection"}'])
def test_other_json_files_of_that_name_are_left_alone(tmp_path: Path, content: str) -> None:
    write(tmp_path / "x.json", content)
    assert sidecar_of(tmp_path / "x.tif") is None
    (tmp_path / "y.json").mkdir()
    assert sidecar_of(tmp_path / "y.tif") is None
    assert sidecar_of(tmp_path / f"{'n' * 250}.tif") is None


def test_a_sidecar_that_changes_is_read_again(tmp_path: Path) -> None:
    path = write(tmp_path / "x.json", item({}, a=1))
    first = sidecar_of(tmp_path / "x.tif")
    write(path, item({}, a=2))
    os.utime(path, (1, 1))
    second = sidecar_of(tmp_path / "x.tif")
    assert first is not None
    assert second is not None
    assert (first.tags["a"], second.tags["a"]) == (1, 2)


def test_folders_of_many_chips_are_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "x.tif")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    for name in ("iterdir", "glob", "rglob"):
        monkeypatch.setattr(Path, name, refuse)
    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    assert sidecar_of(tmp_path / "x.tif") is None


def test_real_items_of_catalogues_lie_beside_their_files(tmp_path: Path, shared: Path) -> None:
    items = {path.stem: path for path in (shared / "data/stac_items").glob("*.json")}
    assert len(items) == 3
    expected = {
        "LC08_L2SP_028030_20200114_20200824_02_T1_SR": ("SR_B2.TIF", "landsat8", "BLUE"),
        "LE07_L2SP_044033_20210329_20210424_02_T1_SR": ("SR_B4.TIF", "landsat7", "NIR_BROAD"),
    }
    for name, (band_file, sensor, band) in expected.items():
        shutil.copy(items[name], tmp_path / f"{name}_stac.json")
        found = sidecar_of(tmp_path / f"{name.removesuffix('_SR')}_{band_file}")
        assert found is not None
        scaling = product_scaling(sensor, band, "renamed.tif", found.tags)
        assert scaling is not None
        assert (scaling.scale, scaling.offset) == (2.75e-5, -0.2)
    name = "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531"
    shutil.copy(items[name], tmp_path / "item.json")
    found = sidecar_of(tmp_path / "T06VVN_20190629T212529_B02_10m.tif")
    assert found is not None
    assert found.bands == (SidecarBand("B02", gsd=10),)
    assert sentinel2_offset(metadata=found.tags) == 0
