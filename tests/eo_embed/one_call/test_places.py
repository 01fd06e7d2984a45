"""Which scenes places are embedded from."""

from __future__ import annotations

from pathlib import Path

from affine import Affine
from small_scenes import numbers, write_scene

from eo_embed import PointBuffer, embed

#: Around 178 degrees east, 18 degrees south.
FIJI = Affine(10.0, 0.0, 600_000.0, 0.0, -10.0, 8_000_000.0)


def test_the_window_counts_in_solar_days_as_the_dates_of_the_frames_do(tmp_path: Path) -> None:
    """At 178 degrees east, 22:20 UTC is the morning of the next day: only that day has an acquisition."""
    write_scene(tmp_path / "S2A_20220101T222000_SR.tif", numbers(), transform=FIJI, crs="EPSG:32760")
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
