"""Run TerraTorch with a quiet terminal: fit, validate, test or predict, with the arguments of `terratorch`.

The config is checked before TerraTorch is imported, which takes 10 to 20 s. What libraries tell on every run and nobody
can act on is left out, and errors end with what to do.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

_EXAMPLES = """examples:
  eo run fit     --config config/quickstart_fit.yaml --trainer.max_epochs 3
  eo run test    --config config/quickstart_fit.yaml --ckpt_path output/quickstart/last.ckpt
  eo run predict --config config/quickstart_fit.yaml --ckpt_path output/quickstart/last.ckpt --predict_output_dir maps
  eo run fit     --config config/quickstart_fit.yaml --check     # read the config, and end
  eo run predict --help                                          # all arguments, with this project's classes
  eo run predict --model.help eo_embed.EmbeddingTask             # those of one class
"""
_ACTIONS = ("fit", "validate", "test", "predict")
#: How messages of a command line begin, and where they say what is wrong.
_USAGE, _ERROR = "usage: ", "\nerror: "
#: Where Lightning and SLURM tell a process which one it is.
_RANKS = ("LOCAL_RANK", "SLURM_PROCID")
_VERBOSE, _CHECK, _UNTRAINED, _PRINT_CONFIG = "--verbose", "--check", "--untrained", "--print_config"
#: What ``--untrained`` is to TerraTorch.
_ALLOWED = ("--trainer.callbacks+=eo_finetune.RunGuard", "--trainer.callbacks.untrained=true")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an action of TerraTorch; exit code 2 for a fault of the config, 1 for one of the run."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verbose, check, untrained = (_take(given, switch) for switch in (_VERBOSE, _CHECK, _UNTRAINED))
    parser = argparse.ArgumentParser(
        prog="eo run", description=__doc__, epilog=_EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=_ACTIONS)
    parser.add_argument(_VERBOSE, action="store_true", help="tell all that libraries tell, and whole tracebacks")
    parser.add_argument(_CHECK, action="store_true", help="check the config, and end")
    parser.add_argument(_UNTRAINED, action="store_true", help="test, validate or predict with random weights")
    parser.add_argument("arguments", nargs="*", help="those of `terratorch ACTION`, see `eo run ACTION --help`")
    action = parser.parse_args(given[:1]).action
    rest = given[1:]
    if {"-h", "--help"} & set(rest) or any(text.endswith(".help") for text in rest):
        return _terratorch([action, *rest], verbose=verbose, with_our_classes=True)
    from eo_cli.run.checks import check_settings  # noqa: PLC0415  (--help need not wait)
    from eo_cli.run.header import header  # noqa: PLC0415
    from eo_cli.run.settings import ConfigError, read_settings  # noqa: PLC0415

    try:
        settings = read_settings(action, rest)
        check_settings(settings, untrained=untrained)
    except ConfigError as error:
        sys.stderr.write(f"eo run: error: {error}\n")
        return 2
    if any(text.startswith(_PRINT_CONFIG) for text in rest):
        return _terratorch([action, *rest], verbose=verbose)  # what it prints goes into a file
    rest += _ALLOWED if untrained else ()
    lines = header(settings)
    _say(lines)
    if check:
        _say(["the config's names and files are as they should be"])
        return 0
    _say(["loading TerraTorch ..."])
    started = time.monotonic()
    code = _terratorch([action, *rest], verbose=verbose)
    if code == 0:
        results = [line for line in lines if line.startswith("results")]
        _say([f"{action} took {time.monotonic() - started:.0f} s", *results])
    return code


def _terratorch(arguments: Sequence[str], *, verbose: bool, with_our_classes: bool = False) -> int:
    """Run TerraTorch's command line, and return its exit code."""
    from eo_cli.run.errors import is_of_input, shortened, suggestion, told  # noqa: PLC0415
    from eo_cli.run.noise import without_noise  # noqa: PLC0415

    with contextlib.ExitStack() as stack:
        held = None
        if not verbose:
            stack.enter_context(without_noise())
            held = stack.enter_context(_usage_held())
        try:
            if with_our_classes:
                _import_our_classes()
            from terratorch.cli_tools import build_lightning_cli  # noqa: PLC0415

            build_lightning_cli(list(arguments))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            text = held.take() if held is not None and code else ""
            if _ERROR in text:
                text = shortened(text.partition(_ERROR)[2])
                sys.stderr.write(f"eo run: error: {text}{suggestion(text)}\n")
            else:
                sys.stderr.write(text)
            return code
        except Exception as error:  # noqa: BLE001  (all are told, most with where they come from)
            of_input = is_of_input(error)
            if verbose or not of_input:
                traceback.print_exception(error)
            else:
                sys.stderr.write(f"{_VERBOSE} shows where this error comes from.\n")
            sys.stderr.write(f"eo run: error: {told(error)}\n")
            return 2 if of_input else 1
    return 0


def _import_our_classes() -> None:
    """Import what configs name, so that help lists it among the known classes."""
    for package in map(importlib.import_module, ("eo_data.datamodules", "eo_data.preprocess", "eo_finetune")):
        for name in package.__all__:
            getattr(package, name)
    importlib.import_module("eo_embed.task")


def _take(given: list[str], switch: str) -> bool:
    """Remove a switch of this command from the arguments; TerraTorch's ``--verbose`` has a value."""
    places = [
        index
        for index, text in enumerate(given)
        if text == switch and given[index + 1 : index + 2] not in (["true"], ["false"])
    ]
    for index in reversed(places):
        del given[index]
    return bool(places)


def _say(lines: Sequence[str]) -> None:
    """Tell something once, also of a run by several processes: Lightning starts this command in each."""
    if any(os.environ.get(rank, "0") != "0" for rank in _RANKS):
        return
    for line in lines:
        print(line, flush=True)  # noqa: T201


class _Held(io.TextIOBase):
    """A terminal that holds back what follows a line of usage: 60 lines before the error, which is all that counts."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._kept: list[str] | None = None

    def write(self, text: str) -> int:
        if self._kept is None and text.startswith(_USAGE):
            self._kept = []
        if self._kept is None:
            return self._terminal.write(text)
        self._kept.append(text)
        return len(text)

    def take(self) -> str:
        """Return what is held back, and hold back no more."""
        kept, self._kept = self._kept, None
        return "".join(kept or ())

    def release(self) -> None:
        """Write what is held back."""
        self._terminal.write(self.take())

    def flush(self) -> None:
        self._terminal.flush()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal.isatty()

    def fileno(self) -> int:
        return self._terminal.fileno()

    @property
    def encoding(self) -> Any:  # type: ignore[override]  # noqa: ANN401
        return self._terminal.encoding


@contextlib.contextmanager
def _usage_held() -> Iterator[_Held]:
    held = _Held(sys.stderr)
    with contextlib.redirect_stderr(held):
        try:
            yield held
        finally:
            held.release()


if __name__ == "__main__":
    sys.exit(main())
