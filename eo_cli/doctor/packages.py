"""Which packages are there, in which version, without importing them."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

from eo_cli.doctor.findings import Finding, Part, State
from eo_core.lazy import PROJECT

#: Whose versions a report of a fault should have.
_SHOWN = ("terratorch", "torch", "torchgeo", "lightning", "rasterio", "numpy", "huggingface-hub", "jsonargparse")
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?\s*(?:>=\s*(?P<least>[\d.]+))?[^;]*(?:;(?P<marker>.*))?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")


@dataclass(frozen=True)
class Requirement:
    """A package that another one asks for.

    Parameters
    ----------
    name : str
        The package.
    least : str
        Its lowest version; empty for any.
    extra : str
        The extra that asks for it; empty if the project itself does.
    """

    name: str
    least: str
    extra: str


def requirements(lines: list[str]) -> Iterator[Requirement]:
    """Yield what the metadata of a package asks for."""
    for line in lines:
        found = _REQUIREMENT.match(line)
        if found is not None:
            extra = _EXTRA.search(found["marker"] or "")
            yield Requirement(found["name"], found["least"] or "", extra[1] if extra else "")


def look_at_packages() -> Part:
    """Return versions, what is missing or too old, and which extras are there."""
    try:
        own, lines = metadata.version(PROJECT), metadata.requires(PROJECT) or []
    except metadata.PackageNotFoundError:
        advice = (
            f"Install it (`pip install {PROJECT}`, or `uv sync` in the repository): its commands and encoders need it."
        )
        return Part("packages", [Finding(PROJECT, "not installed", State.BROKEN, advice)])
    wanted = list(requirements(lines))
    needed = {one.name: one for one in wanted if not one.extra}
    rows = [_python(), Finding(PROJECT, own)]
    rows += [_package(needed.get(name, Requirement(name, "", ""))) for name in _SHOWN]
    rows.append(_gdal())
    others = [_package(one) for name, one in needed.items() if name not in _SHOWN]
    rows += [row for row in others if row.state is not State.FINE]
    rows.append(_others(len(others), sum(row.state is State.BROKEN for row in others)))
    return Part("packages", [*rows, *_extras(wanted)])


def _python() -> Finding:
    return Finding("Python", f"{sys.version.split()[0]} ({sys.executable})")


def _others(count: int, broken: int) -> Finding:
    return Finding("others that it needs", f"{count - broken} of {count} are there in a version that fits")


def _package(wanted: Requirement) -> Finding:
    least = f">={wanted.least}" if wanted.least else ""
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        return Finding(wanted.name, "not installed", State.BROKEN, f"pip install '{wanted.name}{least}'")
    if _numbers(version) < _numbers(wanted.least):
        found = f"{version}, at least {wanted.least} is needed"
        return Finding(wanted.name, found, State.BROKEN, f"pip install '{wanted.name}{least}'")
    return Finding(wanted.name, version)


def _gdal() -> Finding:
    """Return the version of GDAL, which comes with rasterio; its libraries may not load where the package is there."""
    try:
        rasterio = importlib.import_module("rasterio")
    except ImportError as error:
        advice = "Rasterio cannot be imported; install it again, in an environment of its own."
        return Finding("GDAL", f"{type(error).__name__}: {error}", State.BROKEN, advice)
    return Finding("GDAL", f"{rasterio.__gdal_version__} (of rasterio)")


def _extras(wanted: list[Requirement]) -> Iterator[Finding]:
    by_extra: dict[str, list[Requirement]] = {}
    for one in wanted:
        if one.extra:
            by_extra.setdefault(one.extra, []).append(one)
    for extra, ones in sorted(by_extra.items()):
        there = {one.name: _package(one).found for one in ones}
        missing = [one.name for one in ones if _package(one).state is not State.FINE]
        if missing:
            found = f"not there ({', '.join(f'{name} {there[name]}' for name in missing)})"
            yield Finding(f"extra {extra}", f"{found}: pip install '{PROJECT}[{extra}]'")
        else:
            yield Finding(f"extra {extra}", ", ".join(f"{name} {version}" for name, version in there.items()))


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: 2.15.0rc1+cpu is 2, 15, 0."""
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()
