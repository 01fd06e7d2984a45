"""The page of the commands, docs/cli.md: its blocks of output are run again, in one folder, from the first to the last.

``python tests/helpers/cli_page.py`` writes the outputs anew; a test compares them. Blocks below the line
``<!-- of one machine -->`` have versions, times or numbers in them: only ``--all`` runs those, which takes minutes.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "cli.md"
_OF_ONE_MACHINE = "<!-- of one machine -->\n"
_BLOCK = re.compile(
    rf"({re.escape(_OF_ONE_MACHINE)})?```console\n\$ (?P<command>[^\n]+)\n(?P<output>.*?)```", re.DOTALL
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


def run(command: str, folder: Path) -> str:
    """Return what a command tells on a terminal of 100 columns."""
    arguments = shlex.split(command)
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    program = [sys.executable, "-m", "eo_embed.cli"] if arguments[0] == "eo" else [arguments[0]]
    both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(  # noqa: S603
        [*program, *arguments[1:]], cwd=folder, env=environment, text=True, check=False, **both
    )
    text = done.stdout.replace(str(folder.resolve()), "/home/me/work").replace(sys.prefix, "/home/me/venv")
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


if __name__ == "__main__":
    PAGE.write_text(written_anew(PAGE.read_text(encoding="utf-8"), everything="--all" in sys.argv), encoding="utf-8")
