"""The examples of rs-embed's pages by place and time from a catalogue on this machine, as lines and as configs.

The lines are those of `test_rs_embed_examples`, where files are compared with numpy, with ``max_cloud=30`` as the pages
have it and a catalogue as source; what differs from row to row stands in `rs_embed_rows.ROWS`. Arrays (6 and 14) come
from no catalogue, and what is recorded (15) is compared in each row.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rs_embed_rows import RADAR_DAY, ROWS, SUMMER, Recorder, catalogue, write_folder

from eo_embed import Embedded, embed
from eo_embed.one_call import run as run_module

pytestmark = [
    pytest.mark.filterwarnings("ignore:image_size resamples"),
    pytest.mark.filterwarnings("ignore:THOR's rule resamples"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with catalogue(tmp_path_factory.mktemp("catalogue")) as url:
        yield url


def line(number: str, source: object, **more: Any) -> Embedded:
    row = ROWS[number]
    options = {"sensor": "sentinel2_l2a", "max_cloud": 30, **row.line, **more}
    found = embed(row.encoder, row.place, time=row.time, source=source, pretrained=False, device="cpu", **options)
    assert isinstance(found, Embedded)
    return found


@pytest.mark.parametrize("number", ROWS)
def test_a_line_over_a_catalogue_is_that_over_files(
    number: str, source: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Offset, unit, clouds of the scene and the other pass of the radar: each would change what the encoder gets."""
    recorder = Recorder()
    monkeypatch.setattr(run_module, "encoder_for", lambda *_: recorder)
    found = line(number, source, remote_cache=tmp_path)
    images, extras = recorder.images, recorder.extras
    recorder.images, recorder.extras = [], []
    same = line(number, folder)
    assert len(images) == len(recorder.images) > 0
    for own, other in zip(images, recorder.images, strict=True):
        np.testing.assert_allclose(own, other, atol=4e-5)
    assert [sorted(own) for own in extras] == [sorted(own) for own in recorder.extras]
    assert (found.dates, found.transform, found.crs) == (same.dates, same.transform, same.crs)
    ours, others = found.provenance, same.provenance
    assert ours["task"] == others["task"]
    assert ours["data"]["preprocess"] == others["data"]["preprocess"]
    (image,), (other_image,) = ours["images"].values(), others["images"].values()
    names = {file.split("/")[-2] for file in image["files"]}
    assert {name.replace("-", "") for name in names} == {file[-12:-4] for file in other_image["files"]}
    assert image["preparation"] == other_image["preparation"]


def test_the_files_of_the_season_are_those_of_the_clear_days(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "encoder_for", lambda *_: Recorder())
    (image,) = line("7", source).provenance["images"].values()
    assert {file.split("/")[-2] for file in image["files"]} == set(SUMMER)
    assert len(image["files"]) == 10 * len(SUMMER)
    (image,) = line("2", source).provenance["images"].values()
    assert {file.split("/")[-2] for file in image["files"]} == {RADAR_DAY}
