"""Tables of Sentinel-1: bilinear by hand, shares of the noise by block, and tables that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
from small_sentinel1 import calibration_xml, noise_xml

from eo_data.readers.formats.facts import Part
from eo_data.readers.products.sentinel1_calibration import LineTable, Noise, calibration_of, noise_of, sigma0

#: Two lines with other pixels each, as before IPF 2.90, and none at the last pixels.
UNEVEN = b"""<noise><noiseVectorList count="2">
<noiseVector><line>0</line><pixel count="3">0 4 8</pixel><noiseLut count="3">100 200 300</noiseLut></noiseVector>
<noiseVector><line>10</line><pixel count="2">0 8</pixel><noiseLut count="2">300 500</noiseLut></noiseVector>
</noiseVectorList></noise>"""


def test_values_are_linear_between_pixels_and_lines_and_go_on_at_the_ends() -> None:
    table = LineTable.of(UNEVEN, "noiseVector", "noiseLut")
    found = table.over(Part(0, 0, 13, 10))
    assert found.shape == (13, 10)
    assert found[0].tolist() == [100, 125, 150, 175, 200, 225, 250, 275, 300, 300]
    # Line 5 is half way from 150 to 350 at pixel 2; line 10 and those after it are the second vector.
    assert found[5, 2] == pytest.approx(250)
    assert found[10, 4] == found[12, 4] == pytest.approx(400)
    np.testing.assert_allclose(table.over(Part(3, 2, 4, 5)), found[3:7, 2:7])


def test_lines_before_the_image_count_and_one_vector_is_enough() -> None:
    text = calibration_xml(lambda line, pixel: 100 + line + pixel).encode()
    # Vectors lie at the lines -10, 60 and 130.
    assert calibration_of(text).over(Part(25, 60, 1, 1))[0, 0] == pytest.approx(185)
    single = LineTable(np.array([7.0]), [(np.array([0.0, 2.0]), np.array([1.0, 3.0]))])
    assert single.over(Part(0, 0, 2, 3)).tolist() == [[1, 2, 3], [1, 2, 3]]


def test_noise_is_multiplied_by_the_share_of_its_block() -> None:
    blocks = {(0, 0, 4, 3): 2.0, (0, 4, 9, 9): 0.5, (5, 0, 9, 3): 3.0}
    noise = noise_of(noise_xml(100.0, blocks).encode())
    whole = noise.over(Part(0, 0, 10, 10))
    assert (whole[0, 3], whole[4, 0], whole[5, 0], whole[9, 9]) == (200, 200, 300, 50)
    np.testing.assert_array_equal(noise.over(Part(3, 2, 4, 5)), whole[3:7, 2:7])
    # What lies outside of all blocks has no share.
    assert noise.over(Part(10, 10, 1, 1))[0, 0] == 100
    sloping = noise_xml(100.0, {(0, 0, 10, 9): 1.0}).replace("1.0000000000e+00 1.0000000000e+00", "1.0 3.0")
    assert Noise.of(sloping.encode()).over(Part(5, 0, 1, 1))[0, 0] == pytest.approx(200)


def test_strips_of_a_large_image_are_calibrated_as_a_whole() -> None:
    table = LineTable(np.array([0.0, 1999.0]), [(np.array([0.0]), np.array([a])) for a in (100.0, 2099.0)])
    numbers = np.full((1200, 2), 1000, np.uint16)
    numbers[600, 1] = 0
    found = sigma0(numbers, Part(300, 0, 1200, 2), table, None)
    # A is 100 + the line.
    assert found[[0, 511, 512, 1199], 0] == pytest.approx([(1000 / a) ** 2 for a in (400, 911, 912, 1599)], rel=1e-6)
    assert np.argwhere(np.isnan(found)).tolist() == [[600, 1]]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0 4 8", "0 4", "lines and pixels of noiseVector must rise, and each pixel have its noiseLut"),
        ("0 4 8", "0 8 4", "must rise"),
        ("<line>10<", "<line>0<", "must rise"),
        ("100 200 300", "100 x 300", "could not convert"),
        ("100 200 300", "", "noiseLut must hold numbers, got ''"),
        ("<noiseVector>", "<other>", "no XML"),
        ("noiseVector>", "other>", "has no noiseVector"),
    ],
)
def test_tables_that_cannot_be_are_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LineTable.of(UNEVEN.decode().replace(old, new).encode(), "noiseVector", "noiseLut")


def test_a_calibration_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="sigmaNought must be positive"):
        calibration_of(calibration_xml(lambda line, _pixel: line).encode())
