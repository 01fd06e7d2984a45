"""Pages that show what commands tell: docs/cli.md, and the first pages of docs/start, which a newcomer follows.

``python tests/helpers/cli_page.py`` runs the commands of docs/cli.md again, in one folder, from the first to the last,
and writes the outputs anew; a test compares them. Blocks below the line ``<!-- of one machine -->`` have versions,
times or numbers in them: only ``--all`` runs those, which takes minutes.

``python tests/helpers/cli_page.py --start [--with FOLDER]`` does so for the pages of `START`; ``FOLDER`` holds the
commands of an environment into which the wheel was installed. With ``--check`` nothing is written and a training has
one epoch; outputs that differ by more than numbers and times are an error. `.ci/smoke` runs that.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cli.md"
#: Their blocks are of one sequence of runs, in the order of the first page.
START = tuple(
    ROOT / "docs" / "start" / f"{name}.md" for name in ("five_minutes", "first_embedding", "first_finetuning")
)
#: What ``--check`` adds to a command to have the same lines in less time.
QUICK: Mapping[str, str] = {"eo run fit": "--trainer.max_epochs 1"}
_OF_ONE_MACHINE = "<!-- of one machine -->\n"
_BLOCK = re.compile(
    rf"({re.escape(_OF_ONE_MACHINE)})?```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL
)
#: A part of an output, from a line that begins with some words to another one.
_PART = re.compile(
    r'(?P<mark><!-- of `(?P<command>[^`]+)`, from "(?P<begin>[^"]+)" to "(?P<end>[^"]+)" -->\n```text\n)'
    r"(?P<output>.*?)```",
    re.DOTALL,
)
#: The table in a file that the commands wrote.
_FILE = re.compile(r"(?P<mark><!-- of the file (?P<path>\S+) -->\n\n)(?P<output>(?:\|[^\n]*\n)+)")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*(?:e[-+]?\d+)?")
_TIME = re.compile(r"(?:\d+ h )?(?:\d+ min )?\d[\d.]* s\b")
_FRAME = re.compile(r"[\s\u2500-\u257f]+|-{3,}:?")
#: Lines that depend on the machine, or on how quick it is.
_OF_THE_MACHINE = re.compile(
    r"GPU available|Products of float32|embedding: batch|(?:Epoch|Testing|Predicting) |.*it/s|[\s\d:]+$"
    r"|.*not have many workers"
)


@dataclass(frozen=True)
class Block:
    """A command and what it told.

    Parameters
    ----------
    command : str
        As somebody types it.
    output : str
        What came on the terminal.
    of_one_machine : bool
        Whether it is another on another machine or day.
    """

    command: str
    output: str
    of_one_machine: bool


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for found in _BLOCK.finditer(text):
        yield Block(found["command"], found["output"], found[1] is not None)


def excerpts(text: str) -> Iterator[tuple[str, str]]:
    """Yield each command of which a page shows a part of the output, and that part."""
    for found in _PART.finditer(text):
        yield found["command"], found["output"]


def run(command: str, folder: Path, programs: Path | None = None) -> str:
    """Return what a command tells on a terminal of 100 columns.

    Parameters
    ----------
    command : str
        As somebody types it.
    folder : Path
        Where it runs.
    programs : Path, optional
        Folder of the commands of an environment; else the modules of this checkout run.
    """
    arguments = shlex.split(command)
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    if programs is None:
        environment["PYTHONPATH"] = str(ROOT)
        program = [sys.executable, "-m", "eo_embed.cli"] if arguments[0] == "eo" else [arguments[0]]
    else:
        environment.pop("PYTHONPATH", None)
        program = [str(programs / arguments[0])]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(  # noqa: S603
        [*program, *arguments[1:]], cwd=folder, env=environment, text=True, check=False, **both
    )
    prefix = sys.prefix if programs is None else str(programs.parent)
    text = done.stdout.replace(str(folder.resolve()), "/home/me/work").replace(prefix, "/home/me/venv")
    lines = [line.rstrip() for line in text.replace(str(Path.home()), "/home/me").splitlines()]
    return "\n".join(lines) + "\n"


def written_anew(text: str, *, everything: bool) -> str:
    """Return a page with the outputs of today."""
    with tempfile.TemporaryDirectory() as folder:

        def again(found: re.Match[str]) -> str:
            if found[1] is not None and not everything:
                return found[0]
            return f"{found[1] or ''}```console\n$ {found['command']}\n{run(found['command'], Path(folder))}```"

        return _BLOCK.sub(again, text)


def start_pages(programs: Path | None, folder: Path, *, quick: bool = False) -> dict[Path, str]:
    """Return the text of the pages of `START` with the outputs of today.

    Parameters
    ----------
    programs : Path, optional
        Folder of the commands of an environment; else the modules of this checkout run.
    folder : Path
        Where commands run; it is empty.
    quick : bool
        Whether to train for one epoch only.

    Raises
    ------
    ValueError
        If a page shows a part of an output that no command of the first page gives.
    """
    told: dict[str, str] = {}
    texts = {page: page.read_text(encoding="utf-8") for page in START}

    def whole(found: re.Match[str]) -> str:
        command = found["command"]
        more = next((f" {more}" for begin, more in QUICK.items() if quick and command.startswith(begin)), "")
        told[command] = run(command + more, folder, programs)
        return f"{found[1] or ''}```console\n$ {command}\n{told[command]}```"

    def part(found: re.Match[str]) -> str:
        wanted = rf"^{re.escape(found['begin'])}.*?^{re.escape(found['end'])}[^\n]*\n"
        seen = re.search(wanted, told.get(found["command"], ""), re.DOTALL | re.MULTILINE)
        if seen is None:
            msg = f"`{found['command']}` told no lines from {found['begin']!r} to {found['end']!r}"
            raise ValueError(msg)
        return f"{found['mark']}{seen[0]}```"

    def table(found: re.Match[str]) -> str:
        text = (folder / found["path"]).read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if line.startswith(("| ", "|-"))]
        first = next(i for i, line in enumerate(lines) if line.startswith("| class"))
        return found["mark"] + "".join(f"{line}\n" for line in lines[first:])

    return {page: _FILE.sub(table, _PART.sub(part, _BLOCK.sub(whole, text))) for page, text in texts.items()}


def stable(text: str) -> list[str]:
    """Return the lines of a page without what another run or machine would change: numbers, times, frames of tables."""
    kept = (line for line in text.split("\n") if not _OF_THE_MACHINE.match(line))
    lines = (_FRAME.sub(" ", _NUMBER.sub("#", _TIME.sub("# s", line))).strip() for line in kept)
    return [line for line in lines if line]


def main(arguments: list[str]) -> None:
    """Write pages, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="also what differs from machine to machine")
    parser.add_argument("--start", action="store_true", help="the pages of docs/start instead of docs/cli.md")
    parser.add_argument("--with", dest="programs", type=Path, help="folder of the commands to run")
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--keep", type=Path, help="folder to run in, which stays")
    given = parser.parse_args(arguments)
    if not given.start:
        PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8"), everything=given.all), encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(exist_ok=True)
        texts = start_pages(given.programs, folder, quick=given.check)
    changes: list[str] = []
    for page, text in texts.items():
        if not given.check:
            page.write_text(text, encoding="utf-8")
            continue
        shown, today = stable(page.read_text(encoding="utf-8")), stable(text)
        changes += difflib.unified_diff(shown, today, str(page.relative_to(ROOT)), "today", lineterm="", n=0)
    if changes:
        sys.exit("\n".join([*changes, "Run python tests/helpers/cli_page.py --start, and look at these pages."]))


if __name__ == "__main__":
    main(sys.argv[1:])
