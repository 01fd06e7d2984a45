"""What to tell of a run that failed: a sentence with what to do, as the last line."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from eo_cli.run.own import is_own
from eo_core.text import did_you_mean

_HERE = Path(__file__).resolve().parent
#: From here on, messages of jsonargparse hold the whole section of the config.
_GIVEN = re.compile(r"\n?\s*Given value(?: type)?:.*", re.DOTALL)
_PROBLEM = re.compile(r"Problem with given class_path '([\w.]+)'")
_NO_OPTION = re.compile(r"Option '([\w.]+)' is not accepted")
_NO_ATTRIBUTE = re.compile(r"module '([\w.]+)' has no attribute '(\w+)'")
_NO_KEY = re.compile(r"[Kk]ey '([\w.]+)' (?:is not expected|not expected|does not exist)|unrecognized arguments: (\S+)")
_EXPECTED_NONE = re.compile(r"\s*- Expected a <class 'NoneType'>")
_UNEXPECTED = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
_NO_BACKBONE = re.compile(r"The model (\S+) could not be instantiated from any source")
#: In messages of jsonargparse about what a config states.
_OF_CONFIG = re.compile(r"Problem with given class_path|Does not validate against any of|Given value type:")
#: Errors that are about what was given to the run.
_OF_INPUT = (ValueError, TypeError, OSError, ImportError, AttributeError)


def told(error: BaseException) -> str:
    """Return what to tell of an error that TerraTorch's command line has let out.

    Of errors that this project raises, that is their message. Messages of jsonargparse lose the config that they
    quote, and get a suggestion where a name is near a known one.
    """
    own = _own_cause(error)
    if own is not None:
        return f"{type(own).__name__}: {own}" if not isinstance(own, _OF_INPUT) else str(own)
    text = shortened(str(error))
    return text + suggestion(text)


def is_of_input(error: BaseException) -> bool:
    """Whether the message alone says what is wrong: an error that this project raises, or of reading the config."""
    own = _own_cause(error)
    return isinstance(own, _OF_INPUT) or _OF_CONFIG.search(str(error)) is not None


def shortened(message: str) -> str:
    """Return a message of jsonargparse without the config that it quotes, and without its other attempts."""
    text = _GIVEN.sub("", message)
    lines = [line for line in text.splitlines() if not _EXPECTED_NONE.fullmatch(line)]
    kept = [
        line
        for line in lines
        if not line.strip().startswith(("Does not validate against any of", "Subtypes:")) and line.strip() != "Errors:"
    ]
    return "\n".join(line.strip().removeprefix("- ") for line in kept if line.strip())


def suggestion(text: str) -> str:
    """Return a sentence with the name that is probably meant, for a message of jsonargparse; empty without any."""
    if found := _NO_ATTRIBUTE.search(text):
        return did_you_mean(found[2], _names_in(found[1]))
    problems = _PROBLEM.findall(text)
    if (found := _NO_OPTION.search(text)) and problems:
        return did_you_mean(found[1].rpartition(".")[2], _arguments(problems[-1]))
    if found := _UNEXPECTED.search(text):
        return did_you_mean(found[2], sorted({name for one in _loaded(found[1]) for name in _of_signature(one)}))
    if found := _NO_BACKBONE.search(text):
        return did_you_mean(found[1], _backbones()) + " `eo embed --models` lists those of this project."
    if (found := _NO_KEY.search(text)) is not None:
        name = (found[1] or found[2]).lstrip("-").partition("=")[0]
        return did_you_mean(name, [f"trainer.{key}" for key in _arguments("lightning.pytorch.Trainer")])
    return ""


def _names_in(module: str) -> list[str]:
    try:
        return [name for name in dir(importlib.import_module(module)) if not name.startswith("_")]
    except ImportError:
        return []


def _loaded(name: str) -> list[object]:
    """Return the classes of a name in TerraTorch's modules."""
    modules = [module for key, module in list(sys.modules.items()) if key.startswith("terratorch.")]
    return [found for module in modules if inspect.isclass(found := vars(module).get(name))]


def _backbones() -> list[str]:
    """Return the names that TerraTorch's registry has, which has been imported by now."""
    from terratorch.registry import BACKBONE_REGISTRY  # noqa: PLC0415

    return [str(name) for source in BACKBONE_REGISTRY.keys() for name in BACKBONE_REGISTRY[source]]  # noqa: SIM118


def _arguments(path: str) -> Sequence[str]:
    """Return the arguments of a class and of those that it comes from: TerraTorch has been imported by now."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        return ()
    classes = inspect.getmro(found) if inspect.isclass(found) else (found,)
    return sorted({argument for one in classes for argument in _of_signature(one) if argument != "self"})


def _of_signature(found: object) -> Iterator[str]:
    if not callable(found):
        return
    try:
        yield from inspect.signature(found).parameters
    except (TypeError, ValueError):
        return


def _own_cause(error: BaseException) -> BaseException | None:
    """Return the error of a chain that code of this project has raised: the outermost, as it says most."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        frames = traceback.extract_tb(current.__traceback__)
        if frames and is_own(frames[-1].filename) and Path(frames[-1].filename).parent != _HERE:
            return current
        seen.add(id(current))
        current = current.__cause__ or current.__context__
    return None
