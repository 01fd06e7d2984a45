"""Files and ledger items as an export makes them, without an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def ledger_item(folder: Path, name: str, layer: str = "", sources: tuple[Path, ...] = ()) -> dict[str, Any]:
    file = "/".join(["grids", *([layer] if layer else []), f"{name}.tif"])
    make_files(folder, file)
    return {"id": name, "layer": layer, "files": [file], "sources": sources, "dates": ["2020-01-01"]}
