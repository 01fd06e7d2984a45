"""The command writes one file, and says what is not in it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from placed_exports import placed, write_export, write_vectors

from eo_embed.map.command import main, write_map


def test_it_writes_a_page_and_tells_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_vectors(tmp_path / "export", np.random.default_rng(0).normal(size=(12, 5)))
    main([str(tmp_path / "export"), "--out", str(tmp_path / "page.html"), "--most", "9", "--k", "3"])
    size = (tmp_path / "page.html").stat().st_size / 1e6
    said = capsys.readouterr().out
    assert said.endswith(f"{tmp_path / 'page.html'} ({size:.1f} MB)\n")
    assert "note: 9 of 12 items are shown, drawn at random" in said
    assert "no item has a picture, as there are no grids and no source was found (--root, --rgb-from)" in said
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "9 of 12 items are shown" in text
    assert "http" not in text.replace("http-equiv", "")


def test_few_pictures_are_told(tmp_path: Path) -> None:
    grids = np.random.default_rng(0).normal(size=(4, 6, 5, 5)).astype(np.float32)
    places = [Affine(100, 0, 500_000 + 500 * i, 0, -100, 5_000_000) for i in range(4)]
    write_export(tmp_path, [placed(f"t{i}", grids[i], places[i]) for i in range(4)])
    path, notes = write_map(tmp_path, pictures=2)
    assert path == tmp_path / "map.html"
    assert notes == ["2 of 4 items have a picture"]
    assert path.read_text(encoding="utf-8").count("data:image/png") == 2
    assert write_map(tmp_path, tmp_path / "none.html", pictures=0)[1] == ["0 of 4 items have a picture"]


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        (["--k", "0"], "k must be at least 1, got 0"),
        (["--most", "0"], "most must be at least 1"),
        (["--layer", "layer_9"], "Expected one of the layers '', got 'layer_9'"),
        (["--tiles", "https://host/tile.png"], "{z}, {x}, {y} is missing"),
        (["--rgb-from", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_faults_end_with_a_message_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], match: str
) -> None:
    write_vectors(tmp_path, np.eye(4))
    with pytest.raises(SystemExit) as error:
        main([str(tmp_path), *arguments])
    assert error.value.code == 2
    assert match in capsys.readouterr().err
    assert not (tmp_path / "map.html").exists()


def test_an_export_without_places_is_refused_with_a_remedy(tmp_path: Path) -> None:
    write_export(tmp_path, [placed("a", None, None, crs=None, pooled=np.ones(3, np.float32))])
    with pytest.raises(ValueError, match="has a georeference, so there is no map of it. Export files with a CRS"):
        write_map(tmp_path)


def test_an_export_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path, np.eye(4))
    text = (tmp_path / "manifest.json").read_text(encoding="utf-8")
    (tmp_path / "manifest.json").write_text(text.replace('"complete"', '"running"'), encoding="utf-8")
    with pytest.raises(ValueError, match="is incomplete"):
        write_map(tmp_path)
