"""Where the names that packages export are defined, and what their docstrings say, without importing anything."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

#: Packages and modules whose exported names users write.
PACKAGES = (
    "eo_embed",
    "eo_finetune",
    "thor_terratorch_ext",
    "anysat_ext",
    "universat_ext",
    "eo_data.datamodules",
    "eo_data.preprocess",
    "eo_embed.map",
    "eo_embed.pictures",
    "eo_embed.ray",
)
type Definition = ast.ClassDef | ast.FunctionDef


def exported(root: Path, package: str) -> list[str]:
    """Return ``__all__`` of a package."""
    for node in _module(root, package).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def definition(root: Path, path: str) -> Definition | None:
    """Return the class or function behind a dotted path, through imports; ``None`` if there is none."""
    package, _, name = path.rpartition(".")
    try:
        tree = _module(root, package)
    except FileNotFoundError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node
    for module, original in _imports(tree, name):
        return definition(root, f"{module}.{original}")
    return None


def _imports(tree: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    yield node.module, alias.name


def _module(root: Path, package: str) -> ast.Module:
    place = root.joinpath(*package.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))
