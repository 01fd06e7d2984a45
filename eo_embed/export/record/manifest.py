"""``manifest.json``: what an export is and how it was made, written first and completed last.

Names follow the STAC embedding extension where it has one (version 0.0.1, ``requirements.md`` and
``json-schema/schema.json`` of github.com/geo-embeddings/embeddings-stac-specification at 91601b7; ``emb:dimensions``,
``emb:type``, ``emb:quantization`` ...) and the STAC processing extension 1.2.0 (``processing:datetime``). The manifest
is no STAC collection: an extent and a licence are the publisher's to add.
"""

from __future__ import annotations

import itertools
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eo_core.files import atomic_path, write_text
from eo_core.fingerprint import fingerprint, plain_values
from eo_embed.export.record.item_table import check_items, read_items, write_items
from eo_embed.writers.layout import MANIFEST

#: Marks the file as ours, with the version of its layout.
FORMAT = "eo_embed.manifest/1"
RUNNING, COMPLETE = "running", "complete"
#: Most items that the manifest itself lists, so that it can be read in an editor; more go to a table, of this pattern.
MOST_LISTED = 1000
TABLES = "items-*.parquet"
STAC_EXTENSIONS = (
    "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)
#: Fields of the extension, and of STAC's common metadata that it uses, with their types.
STAC_FIELDS: Mapping[str, tuple[type, ...]] = MappingProxyType(
    {
        "emb:type": (str,),
        "emb:dimensions": (int,),
        "data_type": (str,),
        "gsd": (int, float),
        "emb:chip_layout": (dict,),
        "emb:temporal_resolution": (str,),
        "emb:runtime_parameters": (dict,),
        "emb:preprocessing": (dict,),
        "emb:postprocessing": (dict,),
        "emb:quantization": (dict,),
        "emb:fit_for_use": (list,),
        "links": (list,),
    }
)
EMBEDDING_TYPES = ("pixel", "chip")
#: What a quantization object needs, by the schema.
_QUANTIZATION = frozenset(("method", "original_dtype"))
_PACKAGES = (
    "thor-anysat-terratorch", "terratorch", "torch", "timm", "torchgeo", "lightning", "numpy", "rasterio", "pyproj",
)  # fmt: skip


@dataclass(eq=False)
class Manifest:
    """The manifest of one export: what the file holds, and the three steps of its life.

    ``create`` when an export begins, ``resume`` when another run goes on with it, ``complete`` when all files are in
    place. Each writes the file, whole or not at all.

    Parameters
    ----------
    folder : Path
        Folder of the export.
    content : dict
        What the file holds: ``state``, ``fingerprint``, the STAC fields, ``facts`` (everything that changes the
        numbers), ``provenance`` (software, config text, start and end in UTC), ``earlier_runs``, ``counts``,
        ``data_set`` (which one, see `eo_embed.export.facts.data_set_of`), ``written`` (state of the files that many
        items share), ``inputs`` (per item its files, the state of its sources, its dates; of many, the table that
        lists them, see `items`) and
        ``failures``.
    """

    folder: Path
    content: dict[str, Any] = field(repr=False)

    @classmethod
    def create(
        cls,
        folder: str | Path,
        facts: Mapping[str, Any],
        provenance: Mapping[str, Any],
        stac: Mapping[str, Any] | None = None,
        data_set: Mapping[str, Any] | None = None,
    ) -> Manifest:
        """Write the manifest of an export that begins.

        Parameters
        ----------
        folder : str or Path
            Folder of the export; made if it is missing.
        facts : mapping
            Everything that changes the numbers.
        provenance : mapping
            What may differ between two runs that give the same numbers. Software versions and start are added.
        stac : mapping, optional
            Fields of the STAC embedding extension that are known already.
        data_set : mapping, optional
            By `eo_embed.export.facts.data_set_of`.

        Raises
        ------
        ValueError
            For facts without a stable spelling, or a field that the extension does not have.
        """
        content = {
            "format": FORMAT,
            "state": RUNNING,
            "fingerprint": fingerprint(facts),
            "stac_extensions": list(STAC_EXTENSIONS),
            **_stac_fields(stac or {}),
            "facts": plain_values(facts),
            **({"data_set": dict(data_set)} if data_set else {}),
            "provenance": _provenance(provenance),
            "earlier_runs": [],
            "counts": {},
            "inputs": [],
            "failures": [],
        }
        manifest = cls(Path(folder), content)
        manifest._write()
        return manifest

    @property
    def facts(self) -> Mapping[str, Any]:
        """Everything that changes the numbers."""
        facts: Mapping[str, Any] = self.content["facts"]
        return facts

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the facts."""
        return str(self.content["fingerprint"])

    @property
    def is_complete(self) -> bool:
        """Whether the export came to its end."""
        return bool(self.content["state"] == COMPLETE)

    @property
    def written(self) -> Mapping[str, Any]:
        """State of each file that many items share, by its name relative to the folder."""
        written: Mapping[str, Any] = self.content.get("written", {})
        return written

    @property
    def count(self) -> int:
        """Number of items of the complete export."""
        inputs = self.content["inputs"]
        return int(inputs["items"]) if isinstance(inputs, dict) else len(inputs)

    def items(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Yield the entries of a complete export, sorted by id and layer.

        Parameters
        ----------
        columns : sequence of str, optional
            What is needed of each, of `eo_embed.export.record.item_table.COLUMNS`; there may be more.

        Raises
        ------
        ValueError
            If their table cannot be read.
        """
        inputs = self.content["inputs"]
        return read_items(self.folder / inputs["table"], columns) if isinstance(inputs, dict) else iter(inputs)

    def resume(self, provenance: Mapping[str, Any]) -> None:
        """Note that another run goes on with the export; what it has finished stays.

        The provenance of the run before goes to ``earlier_runs``, without the config text if that is the same.
        """
        now, before = _provenance(provenance), dict(self.content["provenance"])
        if before.get("config") == now.get("config"):
            before.pop("config", None)
        self.content["earlier_runs"].append(before)
        self.content |= {"state": RUNNING, "provenance": now}
        self._write()

    def move_to(self, data_set: Mapping[str, Any]) -> None:
        """Note where the data set is now; the next step writes it."""
        self.content["data_set"] = dict(data_set)

    def list_items(self, entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]] | dict[str, Any]:
        """Return items as the manifest lists them; of many, write their table, and return where they are listed.

        Parameters
        ----------
        entries : iterable of dict
            As `complete` takes them, of plain values. Memory holds few of them.

        Raises
        ------
        ValueError, OSError
            If the table cannot be written, or does not hold the items afterwards.
        """
        entries = iter(entries)
        first = list(itertools.islice(entries, MOST_LISTED + 1))
        if len(first) <= MOST_LISTED:
            return first
        count = 0

        def check(partial: Path) -> None:
            check_items(partial, count)

        # Under a name of its own, so that the manifest before this one keeps the table that it names.
        table = self.folder / TABLES.replace("*", f"{len(self.content['earlier_runs']):04d}")
        with atomic_path(table, check) as partial:
            count = write_items(partial, itertools.chain(first, entries))
        return {"table": table.name, "items": count}

    def complete(
        self,
        counts: Mapping[str, Any],
        inputs: Iterable[Mapping[str, Any]] | Mapping[str, Any],
        failures: Sequence[Mapping[str, Any]],
        stac: Mapping[str, Any] | None = None,
        written: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the manifest of an export whose files are all in place.

        The items of a large export go to a table beside it, ``items-<run>.parquet``.

        Parameters
        ----------
        counts : mapping
            Items done, skipped, failed, cells ...
        inputs : iterable of mapping, or mapping
            Per item id, layer, files, sources and dates, sorted, as ``Ledger.inputs`` gives them; or what `list_items`
            has made of them.
        failures : sequence of mapping
            Per failed item id, reason and file, as ``Failures.merge`` gives them.
        stac : mapping, optional
            Fields of the STAC embedding extension that are known by now, such as ``emb:dimensions``.
        written : mapping, optional
            State of each file that many items share, by its name relative to the folder.

        Raises
        ------
        ValueError
            For a field that the extension does not have.
        """
        end = _now()
        self.content |= _stac_fields(stac or {})
        self.content |= {
            "state": COMPLETE,
            "processing:datetime": end,
            "provenance": {**self.content["provenance"], "end": end},
            "counts": plain_values(counts),
            **({"written": plain_values(written)} if written else {}),
            "inputs": dict(inputs) if isinstance(inputs, Mapping) else self.list_items(map(plain_values, inputs)),
            "failures": plain_values(failures),
        }
        self._write()
        named = self.content["inputs"]["table"] if isinstance(self.content["inputs"], dict) else ""
        for table in self.folder.glob(TABLES):
            if table.name != named:
                table.unlink()

    def _write(self) -> None:
        write_text(self.folder / MANIFEST, _as_json(self.content))


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of an export.

    Raises
    ------
    ValueError
        If there is none, or the file is not one of ours.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        msg = (
            f"{folder} is no embedding export: there is no {MANIFEST}. Give the folder that the export was written to."
        )
        raise ValueError(msg)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # of JSON and of UTF-8
        msg = f"{path} cannot be read as JSON: {error}. Export to another folder, or start again with overwrite: true."
        raise ValueError(msg) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != FORMAT:
        msg = f"{path} is no manifest of this version: format is {found!r}, expected {FORMAT!r}. Use another folder."
        raise ValueError(msg)
    return Manifest(Path(folder), content)


def begins_like_manifest(path: Path) -> bool:
    """Tell whether a file is a manifest of ours by how it begins, though it may be cut off."""
    with path.open("rb") as file:
        return FORMAT.encode() in file.read(100)


def software_versions() -> dict[str, str]:
    """Return the versions of Python, GDAL, and the packages that take part in the numbers."""
    import rasterio  # noqa: PLC0415  (only for the version of the GDAL it brings)

    versions = {"python": platform.python_version(), "gdal": str(rasterio.__gdal_version__)}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    return versions


def _provenance(given: Mapping[str, Any]) -> dict[str, Any]:
    software = software_versions() | dict(given.get("software") or {})
    plain: dict[str, Any] = plain_values({**given, "software": software, "start": _now()})
    return plain


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _stac_fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields as plain values, checked against the extension.

    Raises
    ------
    ValueError
        For an unknown field, or a value that the extension does not allow.
    """
    plain: dict[str, Any] = plain_values(given)
    for name, value in plain.items():
        _check_type(name, value)
    kind = plain.get("emb:type", EMBEDDING_TYPES[0])
    if kind not in EMBEDDING_TYPES:
        msg = f"emb:type must be pixel (a grid) or chip (one vector per sample), got {kind!r}."
        raise ValueError(msg)
    if plain.get("emb:dimensions", 1) < 1:
        msg = f"emb:dimensions must be at least 1, got {plain['emb:dimensions']}."
        raise ValueError(msg)
    missing = _QUANTIZATION - plain.get("emb:quantization", dict.fromkeys(_QUANTIZATION)).keys()
    if missing:
        msg = f"emb:quantization needs {', '.join(sorted(_QUANTIZATION))}; {', '.join(sorted(missing))} is missing."
        raise ValueError(msg)
    return plain


def _check_type(name: str, value: object) -> None:
    """Check one field: the extension has it, and its value is of the type that it has there."""
    if name not in STAC_FIELDS:
        msg = f"{name!r} is no field of the STAC embedding extension. Valid: {', '.join(STAC_FIELDS)}."
        raise ValueError(msg)
    if not isinstance(value, STAC_FIELDS[name]) or isinstance(value, bool):
        kinds = " or ".join(kind.__name__ for kind in STAC_FIELDS[name])
        msg = f"{name} must be {kinds}, got {value!r}."
        raise ValueError(msg)


def _as_json(content: Mapping[str, Any]) -> str:
    """Return the text of the file: indented, but with one line for each item and failure, as there may be many."""
    parts = []
    for key, value in content.items():
        if key in ("inputs", "failures") and isinstance(value, list) and value:
            lines = ",\n    ".join(json.dumps(entry, allow_nan=False) for entry in value)
            text = f"[\n    {lines}\n  ]"
        else:
            text = json.dumps(value, indent=2, allow_nan=False).replace("\n", "\n  ")
        parts.append(f"  {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(parts) + "\n}\n"
