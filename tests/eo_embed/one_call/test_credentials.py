"""Keys of the environment and signed addresses open files, and appear in nothing that is written, kept or printed."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from range_server import range_server
from s3_server import ACCESS, SECRET, s3_server
from small_scenes import numbers, write_scene

from eo_embed import embed, open_embeddings

ENCODER: dict[str, Any] = {"pretrained": False, "device": "cpu", "tile": 32, "halo": 0}
#: All keys of the tests have the first of these words in them; the others are the names of what is made of keys.
TELLTALES = ("SECRET", "X-Amz-", "sig=", "Signature")
NAME = "S2A_MSIL2A_20190918_scene.tif"


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "SECRET" in ACCESS
    assert "SECRET" in SECRET
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", "SECRETSESSION")


def written(*folders: Path) -> Iterator[tuple[str, str]]:
    """Every file with its name and its bytes; of tables also the columns, which are compressed."""
    for path in (path for folder in folders for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes().decode("latin-1")
        if path.suffix == ".parquet":
            content += str(pq.read_table(path).drop_columns("embedding").to_pylist())
        yield str(path), f"{path}\n{content}"


def check_nothing_is_told(given: str, folder: Path) -> None:
    """Embed an address, and one with nothing behind it; look at all that there is afterwards."""
    out, cache = folder / "out", folder / "cache"
    embed("thor_v1_tiny", given, out=out, remote_cache=cache, **ENCODER)
    assert len(open_embeddings(out).ids) == 5
    with pytest.raises((ValueError, OSError)) as failed:
        embed("thor_v1_tiny", given.replace(NAME, "absent.tif"), out=folder / "none", remote_cache=cache, **ENCODER)
    said = "".join(traceback.format_exception(failed.value))
    assert "absent.tif" in said
    everything = [*written(out, cache, folder / "none"), ("traceback", said)]
    assert {Path(name).name for name, _ in everything} >= {"manifest.json", "embeddings.parquet"}
    assert list(written(cache)), "nothing was kept, so nothing was tested"
    assert not [(name, word) for name, content in everything for word in TELLTALES if word in content]


def printed_of(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, recwarn: Any) -> str:
    return "\n".join((*capfd.readouterr(), caplog.text, *(str(one.message) for one in recwarn)))


def test_keys_of_a_store_are_in_no_byte_that_embed_leaves(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    write_scene(tmp_path / "store" / "bucket" / NAME, numbers())
    with s3_server(tmp_path / "store") as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        monkeypatch.setenv("AWS_REGION", store.region)
        check_nothing_is_told(f"s3://bucket/{NAME}", tmp_path)
    assert not [word for word in TELLTALES if word in printed_of(capfd, caplog, recwarn)]


def test_the_query_of_a_signed_address_is_in_no_byte_that_embed_leaves(
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    caplog.set_level(logging.DEBUG)
    (tmp_path / "store").mkdir()
    write_scene(tmp_path / "store" / NAME, numbers())
    with range_server(tmp_path / "store") as server:
        server.signature = "SECRET+/1"
        query = "?X-Amz-Credential=SECRET2&X-Amz-Signature=SECRET3&sig=SECRET%2B%2F1&versionId=7"
        check_nothing_is_told(f"http://{server.host}/{NAME}{query}", tmp_path)
    assert not [word for word in TELLTALES if word in printed_of(capfd, caplog, recwarn)]
