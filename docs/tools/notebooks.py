"""Notebooks of their sources: ``docs/notebooks/*.py``, in jupytext's percent format, and ``.ipynb`` with outputs.

python docs/tools/notebooks.py --execute [NAME ...]    # all by default; writes the .ipynb beside the .py
python docs/tools/notebooks.py --check                 # whether each .ipynb is what its .py gives
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "notebooks"
#: Bytes of a notebook with its pictures.
LARGEST = 300_000
_KERNEL = "python3"
_METADATA: Mapping[str, Any] = MappingProxyType(
    {
        "jupytext": {"formats": "ipynb,py:percent"},
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": _KERNEL},
        "language_info": {"name": "python"},
    }
)
_PNG = "image/png"
#: Of a picture: its widest, in pixels, and its colours.
_WIDTH, _COLOURS = 860, 160
#: Paths of this machine in texts that are put out, and what stands for them.
_PATHS = (
    (re.compile(r"\S*ipykernel_\d+/\d+\.py"), "this cell"),
    (re.compile(r"[^\s'\"]*/site-packages/"), ""),
    (re.compile(re.escape(f"{ROOT}/")), ""),
)


def sources(names: Sequence[str] = (), folder: Path = FOLDER) -> list[Path]:
    """Return the sources of these names, without suffix, or of all notebooks.

    Raises
    ------
    ValueError
        For an unknown name.
    """
    every = {file.stem: file for file in sorted(folder.glob("*.py"))}
    unknown = [name for name in names if name not in every]
    if unknown:
        msg = f"There is no notebook {', '.join(unknown)}. Valid: {', '.join(every)}."
        raise ValueError(msg)
    return [every[name] for name in names or every]


def notebook_of(source: Path) -> nbformat.NotebookNode:
    """Return a source as a notebook without outputs; two calls give the same."""
    notebook = jupytext.read(source, fmt="py:percent")
    notebook.metadata = nbformat.from_dict(dict(_METADATA))
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def executed(source: Path, timeout: float = 900) -> nbformat.NotebookNode:
    """Run a source in a new kernel, where Jupyter would run it, and return the notebook with small outputs.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    """
    notebook = notebook_of(source)
    place = {"metadata": {"path": str(source.parent)}}
    NotebookClient(notebook, timeout=timeout, kernel_name=_KERNEL, resources=place, record_timing=False).execute()
    notebook.metadata = nbformat.from_dict(dict(_METADATA))  # without the versions of this machine
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_tidy(output, cell.metadata.get("alt", "")) for output in list(_joined(cell.outputs))]
    return notebook


def _joined(outputs: Sequence[Any]) -> Iterator[Any]:
    """Yield outputs, with texts that follow one another in one piece, however the kernel sent them."""
    last: Any = None
    for output in outputs:
        if last is not None and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
            continue
        last = output
        yield output


def _tidy(output: Any, alt: str) -> Any:  # noqa: ANN401
    if output.output_type == "stream":
        output.text = _without_paths(output.text)
    data = output.get("data", {})
    for kind in [kind for kind in data if kind.startswith("text/")]:
        data[kind] = _without_paths(data[kind])
    if _PNG in data:
        data[_PNG] = _small(data[_PNG])
        data.pop("text/plain", None)  # <Figure size 640x480 with 2 Axes>
        output.metadata = nbformat.from_dict({_PNG: {"alt": alt}})
    return output


def _without_paths(text: str) -> str:
    for path, instead in _PATHS:
        text = path.sub(instead, text)
    return text


def _small(png: str) -> str:
    """Return a PNG in base64 of no more than so many pixels and colours."""
    picture = Image.open(BytesIO(base64.b64decode(png))).convert("RGB")
    if picture.width > _WIDTH:
        size = (_WIDTH, round(picture.height * _WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    written = BytesIO()
    # By this method the few pixels of a legend keep their colours.
    reduced = picture.quantize(_COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    reduced.save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def faults(source: Path) -> list[str]:
    """Return in what the committed notebook is not the one of its source, or not to be shown."""
    file = source.with_suffix(".ipynb")
    if not file.is_file():
        return [f"{file.name} is not there"]
    text = file.read_text(encoding="utf-8")
    found, wanted = nbformat.reads(text, as_version=4).cells, notebook_of(source).cells
    if [(cell.cell_type, cell.source) for cell in found] != [(cell.cell_type, cell.source) for cell in wanted]:
        return [f"{file.name} has other cells than {source.name}"]
    parts = [] if len(text.encode()) <= LARGEST else [f"{file.name} has more than {LARGEST} bytes"]
    code = [pair for pair in zip(found, wanted, strict=True) if pair[0].cell_type == "code"]
    for number, (cell, own) in enumerate(code):
        parts += [
            f"{file.name}, code cell {number}: {fault}" for fault in _faults_of(cell, own.metadata.get("alt", ""))
        ]
    return parts


def _faults_of(cell: Any, alt: str) -> Iterator[str]:  # noqa: ANN401
    if cell.execution_count is None:
        yield "was not run"
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"failed with {output.ename}"
        if _PNG in output.get("data", {}) and (len(alt) <= 40 or output.metadata.get(_PNG, {}).get("alt") != alt):
            yield 'a picture needs words for those who do not see it, those of its cell: # %% alt="..."'
        said = [output.get("text", ""), *(value for kind, value in output.get("data", {}).items() if kind != _PNG)]
        if re.search(r"(?<![\w.])/(?:home|root|tmp|work|Users)/", "".join(map(str, said))):
            yield "an output names a path of the machine that ran it"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run notebooks or check them; what is wrong ends it with exit code 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--execute", nargs="*", metavar="NAME", help="run these, or all, and write the .ipynb")
    parser.add_argument("--check", action="store_true", help="whether each .ipynb is what its .py gives")
    given = parser.parse_args(arguments)
    if given.execute is None and not given.check:
        parser.error("say --execute [NAME ...] or --check")
    for source in [] if given.execute is None else sources(given.execute):
        start = time.perf_counter()
        file = source.with_suffix(".ipynb")
        nbformat.write(executed(source), file)
        sys.stdout.write(f"{file.name}: {time.perf_counter() - start:.0f} s, {file.stat().st_size / 1000:.0f} kB\n")
    found = [fault for source in sources() for fault in faults(source)] if given.check else []
    if found:
        sys.exit("\n".join([*found, "Run python docs/tools/notebooks.py --execute NAME."]))


if __name__ == "__main__":
    main()
