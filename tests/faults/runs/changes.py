"""What becomes of inputs and outputs between two runs of an export."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from eo_models.features import Features
from tests.faults.inputs.mutate import any_bytes
from tests.faults.runs.export import (
    CHIPS,
    DATES,
    INDEX,
    LARGE,
    StandIn,
    make_data,
    pixels_of,
    read_rows,
    write_chip,
    write_large,
    write_rows,
)


class Change(NamedTuple):
    """A change of a data set; ``apply`` returns the root that the next run has."""

    name: str
    apply: Callable[[Path, Random], Path]
    kind: str = "tif"


def _chip(root: Path, chance: Random, first: int = 0) -> Path:
    kind = "zarr" if (root / "s2" / "1.zarr").exists() else "tif"
    return root / "s2" / f"{chance.randrange(first, CHIPS)}.{kind}"


def _replaced(root: Path, chance: Random) -> Path:
    file = _chip(root, chance)
    write_chip(file, pixels_of(chance.randrange(10**6)), int(file.stem))
    return root


def _same_size_and_time(root: Path, chance: Random) -> Path:
    file = _chip(root, chance, 1)
    members = [file] if file.is_file() else sorted(path for path in file.rglob("*") if path.is_file())
    before = {path: path.stat() for path in members}
    folders = [file, *(path for path in file.rglob("*") if path.is_dir())] if file.is_dir() else []
    of_folders = {path: path.stat() for path in folders}
    _replaced(root, Random(int(file.stem))) if file.is_dir() else write_chip(file, pixels_of(9), int(file.stem))  # noqa: S311
    for path, status in {**before, **of_folders}.items():
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return root


def _dates(root: Path, chance: Random) -> Path:
    rows = read_rows(root / INDEX)
    chance.choice(rows)["S2_dates"] = "2021-08-15"
    write_rows(root / INDEX, rows)
    return root


def _dates_beside(root: Path, chance: Random) -> Path:
    rows = read_rows(root / DATES)
    chance.choice(rows)["date"] = "2021-08-15"
    write_rows(root / DATES, rows)
    return root


def _source_of_vrt(root: Path, chance: Random) -> Path:
    number = chance.randrange(CHIPS)
    write_chip(root / "s2" / f"{number}_of_vrt.tif", pixels_of(chance.randrange(10**6)), number)
    return root


def _world_file(root: Path, chance: Random) -> Path:
    """Counts only where a file states no place of its own: nothing changes but what is known of the input."""
    _chip(root, chance).with_suffix(".tfw").write_text("10\n0\n0\n-10\n600005\n4999995\n")
    return root


def _other_file(root: Path, chance: Random) -> Path:
    rows = read_rows(root / INDEX)
    a, b = chance.sample(rows, 2)
    a["S2"], b["S2"] = b["S2"], a["S2"]
    write_rows(root / INDEX, rows)
    return root


def _more_rows(root: Path, chance: Random) -> Path:
    write_chip(root / "s2" / "99.tif", pixels_of(chance.randrange(10**6)), 99)
    write_rows(root / INDEX, [*read_rows(root / INDEX), {"id": "a/99", "S2": "s2/99.tif", "S2_dates": "2021-05-01"}])
    return root


def _moved_by_sidecar(root: Path, chance: Random) -> Path:
    text = "<PAMDataset><GeoTransform>600000, 10, 0, 5000000, 0, -10</GeoTransform></PAMDataset>"
    file = _chip(root, chance)
    file.with_name(f"{file.name}.aux.xml").write_text(text)
    return root


def _no_data_by_sidecar(root: Path, chance: Random) -> Path:
    file = _chip(root, chance)
    bands = "".join(f'<PAMRasterBand band="{i}"><NoDataValue>{1000 + i}</NoDataValue></PAMRasterBand>' for i in (1, 2))
    file.with_name(f"{file.name}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    return root


def _other_mask(root: Path, chance: Random) -> Path:
    mask = root / "s2" / "0.tif.msk"
    if chance.random() < 0.5:
        mask.unlink()
        return root
    write_chip(root / "x.tif", pixels_of(0), 0, mask=True)
    (root / "x.tif.msk").replace(root / "s2" / f"{chance.randrange(1, CHIPS)}.tif.msk")
    (root / "x.tif").unlink()
    return root


def _one_chunk(root: Path, chance: Random) -> Path:
    """The folder's own time does not change when a file in it is written over."""
    file = _chip(root, chance) / "s2" / "0.0.0"
    other = root / "x.zarr"
    write_chip(other, pixels_of(chance.randrange(10**6)), 0)
    file.write_bytes((other / "s2" / "0.0.0").read_bytes())
    shutil.rmtree(other)
    return root


def _other_root(root: Path, chance: Random) -> Path:
    return make_data(root.parent / "elsewhere" / root.name, chance.randrange(1, 10**6))


def _root_replaced(root: Path, chance: Random) -> Path:
    shutil.rmtree(root)
    return make_data(root, chance.randrange(1, 10**6))


def _large_replaced(root: Path, chance: Random) -> Path:
    """Of the same or another size: tiles of the other one must not be mixed with these."""
    sides = [chance.choice((own, own, own - 24, own + 16)) for own in LARGE["big"]]
    write_large(root / "s2" / "big.tif", chance.randrange(10**6), (sides[0], sides[1]))
    return root


def _touched(root: Path, chance: Random) -> Path:
    os.utime(_chip(root, chance))
    return root


CHANGES = (
    Change("replaced", _replaced),
    Change("other pixels, same size and time", _same_size_and_time),
    Change("another date in the index", _dates),
    Change("rows name each other's file", _other_file),
    Change("one row more", _more_rows),
    Change("moved by a sidecar", _moved_by_sidecar),
    Change("no-data by a sidecar", _no_data_by_sidecar),
    Change("another mask", _other_mask),
    Change("another root with the same ids", _other_root),
    Change("the root is another data set", _root_replaced),
    Change("touched", _touched),
    Change("a world file", _world_file),
    Change("another date in the date index", _dates_beside, "dated"),
    Change("the source of a VRT", _source_of_vrt, "vrt"),
    Change("large replaced", _large_replaced, "large"),
    Change("zarr replaced", _replaced, "zarr"),
    Change("zarr, one chunk", _one_chunk, "zarr"),
    Change("zarr, same size and time", _same_size_and_time, "zarr"),
)


class ReplacesInput(StandIn):
    """Replaces a chip of the data set when it gets a batch, that is after the chip was read."""

    def __init__(self, root: Path, batch: int, chip: int) -> None:
        super().__init__()
        self.root, self.batch, self.chip = root, batch, chip
        self.seen = 0

    def forward(self, image: Any, **extras: Any) -> list[Features]:
        self.seen += 1
        if self.seen == self.batch:
            write_chip(self.root / "s2" / f"{self.chip}.tif", pixels_of(77), self.chip)
        return super().forward(image, **extras)


def _grid(out: Path, chance: Random) -> Path:
    files = [path for path in (out / "grids").rglob("*") if path.is_file()] if (out / "grids").is_dir() else []
    files = files or [path for path in out.rglob("*") if path.is_file() and path.parent != out]
    return chance.choice(sorted(path for path in files if path.stat().st_size > 60))


def _truncated(out: Path, chance: Random) -> str:
    file = chance.choice((_grid(out, chance), out / "embeddings.parquet"))
    keep = chance.randrange(file.stat().st_size)
    os.truncate(file, keep)
    return f"{file.name} has {keep} bytes"


def _flipped(out: Path, chance: Random) -> str:
    file = chance.choice((_grid(out, chance), out / "embeddings.parquet"))
    own = bytearray(file.read_bytes())
    place = chance.randrange(len(own))
    own[place] ^= 1 << chance.randrange(8)
    file.write_bytes(own)
    return f"{file.name} has another byte at {place}"


def _removed(out: Path, chance: Random) -> str:
    file = chance.choice((_grid(out, chance), out / "embeddings.parquet"))
    file.unlink()
    return f"{file.name} is gone"


def _fewer_rows(out: Path, chance: Random) -> str:
    file = out / "embeddings.parquet"
    rows = pq.read_table(file)
    pq.write_table(rows.slice(0, chance.randrange(len(rows))), file)
    return "the table has fewer rows"


def _exchanged(out: Path, chance: Random) -> str:
    a, b = _grid(out, chance), _grid(out, chance)
    own = a.read_bytes()
    a.write_bytes(b.read_bytes())
    b.write_bytes(own)
    return f"{a.name} and {b.name} are exchanged"


def _manifest(out: Path, chance: Random) -> str:
    """A damaged manifest is named, or all is made again."""
    return f"manifest.json: {any_bytes(out / 'manifest.json', chance).name}"


DAMAGES = (_truncated, _truncated, _flipped, _removed, _fewer_rows, _exchanged, _manifest)
