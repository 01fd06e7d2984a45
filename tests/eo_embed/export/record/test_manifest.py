"""The manifest says what an export is before there is anything in it, and never says that it is complete too early."""

from __future__ import annotations

import getpass
import json
import platform
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from eo_embed.export.record.manifest import STAC_EXTENSIONS, Manifest, read_manifest, software_versions

FACTS = {"model": "thor_v1_base", "bands": ("RED", "NIR"), "gsd": 10.0, "nodata": float("nan")}


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "manifest.json").read_text())
    return content


def test_it_is_written_first_with_state_running(tmp_path: Path) -> None:
    Manifest.create(tmp_path / "new" / "out", FACTS, {"config": "a: 1\n"})
    content = _read(tmp_path / "new" / "out")
    assert content["state"] == "running"
    assert content["facts"] == {"model": "thor_v1_base", "bands": ["RED", "NIR"], "gsd": 10.0, "nodata": "nan"}
    assert re.fullmatch("[0-9a-f]{64}", content["fingerprint"])
    assert content["provenance"]["config"] == "a: 1\n"
    assert "end" not in content["provenance"]


def test_it_is_completed_with_what_came_of_it(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path, FACTS, {}, {"emb:type": "pixel"})
    inputs = [{"id": "a/b", "layer": "", "files": ["grids/a/b.tif"], "sources": [], "dates": ["2020-01-01"]}]
    failures = [{"id": "c", "reason": 'wrong "bands", NaN', "file": "c.tif"}]
    manifest.complete({"done": 1, "failed": 1}, inputs, failures, {"emb:dimensions": 768, "data_type": "int8"})
    content = _read(tmp_path)
    assert content["state"] == "complete"
    assert content["counts"] == {"done": 1, "failed": 1}
    assert content["inputs"] == inputs
    assert content["failures"] == failures
    assert (content["emb:type"], content["emb:dimensions"], content["data_type"]) == ("pixel", 768, "int8")
    assert content["processing:datetime"] == content["provenance"]["end"]
    assert content["provenance"]["start"] <= content["provenance"]["end"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", content["provenance"]["end"])
    back = read_manifest(tmp_path)
    assert back.is_complete
    assert back.content == manifest.content


def test_names_are_those_of_the_stac_extension(tmp_path: Path) -> None:
    # json-schema/schema.json of geo-embeddings/embeddings-stac-specification, const of stac_extensions.
    assert STAC_EXTENSIONS[0] == "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
    fields = {
        "emb:type": "chip",
        "emb:dimensions": 768,
        "data_type": "int8",
        "gsd": 160.0,
        "emb:temporal_resolution": "multi_temporal",
        "emb:chip_layout": {"layout_type": "regular_grid", "chip_size": [256, 256], "stride": [256, 256]},
        "emb:runtime_parameters": {"bands": ["RED"]},
        "emb:quantization": {"method": "sqrt_scale", "original_dtype": "float32", "quantized_dtype": "int8"},
        "links": [{"rel": "emb:model", "href": "https://huggingface.co/FM4CS/THOR-1.0-base"}],
    }
    Manifest.create(tmp_path, FACTS, {}, fields)
    content = _read(tmp_path)
    assert {key: content[key] for key in fields} == fields
    assert content["stac_extensions"] == list(STAC_EXTENSIONS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"emb:dims": 3}, "'emb:dims' is no field of the STAC embedding extension. Valid: emb:type"),
        ({"emb:dimensions": "768"}, "emb:dimensions must be int, got '768'"),
        ({"emb:dimensions": True}, "emb:dimensions must be int, got True"),
        ({"emb:dimensions": 0}, "emb:dimensions must be at least 1, got 0"),
        ({"gsd": "10 m"}, "gsd must be int or float, got '10 m'"),
        ({"emb:type": "grid"}, "emb:type must be pixel .* or chip .*got 'grid'"),
        ({"emb:quantization": {"method": "linear"}}, "needs method, original_dtype; original_dtype is missing"),
    ],
)
def test_a_field_that_the_extension_does_not_have_is_refused(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        Manifest.create(tmp_path, FACTS, {}, fields)
    assert not list(tmp_path.iterdir())
    manifest = Manifest.create(tmp_path, FACTS, {})
    with pytest.raises(ValueError, match=message):
        manifest.complete({}, [], [], fields)
    assert not read_manifest(tmp_path).is_complete


def test_versions_of_all_that_takes_part_in_the_numbers_are_there(tmp_path: Path) -> None:
    Manifest.create(tmp_path, FACTS, {"software": {"extra": "1.0"}})
    software = _read(tmp_path)["provenance"]["software"]
    assert software["python"] == platform.python_version()
    assert {"torch", "terratorch", "timm", "numpy", "rasterio", "gdal", "extra"} <= software.keys()
    assert "not installed" not in software_versions().values()


def test_a_package_that_is_not_installed_is_named_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eo_embed.export.record.manifest._PACKAGES", ("no-such-package-of-ours",))
    assert software_versions()["no-such-package-of-ours"] == "not installed"


def test_neither_user_nor_machine_nor_environment_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hf_verysecret")
    Manifest.create(tmp_path, FACTS, {}).complete({}, [], [])
    text = (tmp_path / "manifest.json").read_text()
    assert "hf_verysecret" not in text
    assert socket.gethostname() not in text
    assert f'"{getpass.getuser()}"' not in text


def test_a_resumed_export_names_its_earlier_runs(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path, FACTS, {"config": "same", "run": 1})
    manifest.resume({"config": "same", "run": 2})
    manifest.resume({"config": "other", "run": 3})
    content = _read(tmp_path)
    assert content["provenance"]["run"] == 3
    assert [run["run"] for run in content["earlier_runs"]] == [1, 2]
    assert "config" not in content["earlier_runs"][0]
    assert content["earlier_runs"][1]["config"] == "same"
    assert content["state"] == "running"


def test_names_of_files_in_any_alphabet_survive(tmp_path: Path) -> None:
    manifest = Manifest.create(tmp_path, FACTS, {})
    broken = b"M\xfcnchen.tif".decode("utf-8", "surrogateescape")
    inputs = [{"id": "Ærø/Ø.tif"}, {"id": broken}]
    manifest.complete({}, inputs, [])
    assert read_manifest(tmp_path).content["inputs"] == inputs


def test_facts_that_cannot_be_compared_leave_no_manifest(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="fact model is of type object"):
        Manifest.create(tmp_path, {"model": object()}, {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is no embedding export: there is no manifest.json. Give the folder"),
        ('{"half', "cannot be read as JSON: .*another folder"),
        (b"\xff\xfe\x00", "cannot be read as JSON"),
        ('{"name": "a web app"}', "format is None, expected 'eo_embed.manifest/1'"),
        ("[1]", "format is None"),
    ],
)
def test_another_file_is_not_taken_for_a_manifest(text: str | bytes | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path)
