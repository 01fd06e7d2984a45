"""Which arguments a class takes, read from its source: importing it may take 20 s."""

from __future__ import annotations

import ast
import functools
import importlib.machinery
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Imports that are followed, so that two modules that name each other come to an end.
_DEEPEST = 8
_DATACLASS = "dataclass"


@dataclass(frozen=True)
class Module:
    """A module, as its source defines it.

    Parameters
    ----------
    name : str
        Its dotted name.
    is_package : bool
        Whether it is a package's ``__init__``.
    classes : dict of str to ast.ClassDef
        Classes that it defines.
    imports : dict of str to (str, str)
        Names that it imports: from which module, and under which name there.
    others : frozenset of str
        Names of functions and values.
    open : bool
        Whether it may have names that the source does not show.
    """

    name: str
    is_package: bool
    classes: dict[str, ast.ClassDef]
    imports: dict[str, tuple[str, str]]
    others: frozenset[str]
    open: bool

    def lacks(self, name: str) -> bool:
        """Whether there is no such name for certain."""
        return not (self.open or name in {*self.classes, *self.imports, *self.others})

    def names(self) -> list[str]:
        """Return the names of classes and imports that do not begin with an underscore."""
        return sorted(name for name in {*self.classes, *self.imports} if not name.startswith("_"))


def submodules(name: str) -> list[str]:
    """Return the names of the modules in a package; none where its source is not found."""
    file = _file_of(name)
    if file is None or file.name != "__init__.py":
        return []
    beside = (path for path in file.parent.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file())
    return sorted(path.stem for path in beside)


@functools.lru_cache(maxsize=256)
def module_of(name: str) -> Module | None:
    """Return a module without importing anything; ``None`` if its source is not found."""
    file = _file_of(name)
    if file is None:
        return None
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return None
    is_package = file.name == "__init__.py"
    classes: dict[str, ast.ClassDef] = {}
    imports: dict[str, tuple[str, str]] = {}
    others: set[str] = set()
    unclear = False
    for node in _statements(tree):
        if isinstance(node, ast.ClassDef):
            classes[node.name] = node
        elif isinstance(node, ast.ImportFrom):
            home = _absolute(name, is_package, node)
            unclear |= any(alias.name == "*" for alias in node.names)
            imports |= {alias.asname or alias.name: (home, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            others |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef):
            others.add(node.name)
            unclear |= node.name == "__getattr__"
        else:
            stored = (part for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store))
            others |= {part.id for part in stored}
    return Module(name, is_package, classes, imports, frozenset(others), unclear)


def _file_of(name: str) -> Path | None:
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a name without dots: imports nothing
    except (ImportError, ValueError):
        return None
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(part, list(spec.submodule_search_locations))
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, also those in its ``if`` and ``try``."""
    waiting = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If):
            waiting += [*node.body, *node.orelse]
        elif isinstance(node, ast.Try):
            waiting += [*node.body, *(line for handler in node.handlers for line in handler.body), *node.orelse]


def _absolute(name: str, is_package: bool, node: ast.ImportFrom) -> str:  # noqa: FBT001
    if not node.level:
        return node.module or ""
    parts = name.split(".")
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, *([node.module] if node.module else [])])


@dataclass(frozen=True)
class Found:
    """A class and the module that defines it."""

    module: Module
    node: ast.ClassDef


def find_class(module: str, name: str, depth: int = 0) -> Found | None:
    """Return a class, wherever a module has it from; ``None`` if the sources do not show it."""
    home = module_of(module)
    if home is None or depth > _DEEPEST:
        return None
    if name in home.classes:
        return Found(home, home.classes[name])
    if name in home.imports:
        return find_class(*home.imports[name], depth + 1)
    return None


def arguments_of(found: Found, depth: int = 0, *, decorated: bool = False) -> frozenset[str] | None:
    """Return the arguments of a class's constructor, and of those that it hands further ones to.

    Parameters
    ----------
    found : Found
        The class.
    depth : int
        How many classes were asked before.
    decorated : bool
        Whether to believe a constructor that has a decorator: many add arguments or rename them.

    Returns
    -------
    frozenset of str or None
        ``None`` where the sources do not tell.
    """
    if depth > _DEEPEST:
        return None
    functions = {node.name: node for node in found.node.body if isinstance(node, ast.FunctionDef)}
    own = functions.get("__init__")  # the last of several: what stands before are `overload`s
    if "__new__" in functions or (own is not None and own.decorator_list and not decorated):
        return None
    if own is None and _is_dataclass(found.node):
        inherited = _of_bases(found, depth) if found.node.bases else frozenset()
        return None if inherited is None else inherited | _fields(found.node)
    if own is None:
        # A decorator or a metaclass may do anything.
        plain = not (found.node.decorator_list or found.node.keywords) and found.node.bases
        return _of_bases(found, depth) if plain else None
    named = frozenset(arg.arg for arg in [*own.args.args[1:], *own.args.kwonlyargs, *own.args.posonlyargs])
    if own.args.kwarg is None:
        return named
    inherited = _of_bases(found, depth)
    return None if inherited is None else named | inherited


def _of_bases(found: Found, depth: int) -> frozenset[str] | None:
    taken = []
    for base in found.node.bases:
        if not isinstance(base, ast.Name):
            return None
        if (known := find_class(found.module.name, base.id)) is None:
            return None
        taken.append(arguments_of(known, depth + 1))
    if not taken or any(names is None for names in taken):
        return None
    return frozenset().union(*(names for names in taken if names is not None))


def _is_dataclass(node: ast.ClassDef) -> bool:
    called = (mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list)
    return any(isinstance(mark, ast.Name) and mark.id == _DATACLASS for mark in called)


def _fields(node: ast.ClassDef) -> frozenset[str]:
    return frozenset(
        line.target.id
        for line in node.body
        if isinstance(line, ast.AnnAssign)
        and isinstance(line.target, ast.Name)
        and "ClassVar" not in ast.dump(line.annotation)
    )
