"""Recipes by name, and configs as they will be read.

``list`` names the recipes, ``copy`` puts one into a folder with the files that it includes and, if it reads it, the
embedded sample. ``show`` prints a config with its includes, or the one that a checkpoint was trained with.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml

from eo_cli.recipes import commands, copy_recipe, find_recipe, parts, recipes, summary, uses_sample

_EXAMPLES = """examples:
  eo config list
  eo config copy quickstart_fit . && eo run fit --config config/quickstart_fit.yaml
  eo config show quickstart_fit                     # or any file: one YAML, with what it includes
  eo config show best.ckpt --root new/data --out predict.yaml
  eo config best.ckpt --out predict.yaml            # the same, as version 0.1 spelled it
"""
_ACTIONS = ("list", "copy", "show")
_CONFIGS = (".yaml", ".yml")
_WIDTH = 116


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; faults of the input end it with a message and exit code 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] not in (*_ACTIONS, "-h", "--help"):
        given.insert(0, "show")  # `eo config CHECKPOINT`
    parser, stated = _parser(), None
    try:
        stated = parser.parse_args(given)
        if stated.action == "list":
            _list(everything=stated.all)
        elif stated.action == "copy":
            _copy(stated.name, Path(stated.folder), overwrite=stated.overwrite)
        else:
            return _show(stated)
    except (ValueError, OSError) as error:
        parser.exit(2, f"eo config: error: {error}\n")
    return 0


def _list(*, everything: bool) -> None:
    found = {**recipes(), **(parts() if everything else {})}
    width = max(map(len, found))
    lines = []
    for name, file in found.items():
        mark = "*" if uses_sample(file) else " "
        lines.append(f"{mark} {name:<{width}}  {textwrap.shorten(summary(file), _WIDTH - width, placeholder=' ...')}")
    print("\n".join(lines))  # noqa: T201
    print("\n* runs on the embedded sample. `eo config copy NAME` copies one into this folder.")  # noqa: T201


def _copy(name: str, folder: Path, *, overwrite: bool) -> None:
    file = find_recipe(name)
    done = copy_recipe(file, folder, overwrite=overwrite)
    configs = [path for path in done.written if path.suffix in _CONFIGS]
    lines = [f"copied  {path}" for path in configs]
    if others := len(done.written) - len(configs):
        lines.append(f"copied  {others} files of the embedded sample")
    if done.there:
        lines.append(f"there already, with the same content: {len(done.there)} files")
    lines += ["", *(["next:"] if commands(file) else [])]
    if folder.resolve() != Path.cwd() and commands(file):
        lines.append(f"  cd {folder}")
    lines += [f"  {line}" for line in commands(file)]
    print("\n".join(lines).rstrip())  # noqa: T201


def _show(stated: argparse.Namespace) -> int:
    name = str(stated.file)
    if name.endswith(_CONFIGS) or not (Path(name).exists() or name.endswith(".ckpt")):
        from eo_core.config import read_config  # noqa: PLC0415
        from eo_core.files import write_text  # noqa: PLC0415

        if stated.root is not None:
            msg = "--root goes with a checkpoint. In a config, set data.init_args.root."
            raise ValueError(msg)
        file = Path(name) if Path(name).is_file() else find_recipe(name)
        text = yaml.safe_dump(read_config(file), sort_keys=False, allow_unicode=True)
        if stated.out is None:
            print(text, end="")  # noqa: T201
        else:
            write_text(Path(stated.out), text)
        return 0
    from eo_finetune.config import main as of_checkpoint  # noqa: PLC0415

    options = [("--root", stated.root), ("--out", stated.out)]
    return of_checkpoint([name, *(text for key, value in options if value is not None for text in (key, value))])


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="eo config", description=__doc__, epilog=_EXAMPLES, formatter_class=kind)
    actions = parser.add_subparsers(dest="action", required=True, metavar="{list,copy,show}")

    one = actions.add_parser(
        "list",
        help="names of the recipes, and what each does",
        epilog="example:\n  eo config list",
        formatter_class=kind,
    )
    one.add_argument("--all", action="store_true", help="also the parts that recipes include")

    one = actions.add_parser(
        "copy",
        help="a recipe, with what it includes and reads, into a folder",
        description="Copy a recipe, with the files that it includes and, if it reads it, the embedded sample: all or "
        "nothing.",
        epilog="example:\n  eo config copy quickstart_fit my_project",
        formatter_class=kind,
    )
    one.add_argument("name", help="from `eo config list`")
    one.add_argument("folder", nargs="?", default=".", help="where to (this folder)")
    one.add_argument("--overwrite", action="store_true", help="replace files that have another content")

    one = actions.add_parser(
        "show",
        help="a config with its includes, or that of a checkpoint",
        epilog="examples:\n  eo config show quickstart_fit\n  eo config show best.ckpt --root new/data --out new.yaml",
        formatter_class=kind,
    )
    one.add_argument("file", help="a config, the name of a recipe, or a checkpoint of eo_finetune.BestCheckpoint")
    one.add_argument("--root", help="with a checkpoint: another folder of data")
    one.add_argument("--out", help="file to write; printed without")
    return parser


if __name__ == "__main__":
    sys.exit(main())
