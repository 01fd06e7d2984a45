"""The config of a run, as its files and its command line state it, before anything of TerraTorch is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from eo_cli.recipes import CONFIGS, recipes
from eo_core.config import read_config
from eo_core.text import did_you_mean

_CONFIG_OPTIONS = ("--config", "-c")
#: Parts of a config whose text may be the name of a file.
_INCLUDING = ("data", "model", "trainer", "optimizer", "lr_scheduler")


class ConfigError(ValueError):
    """What is wrong with a config, told in a sentence that ends with what to do."""


@dataclass(frozen=True)
class Settings:
    """What a run is asked for.

    Parameters
    ----------
    action : str
        ``fit``, ``validate``, ``test`` or ``predict``.
    files : tuple of Path
        Its configs.
    content : mapping
        All of them with what they include; later ones and the command line win, as in TerraTorch.
    """

    action: str
    files: tuple[Path, ...]
    content: Mapping[str, Any]

    def init_args(self, part: str) -> Mapping[str, Any]:
        """Return the arguments of the class of a part (``data``, ``model``); none where it states no class."""
        section = self.content.get(part)
        found = section.get("init_args") if isinstance(section, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def class_path(self, part: str) -> str:
        """Return the class of a part; empty where it states none."""
        section = self.content.get(part)
        found = section.get("class_path") if isinstance(section, Mapping) else section
        return found if isinstance(found, str) else ""


def read_settings(action: str, arguments: Sequence[str]) -> Settings:
    """Read the configs that a command line names, and its own settings on top.

    Raises
    ------
    ConfigError
        If a file is missing or no YAML, or no mapping.
    """
    files: list[Path] = []
    stated: list[tuple[str, str]] = []
    waiting = list(arguments)
    while waiting:
        option, equals, value = waiting.pop(0).partition("=")
        if not option.startswith("-"):
            continue
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                continue  # a switch
            value = waiting.pop(0)
        if option in _CONFIG_OPTIONS:
            files.append(Path(value))
        else:
            stated.append((option.removeprefix("--"), value))
    content: dict[str, Any] = {}
    for file in files:
        content = _merged(content, _content(file))
    for key, value in stated:
        _set(content, key.rstrip("+").split("."), value)
    return Settings(action, tuple(files), content)


def _content(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ConfigError(_missing(file))
    try:
        content = read_config(file)
    except (ValueError, OSError) as error:
        cause = error.__cause__
        if isinstance(cause, yaml.MarkedYAMLError) and cause.problem_mark is not None:
            mark = cause.problem_mark
            msg = (
                f"{mark.name if Path(mark.name).is_file() else file}, line {mark.line + 1}, column {mark.column + 1}: "
                f"no YAML: {cause.problem}. Look at this line and the one above it: quotes, brackets, indents."
            )
            raise ConfigError(msg) from error
        raise ConfigError(str(error)) from error
    if not isinstance(content, dict):
        msg = f"{file} must be a mapping with trainer, data and model, got {type(content).__name__}."
        raise ConfigError(msg)
    for key in _INCLUDING:
        if isinstance(named := content.get(key), str) and named.endswith((".yaml", ".yml")):
            beside = file.parent / named
            if not beside.is_file():
                others = [path.relative_to(file.parent).as_posix() for path in file.parent.rglob("*.yaml")]
                msg = f"{file} includes {named} as {key}, and there is no file {beside}.{did_you_mean(named, others)}"
                raise ConfigError(msg)
    return content


def _missing(file: Path) -> str:
    known = recipes()
    if file.stem in known:
        brings = f"`eo config copy {file.stem}` brings {CONFIGS}/{file.stem}.yaml and what it reads."
        return f"There is no config {file}. {brings}"
    folder = file.parent
    beside = [path.as_posix() for path in folder.glob("*.yaml")] if folder.is_dir() else []
    found = did_you_mean(file.as_posix(), beside)
    return f"There is no config {file}.{found or ' `eo config list` lists the recipes, `eo config copy` brings one.'}"


def _merged(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    if "class_path" in above and above["class_path"] != below.get("class_path"):
        merged.pop("init_args", None)  # they are another class's
    for key, value in above.items():
        under = merged.get(key)
        both = isinstance(under, dict) and isinstance(value, Mapping)
        merged[key] = _merged(under, value) if both and isinstance(under, dict) else value
    return merged


def _set(content: dict[str, Any], keys: Sequence[str], value: str) -> None:
    """Put a setting of the command line in its place; ``data.root`` is short for ``data.init_args.root``."""
    node = content
    for key in keys[:-1]:
        if "class_path" in node and key not in ("init_args", "dict_kwargs") and key not in node:
            node = node.setdefault("init_args", {})
        under = node.get(key)
        if not isinstance(under, dict):
            under = {"class_path": under} if isinstance(under, str) else {}
            node[key] = under
        node = under
    if "class_path" in node and keys[-1] not in ("class_path", "init_args", "dict_kwargs"):
        node = node.setdefault("init_args", {})
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        parsed = value
    if keys[-1] == "class_path" and node.get("class_path") != parsed:
        node.pop("init_args", None)
    node[keys[-1]] = parsed
