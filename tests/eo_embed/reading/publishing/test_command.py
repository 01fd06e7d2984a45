"""The commands, and a conversion that is killed in the middle."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eo_embed.cli import main
from eo_embed.reading.publishing.convert import Conversion, convert

KILLED = """
import os, signal, sys
from eo_embed.reading.publishing import cogs, geoemb
from eo_embed.reading.publishing.convert import Conversion, convert
class Writer(geoemb._StoreWriter):
    def check(self, path):
        os.kill(os.getpid(), signal.SIGKILL)
geoemb._StoreWriter = Writer
write, count = cogs.write_cog, 0
def second(*given):
    global count
    count += 1
    if count == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return write(*given)
cogs.write_cog = second
convert(sys.argv[1], sys.argv[2], Conversion(sys.argv[3]))
"""


def ended(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    return int(end.value.code or 0)


def test_convert_and_stac_as_a_user_calls_them(
    make_tiles: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export, out = str(make_tiles()), tmp_path / "out"
    assert ended(["convert", export, str(out), "--to", "zarr", "--model", "https://example.org/m"]) == 0
    assert "EPSG-32633.zarr written" in capsys.readouterr().out
    assert ended(["convert", export, str(tmp_path / "cogs"), "--to", "cog", "--pca", "2", "--dtype", "int8"]) == 0
    assert ended(["stac", export, "--licence", "CC-BY-4.0", "--source", "https://example.org/s2"]) == 0
    assert (tmp_path / "export" / "stac" / "collection.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["convert", "{export}", "{out}", "--to", "zarr", "--dtype", "int4"], "int8, float16, float32"),
        (["convert", "{export}", "{out}", "--to", "zarr", "--model", "my model"], "as a URL such as https://"),
        (["convert", "{export}", "{out}", "--to", "cog", "--dtype", "int4"], "float32"),
        (["convert", "{export}/nothing", "{out}", "--to", "cog"], "is no folder or file"),
        (["stac", "{export}", "--licence", ""], "needs a licence"),
        (["stac", "{export}", "--licence", "other", "--period", "2024-02-01", "2024-01-01"], "before it begins"),
    ],
)
def test_a_fault_of_the_input_is_a_message_that_says_what_is_expected(
    make_tiles: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    places = {"export": str(make_tiles([(0, 0)])), "out": str(tmp_path / "out")}
    assert ended([text.format(**places) for text in arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("to", ["zarr", "cog"])
def test_a_conversion_that_was_killed_is_made_again_with_the_same_bytes(
    make_tiles: Callable[..., Path], tmp_path: Path, to: str
) -> None:
    export, out = make_tiles(), tmp_path / "out"
    given = [sys.executable, "-c", KILLED, str(export), str(out), to]
    assert subprocess.run(given, check=False, timeout=120).returncode == -signal.SIGKILL  # noqa: S603
    convert(export, out, Conversion(to))  # type: ignore[arg-type]
    convert(export, tmp_path / "whole", Conversion(to))  # type: ignore[arg-type]

    def content(folder: Path) -> dict[str, bytes]:
        files = (path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    assert content(out) == content(tmp_path / "whole")
