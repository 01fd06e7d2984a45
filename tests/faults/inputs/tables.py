"""Index tables and date indices, their cells and bytes damaged."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eo_data.catalog.date_index import dates_of_samples
from eo_data.catalog.records import Record
from eo_data.catalog.sources import ImageSource
from eo_data.dataset.chip_splits import ChipSplits
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from tests.faults.inputs.mutate import Damage, any_bytes
from tests.faults.outcome import Outcome

ROWS = 6
#: What a cell may hold that nobody meant.
VALUES: tuple[Any, ...] = (
    *("", " ", "\0", "a\0b", "x" * 300, "x" * 200_000, "../up.tif", "/etc/passwd", "s2/../../up.tif", ".", "..", "/"),
    *("NaN", "nan", "1e999", "-inf", "9" * 5000, "9999-99-99", "0000-00-00", "2021-02-30", "10000-01-01", "2021"),
    *(
        "\ufeff",
        "a\nb",
        "a\rb",
        '"',
        ";",
        ";;;",
        "s2/0.tif;s2/0.tif",
        "\u202e",
        "e\u0301",
        "A",
        "a",
        "C:\\x.tif",
        "\x1b[2J",
    ),
    *("http://127.0.0.1:9/x.tif", "/vsicurl/http://127.0.0.1:9/x.tif", "/vsizip/nothing.zip/x.tif", "s2", "fifo.tif"),
    *(None, True, 0, -1, 10**30, 1e300, float("nan"), float("inf"), [], [[]], {}, {"a": 1}, ["s2/0.tif", None]),
)
_NO_ID = frozenset(("", " ", ".", "..", "/"))


def rows() -> list[dict[str, Any]]:
    """Return a valid index of chips, with dates, labels and splits."""
    return [
        {
            "id": f"chip-{i}",
            "S2": f"s2/{i}.tif",
            "S2_dates": f"2021-03-{i + 10}",
            "label": i % 3,
            "split": "predict",
        }
        for i in range(ROWS)
    ]


@dataclass(frozen=True)
class TableSeed:
    """An index or a date index of one form."""

    name: str
    kind: str
    file: str

    def write(self, folder: Path) -> None:
        (folder / "s2").mkdir()
        for i in range(ROWS):
            (folder / "s2" / f"{i}.tif").write_bytes(b"")
        write_table(folder / self.file, rows())

    def read(self, folder: Path) -> list[Any]:
        """Return what a data module makes of the table: records, or dates by name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if self.kind == "date index":
                source = ImageSource("x.tif", ["B2"], dated=True, date_index=self.file)
                return sorted(dates_of_samples(source, folder, [row["id"] for row in rows()]).items())
            source = ImageSource(bands=["B2"], sensor="sentinel2_l2a")
            data = ChipSplits(
                str(folder), {"S2": source}, DatasetNormalise({"S2": [0.0]}, {"S2": [1.0]}), index=self.file
            )
            found = data._records(labelled=False)
            data.dataset("predict", found)  # the checks of setup
            return found

    def case(self, folder: Path, valid: list[Any], chance: Random) -> Outcome:
        damage, expected = self._damaged(folder / self.file, chance)
        try:
            found = self.read(folder)
        except ValueError as error:
            # An id is named as it stands, wherever it came from.
            named = (self.file in str(error) or str(error).startswith("The id")) and len(str(error)) < 5000
            return Outcome("refused") if named else _unexpected(damage, error)
        except BaseException as error:  # noqa: BLE001  (that none comes is what is tested)
            return _unexpected(damage, error)
        if self.kind == "index" and (fault := _wrong(found, expected, folder)):
            return Outcome("wrong", f"{damage.name}: {fault}")
        if self.kind == "date index" and (fault := _wrong_dates(found)):
            return Outcome("wrong", f"{damage.name}: {fault}")
        return Outcome("equal" if _texts(found) == _texts(valid) else "changed", damage.name)

    def _damaged(self, file: Path, chance: Random) -> tuple[Damage, int | None]:
        """Damage the table; return what was done, and how many rows it still has, if that is known."""
        if chance.random() < 0.5:
            return any_bytes(file, chance), None
        content = rows()
        row, column = chance.choice(content), chance.choice(list(content[0]))
        kind = chance.choice(("value", "value", "value", "column", "drop", "double", "form"))
        value = chance.choice(VALUES)
        if kind == "value":
            row[column] = value
        elif kind == "column":
            content = [{**row, column: value} for row in content]
        elif kind == "drop":
            for own in content:
                del own[column]
        elif kind == "double":
            content.append(dict(row))
        else:
            return Damage(_other_form(file, chance)), None
        write_table(file, content)
        return Damage(f"{kind} {column} {str(value)[:40]!r}"), len(content)


def _texts(found: Sequence[Any]) -> list[Any]:
    """What was found, without the folder of the case."""
    if not found or not isinstance(found[0], Record):
        return list(found)
    files = [
        [href.text.rpartition("/data/")[2] for hrefs in record.files.values() for href in hrefs] for record in found
    ]
    return [[r.id, own, r.dates, r.label, r.split] for r, own in zip(found, files, strict=True)]


def _unexpected(damage: Damage, error: BaseException) -> Outcome:
    return Outcome("unexpected", f"{damage.name}: {type(error).__name__}: {str(error)[:200]}")


def write_table(path: Path, content: Sequence[Mapping[str, Any]]) -> None:
    """Write rows by the ending of the file's name; what Parquet cannot hold becomes text."""
    if path.suffix == ".json":
        path.write_text(json.dumps(list(content)), encoding="utf-8")
    elif path.suffix == ".parquet":
        columns = {name: [row.get(name) for row in content] for name in content[0]}
        pq.write_table(pa.table({name: _column(values) for name, values in columns.items()}), path)
    else:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(content[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
        path.write_text(text.getvalue(), encoding="utf-8", newline="")


def _column(values: Sequence[Any]) -> pa.Array:
    try:
        found = pa.array(values)
        if not pa.types.is_struct(found.type) or found.type.num_fields:  # Parquet has no empty ones
            return found
    except (pa.ArrowException, OverflowError):
        pass
    return pa.array([None if value is None else str(value) for value in values])


def _other_form(file: Path, chance: Random) -> str:
    """Write what is no table of this form, or one in another encoding."""
    text = json.dumps(rows())
    forms: dict[str, bytes] = {
        "nested": b"[" * 100_000 + b"]" * 100_000,
        "object": b'{"id": ' * 50_000 + b"1" + b"}" * 50_000,
        "utf-16": text.encode("utf-16"),
        "latin": b'[{"id": "\xe9\xff"}]',
        "lone surrogate": b'[{"id": "\\ud800", "S2": "s2/0.tif"}]',
        "number": b"1",
        "null": b"null",
        "text": b'"x"',
        "long number": b'[{"id": ' + b"9" * 5000 + b"}]",
        "only a header": b"id,S2,S2_dates,label,split\n",
        "no columns": b"\n\n\n",
        "short rows": b"id,S2,S2_dates\nchip-0\nchip-1,s2/1.tif\n",
        "long rows": b"id,S2\nchip-0,s2/0.tif,1,2,3\n",
        "same columns": b"id,id,S2\na,b,s2/0.tif\n",
        "open quote": b'id,S2\n"chip-0,s2/0.tif\nchip-1,s2/1.tif\n',
        "semicolons": b"id;S2\nchip-0;s2/0.tif\n",
        "zip": b"PK\x03\x04" + bytes(100),
    }
    name = chance.choice(sorted(forms))
    file.write_bytes(forms[name])
    return name


def _wrong(found: Sequence[Record], expected: int | None, folder: Path) -> str:  # noqa: PLR0911
    """Return what is wrong with records that were accepted, or nothing."""
    if expected is not None and len(found) != expected:
        return f"{len(found)} samples of {expected} rows"
    ids = [record.id for record in found]
    if len({record_id.casefold() for record_id in ids}) < len(ids):
        return f"ids of one file: {ids}"
    for record in found:
        if record.id in _NO_ID or len(record.id) > 255 * 8 or any(ord(letter) < 32 for letter in record.id):
            return f"the id {record.id[:60]!r}"
        if record.id.startswith("/") or ".." in record.id.split("/"):
            return f"the id {record.id[:60]!r} leads outside"
        for href in (href for hrefs in record.files.values() for href in hrefs):
            if href.is_local and not Path(href.text).resolve().is_relative_to(folder.resolve()):
                return f"{href} is outside of root"
        if fault := _wrong_dates([("", day) for days in record.dates.values() for day in days]):
            return fault
    return ""


def _wrong_dates(found: Sequence[tuple[str, Any]]) -> str:
    days = [day for _, own in found for day in (own if isinstance(own, list) else [own])]
    odd = [day for day in days if not isinstance(day, date) or not 1950 <= day.year < 2100]
    return f"the dates {odd[:3]}" if odd else ""


class DateSeed(TableSeed):
    """A file of dates by sample."""

    def write(self, folder: Path) -> None:
        write_table(folder / self.file, [{"id": row["id"], "date": row["S2_dates"]} for row in rows()])


def table_seeds() -> list[TableSeed]:
    """Return all valid tables."""
    indices = [TableSeed(f"index {form}", "index", f"index.{form}") for form in ("csv", "json", "parquet")]
    return [*indices, *(DateSeed(f"dates {form}", "date index", f"dates.{form}") for form in ("csv", "json"))]
