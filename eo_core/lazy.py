"""Attributes of a package that are imported when somebody first asks for them (PEP 562)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

#: Names that a package needs to be lazy; who looks what it has looks for others.
_MEANS = frozenset(("TYPE_CHECKING", "annotations", "lazy_attributes"))
#: Name that all packages of the project are installed under.
PROJECT = "thor-anysat-terratorch"


def project_version() -> str:
    """Return the version of the project; ``0+unknown`` where its files are used without being installed."""
    try:
        return version(PROJECT)
    except PackageNotFoundError:
        return "0+unknown"


def lazy_attributes(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose import must stay cheap.

    In the package: ``__getattr__, __dir__ = lazy_attributes(__name__, {"ThisClass": ".this_module"})``.

    Parameters
    ----------
    package : str
        The package's ``__name__``.
    homes : mapping of str to str
        Module that defines each attribute, relative to the package (``.module``) or absolute.

    Returns
    -------
    callable, callable
        ``__getattr__`` imports the module of an attribute, and raises ``AttributeError`` for any other name.
        ``__dir__`` lists these attributes along with what the package holds already. Both know ``__version__``.
    """

    def get_attribute(name: str) -> Any:  # noqa: ANN401
        if name in homes:
            return getattr(importlib.import_module(homes[name], package), name)
        if name == "__version__":
            return project_version()
        msg = f"module {package!r} has no attribute {name!r}"
        raise AttributeError(msg)

    def list_attributes() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes, "__version__"} - _MEANS)

    return get_attribute, list_attributes
