"""Addresses of images hold what their readers must know."""

from __future__ import annotations

import pytest
from affine import Affine

from eo_data.catalog.hrefs import Href
from eo_data.catalog.scenes.catalogues.earth_engine.images import EngineImage, NativeGrid, is_engine_image
from eo_data.catalog.scenes.catalogues.earth_engine.session import Session
from eo_data.raster.georeference import PixelGrid

NAME = "COPERNICUS/S2_SR_HARMONIZED/20220601T102031_20220601T102555_T32TNR"


def image(session: Session) -> EngineImage:
    """Return an image with two grids, one of which is turned and lies at fractions."""
    own = PixelGrid(10980, 10980, Affine(10, 0, 499980, 0, -10, 5000040), "EPSG:32632")
    turned = PixelGrid(5, 7, Affine(20, 0.1, -1.0000000000000002, 0.25, -20, 1e-9), "EPSG:32632")
    grids = (NativeGrid(own, "uint16", ("B2", "B3"), 65535.0), NativeGrid(turned, "uint8", ("SCL",), 0.0))
    return EngineImage(NAME, "2022-06-03T01:02:03.456789Z", grids, session)


@pytest.mark.parametrize(
    "session", [Session(), Session("a-project"), Session("example.com:a-project", "http://127.0.0.1:8080")]
)
def test_an_address_means_the_image_that_it_was_made_of(session: Session) -> None:
    """To the last digit: a corner that is half a pixel off is resampled by the service."""
    href = image(session).href
    assert is_engine_image(href)
    assert EngineImage.from_href(href) == image(session)
    assert href.is_remote
    assert href.name == "20220601T102031_20220601T102555_T32TNR"


def test_who_asks_where_is_not_shown() -> None:
    """Manifests of one group would hold the account of another, and no export could be gone on with elsewhere."""
    href = image(Session("a-project", "http://127.0.0.1:8080")).href
    assert "a-project" in href.text
    assert str(href) == repr(href)[6:-2] == href.relative(None) == str(image(Session()).href)
    assert str(href).startswith(f"earthengine://{NAME}?updated=2022-06-03T01:02:03.456789Z&grid=EPSG:32632/10.0,0.0,")


@pytest.mark.parametrize(
    "text", [f"earthengine://{NAME}", "earthengine://MODIS/061/MOD09GA/1?grid=a", "earthengine://x:y:z@a"]
)
def test_other_addresses_are_refused(text: str) -> None:
    """Written by hand, without its grid or of another collection."""
    with pytest.raises(ValueError, match="COPERNICUS/S2_SR_HARMONIZED"):
        EngineImage.from_href(Href(text))


def test_a_damaged_grid_is_named() -> None:
    """Else the error is that of a conversion."""
    with pytest.raises(ValueError, match="expected crs/transform/size/type/bands"):
        EngineImage.from_href(Href(f"earthengine://{NAME}?grid=EPSG:32632/10,0,5/64x64/uint16/B2"))
