"""The messages of the source as pages: what each says is wrong, and what to do.

python docs/tools/errors.py FOLDER    # one page a package
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[2]
#: Pages by name: title, and the folders or modules whose messages they show.
PAGES: Mapping[str, tuple[str, Sequence[str]]] = MappingProxyType(
    {
        "files": ("Files, bands and units", ("eo_data/readers", "eo_data/raster", "eo_data/sensors")),
        "samples": ("Samples, dates and places", ("eo_data/catalog", "eo_data/temporal")),
        "data": ("Data sections and preprocessing", ("eo_data",)),
        "thor": ("THOR", ("thor_terratorch_ext",)),
        "anysat": ("AnySat", ("anysat_ext",)),
        "universat": ("UniverSat", ("universat_ext",)),
        "models": ("Weights, decoders and precision", ("eo_models",)),
        "exports": ("Exports of embeddings", ("eo_embed",)),
        "training": ("Training and label maps", ("eo_finetune",)),
        "core": ("Commands, configs, locks and files", ("eo_core", "eo_cli")),
    }
)
_INTRODUCTION = (
    "Made from the source: errors, and warnings of ours. «Words» in such quotes are filled in when it is shown. Search "
    "for a few plain words of your message; what to do stands behind the arrow."
)
#: Longest text of an expression that stands for itself.
_LONGEST = 30


@dataclass(frozen=True)
class Message:
    """What the source says in one place.

    Parameters
    ----------
    kind : str
        Name of the exception, or ``warning``.
    text : str
        What is said; what differs from case to case stands between ``«`` and ``»``.
    """

    kind: str
    text: str

    @property
    def cause(self) -> str:
        """The first sentence."""
        return self._parts[0]

    @property
    def remedy(self) -> str:
        """What comes after it; empty if that is all."""
        return self._parts[1]

    @property
    def _parts(self) -> tuple[str, str]:
        first, *rest = re.split(r"(?<=[.!?;])\s+(?=[A-Z«`'\"{])", self.text, maxsplit=1)
        return first, rest[0] if rest else ""


def messages_of(source: str) -> Iterator[Message]:
    """Return what a module raises and warns of, in its order."""
    for node in ast.walk(ast.parse(source)):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                yield from _of_block(block)


def _of_block(block: Sequence[ast.stmt]) -> Iterator[Message]:
    named: dict[str, str] = {}
    for statement in block:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            named[statement.targets[0].id] = template(statement.value)
        call = _said(statement)
        if call is None or not call.args:
            continue
        given = call.args[0]
        text = named.get(given.id, "") if isinstance(given, ast.Name) else template(given)
        if len(text) > len("«msg»") and " " in text:
            yield Message(_kind(call), text)


def _said(statement: ast.stmt) -> ast.Call | None:
    """Return the call that makes the exception or the warning of a statement."""
    if isinstance(statement, ast.Raise) and isinstance(statement.exc, ast.Call):
        return statement.exc
    if (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Call)
        and _kind(statement.value) == "warning"
    ):
        return statement.value
    return None


def _kind(call: ast.Call) -> str:
    name = ast.unparse(call.func).rpartition(".")[2]
    return "warning" if name == "warn" else name


def template(node: ast.expr) -> str:
    """Return the text of an expression, with ``«...»`` for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(template(value) for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left) + template(node.right)
    inner = ast.unparse(node.value if isinstance(node, ast.FormattedValue) else node)
    return f"«{inner.rpartition('.')[2].replace('_', ' ').strip() if _is_short(inner) else '…'}»"


def _is_short(text: str) -> bool:
    return len(text) <= _LONGEST and re.fullmatch(r"[A-Za-z_][\w.]*", text) is not None


def modules_of(page: str, root: Path = ROOT) -> list[Path]:
    """Return the modules whose messages a page shows: of the longest folder in which a module lies."""
    owner = {folder: name for name, (_, folders) in PAGES.items() for folder in folders}
    found = []
    for package in {folder.partition("/")[0] for folder in owner}:
        for module in (root / package).rglob("*.py"):
            folders = [str(parent.relative_to(root).as_posix()) for parent in module.parents if root in parent.parents]
            if owner[next(folder for folder in folders if folder in owner)] == page:
                found.append(module)
    return sorted(found)


def page_text(page: str, root: Path = ROOT) -> str:
    """Return a page: a section for each module, a line for each message."""
    parts = [f"---\nsearch:\n  boost: 2\n---\n\n# Errors: {PAGES[page][0]}\n\n{_INTRODUCTION}\n"]
    for module in modules_of(page, root):
        found = list(dict.fromkeys(messages_of(module.read_text(encoding="utf-8"))))
        if found:
            name = ".".join(module.relative_to(root).with_suffix("").parts)
            parts += [f"## {name}\n", *(_line(message) for message in found), ""]
    return "\n".join(parts) + "\n"


def _line(message: Message) -> str:
    remedy = f"<br>→ {_plain(message.remedy)}" if message.remedy else ""
    return f"- **{_plain(message.cause)}** <small>{message.kind}</small>{remedy}"


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would read as markup."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~^])", r"\\\1", text)


def main(arguments: Sequence[str]) -> None:
    """Write all pages to a folder."""
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for page in PAGES:
        (folder / f"{page}.md").write_text(page_text(page), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
