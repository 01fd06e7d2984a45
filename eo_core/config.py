"""Configs: as files that include others, and as Lightning's command line has read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PureWindowsPath
from typing import Any

import yaml

from eo_core.addresses import without_credentials

#: Paths from the root, from somebody's home, or on a drive of Windows.
_ABSOLUTE = re.compile(r"[/~]|[A-Za-z]:[/\\]")
_WIDTH = 120


class _DatesAsText(yaml.SafeLoader):
    """YAML whose dates without quotes stay text, as Lightning's command line reads it."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (as the base class has it)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def config_text(trainer: object) -> str | None:
    """Return the whole config as YAML from the callback in which Lightning's command line keeps it.

    Its addresses have no credentials, as it goes into manifests and checkpoints.

    Returns
    -------
    str or None
        ``None`` in a Python program, where the trainer has no such callback.
    """
    for callback in getattr(trainer, "callbacks", ()):
        parser, config = getattr(callback, "parser", None), getattr(callback, "config", None)
        if parser is not None and config is not None:
            text = str(parser.dump(config, skip_none=False))
            # As a text it may look like that in other places, too, hence the detour only where there is something.
            return text if without_credentials(text) == text else _changed(text, without_credentials)
    return None


def without_folders(text: str) -> str:
    """Return a config whose absolute paths are only their last part: what lies above may tell more than it should.

    Parameters
    ----------
    text : str
        YAML.

    Raises
    ------
    ValueError
        If it is none.
    """
    return _changed(text, lambda value: PureWindowsPath(value).name if _ABSOLUTE.match(value) else value)


def _changed(text: str, change: Callable[[str], str]) -> str:
    """Return a config with other texts as values."""
    try:
        content = yaml.load(text, Loader=_DatesAsText)  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        msg = f"The config is no YAML: {error}"
        raise ValueError(msg) from error
    return yaml.safe_dump(_with_changed(content, change), sort_keys=False, allow_unicode=True, width=_WIDTH)


def _with_changed(node: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401
    if isinstance(node, dict):
        return {key: _with_changed(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_changed(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def read_config(path: str | Path) -> Any:  # noqa: ANN401
    """Read a config with the files that it includes, as Lightning's command line does.

    A value such as ``data: data/floods.yaml`` stands for the content of that file, relative to the file that names it.

    Raises
    ------
    ValueError
        If a file is missing, is no YAML, or includes itself.
    """
    return _read(Path(path), (), [])


def config_files(path: str | Path) -> tuple[Path, ...]:
    """Return a config and the files that it includes, each once, itself first.

    Raises
    ------
    ValueError
        As `read_config`.
    """
    read: list[Path] = []
    _read(Path(path), (), read)
    return tuple(dict.fromkeys(read))


def _read(file: Path, including: tuple[Path, ...], read: list[Path]) -> Any:  # noqa: ANN401
    """Return what is in a config, and note which files were read."""
    if file.resolve() in including:
        msg = f"The config {file} includes itself: {' > '.join(str(name) for name in including)}."
        raise ValueError(msg)
    if not file.is_file():
        msg = f"There is no config {file}."
        raise ValueError(msg)
    try:
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_DatesAsText)  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        msg = f"The config {file} is no YAML: {error}"
        raise ValueError(msg) from error
    read.append(file)
    return _with_includes(content, file.parent, (*including, file.resolve()), read)


def _with_includes(node: Any, folder: Path, including: tuple[Path, ...], read: list[Path]) -> Any:  # noqa: ANN401
    if isinstance(node, dict):
        return {key: _with_includes(value, folder, including, read) for key, value in node.items()}
    if isinstance(node, list):
        return [_with_includes(value, folder, including, read) for value in node]
    if isinstance(node, str) and node.endswith(".yaml") and (folder / node).is_file():
        return _read(folder / node, including, read)
    return node
