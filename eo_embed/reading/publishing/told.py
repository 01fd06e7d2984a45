"""What published files tell of how they were made: the encoder, the data, the software."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlsplit

#: Beginning of names of things that have no address.
_URN = "urn:x-eo-embed"


@dataclass(frozen=True)
class Told:
    """References to the encoder and the data, as the conventions ask for them.

    Parameters
    ----------
    model : str
        URI of the encoder.
    sources : tuple of str
        URIs of the data sets, at least one.
    software : str
        Version of this package.
    """

    model: str
    sources: tuple[str, ...]
    software: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any], model: str = "", sources: Sequence[str] = ()) -> Told:
        """Return what an export tells, with the addresses that only its publisher knows.

        Without an address the encoder is named by its name and the digest of its weights, and the data by sensors:
        ``urn:x-eo-embed:model:NAME:SHA256``, ``urn:x-eo-embed:source:SENSOR``.

        Parameters
        ----------
        manifest : mapping
            Of the export.
        model : str
            Address of the encoder, such as that of its model card.
        sources : sequence of str
            Addresses of the data sets.

        Raises
        ------
        ValueError
            If an address has no scheme.
        """
        for name, address in (("the model", model), *(("a source", source) for source in sources)):
            if address and not urlsplit(address).scheme:
                msg = f"Expected the address of {name} as a URL such as https://example.org/x, got {address!r}."
                raise ValueError(msg)
        facts = manifest.get("facts", {})
        return cls(model or _model(manifest), tuple(sources) or _sources(facts), version("thor-anysat-terratorch"))


def _model(manifest: Mapping[str, Any]) -> str:
    facts = manifest.get("facts", {})
    task = facts.get("task", {})
    backbone = str(task.get("backbone", "")) if isinstance(task, dict) else ""
    weights = str(facts.get("weights_sha256", "")) or str(manifest.get("fingerprint", "unknown"))
    return f"{_URN}:model:{quote(backbone or 'unnamed', safe='')}:{weights}"


def _sources(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the sensors of all modalities, or the modalities' names where no sensor is stated."""
    data = facts.get("data", {})
    modalities = data.get("modalities", {}) if isinstance(data, dict) else {}
    named = {str(one.get("sensor") or name) for name, one in modalities.items() if isinstance(one, dict)}
    return tuple(f"{_URN}:source:{quote(name, safe='')}" for name in sorted(named)) or (f"{_URN}:source:unknown",)
