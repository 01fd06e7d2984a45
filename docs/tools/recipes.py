"""A page for each config: what it does, on which data and bands, and its commands.

python docs/tools/recipes.py            # write docs/recipes
python docs/tools/recipes.py --check    # fail if the pages are not what the configs give
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from eo_core.config import read_config

ROOT = Path(__file__).resolve().parents[2]
#: What recipes showed, with the script that measured it.
RESULTS = Path(__file__).with_name("recipe_results.yaml")
CONFIGS, PAGES = ROOT / "config", ROOT / "docs" / "recipes"
_NOTHING = "Not run on real data here."
#: Tasks by class, as the table says them.
TASKS = {
    "SemanticSegmentationTask": "segmentation",
    "ClassificationTask": "classification of whole images",
    "PixelwiseRegressionTask": "regression of pixels",
    "EmbeddingTask": "export of embeddings",
    "EmbeddingGenerationTask": "export of embeddings by TerraTorch's own task",
}


def pages() -> dict[str, str]:
    """Return the text of each page by its file name, the overview included."""
    configs = sorted(CONFIGS.glob("*.yaml"))
    own = {f"{file.stem}.md": page(file) for file in configs}
    return own | {"index.md": overview(configs)}


def page(file: Path) -> str:
    """Return the page of one config."""
    summary, notes, commands = header(file.read_text(encoding="utf-8"))
    parts = [
        f"# {file.stem}",
        summary,
        _table(("what", "value"), facts(read_config(file)).items()),
        _bands(read_config(file)),
    ]
    parts += ["## Commands", "Run them from the root of the project.", f"```bash\n{commands}\n```"]
    parts += ["## Notes", notes] if notes else []
    parts += ["## What it showed on real tiles", *shown(file.stem)]
    if parts[-1] != _NOTHING and "published" in facts(read_config(file)).get("weights", ""):
        parts.append("With published weights it was not run here.")
    parts += ["## Files", "\n".join(f"- [`{path}`](../../{path})" for path in parts_of(file))]
    return "\n\n".join(part for part in parts if part) + "\n"


def shown(name: str) -> list[str]:
    """Return what a recipe showed on real tiles, by the committed results, or that it showed nothing."""
    parts: list[str] = []
    for one in yaml.safe_load(RESULTS.read_text(encoding="utf-8")):
        if name in one["recipes"]:
            source = f" (`{one['script']}`)" if "script" in one else ""
            end = one["text"][-1]
            parts.append(f"{one['text'].removesuffix(end)}{source if end == ':' else ''}{end}")
            parts += [_table(one["table"][0], one["table"][1:])] if "table" in one else []
            parts += [one["after"]] if "after" in one else []
            parts += [f"Measured by `{one['script']}`."] if source and end != ":" else []
    return parts or [_NOTHING]


def header(text: str) -> tuple[str, str, str]:
    """Return summary, further notes and commands of the comment with which a config begins."""
    lines = [line[1:].removeprefix(" ") for line in text.split("\n") if line.startswith("#")][: _length(text)]
    commands = [line for line in lines if re.match(r"\s+(terratorch|python|eo|--)", line)]
    prose = [f"`{line.strip()}`" if _is_python(line) else line for line in lines if line not in commands]
    whole = re.sub(r"\s+", " ", " ".join(prose)).replace("Run it from the root of the project:", "").strip()
    whole = whole.replace("Run from the root of the project:", "").replace("` `", " ").replace("``", "`")
    whole = whole.replace(" config: ", " config, see the commands. ")
    summary, *notes = re.split(r"(?<! al)\. ", whole, maxsplit=1)
    shown = re.sub(r"^ {2,3}", "", "\n".join(commands), flags=re.MULTILINE).strip()
    return f"{_marked(summary).rstrip('.')}.", _marked("".join(notes).strip()), shown


def _length(text: str) -> int:
    """How many lines the comment at the top has."""
    return next(i for i, line in enumerate(text.split("\n")) if not line.startswith("#"))


def _is_python(line: str) -> bool:
    return re.match(r"\s+(embed\(|time=|max_cloud=)", line) is not None


def _marked(prose: str) -> str:
    """Set paths and calls as code."""
    return re.sub(
        r"(?<![`\w/\"])((?:config|datasets)/[\w./*-]*\w(?:/)?|eo_embed\.open_embeddings\([^)]*\))", r"`\1`", prose
    )


def facts(config: Mapping[str, Any]) -> dict[str, str]:
    """Return what the table of a page says of a whole config."""
    data, model = config["data"]["init_args"], config["model"]
    own, trainer = model.get("init_args", {}), config.get("trainer", {})
    told = {
        "task": TASKS[model["class_path"].rpartition(".")[2]],
        "encoder": _encoder(own),
        "weights": _weights(own),
        "decoder": str((own.get("model_args") or {}).get("decoder", "")),
        "data module": f"`{config['data']['class_path'].rpartition('.')[2]}`",
        "data": _code(data.get("root") or data.get("train_data_root") or ""),
        "source of the scenes": _code(data.get("source") or ""),
        "time": " to ".join(data.get("time") or ()),
        "classes": ", ".join(own.get("class_names") or ()),
        "dates": _code(data.get("dates_as", "")),
        "epochs": str(trainer.get("max_epochs", "")),
        "output": _code(own.get("out") or trainer.get("default_root_dir") or ""),
    }
    return {name: value for name, value in told.items() if value}


def _code(value: object) -> str:
    return f"`{value}`" if value else ""


def _encoder(own: Mapping[str, Any]) -> str:
    arguments = own.get("model_args") or own
    several = arguments.get("backbone_encoders")
    names = [entry["backbone"] for entry in several] if several else [arguments["backbone"]]
    frozen = ", frozen" if own.get("freeze_backbone") else ""
    return " and ".join(f"`{name}`" for name in names) + frozen


def _weights(own: Mapping[str, Any]) -> str:
    arguments = own.get("model_args") or {}
    given = arguments.get("backbone_pretrained", (own.get("backbone_args") or {}).get("pretrained"))
    if given is None:
        return ""
    return "published, from the Hugging Face cache or the network" if given else "random"


def _bands(config: Mapping[str, Any]) -> str:
    """Return the table of the images that a config reads."""
    data = config["data"]["init_args"]
    if "modalities" not in data:
        return _table(("bands",), [[", ".join(data["output_bands"])]]) if "output_bands" in data else ""
    rows = [
        (
            f"`{name}`",
            str(one.get("sensor", "")),
            _spans(one.get("bands") or ()),
            _units(one, is_read_from_scenes="source" in data),
            _dated(one, config["data"]["class_path"]),
        )
        for name, one in data["modalities"].items()
    ]
    return _table(("image", "sensor", "bands, in the order of the encoder", "unit of the files", "dated"), rows)


def _dated(one: Mapping[str, Any], data_module: str) -> str:
    if "Place" in data_module:
        return "by the scenes"
    return "yes" if one.get("dated") or ("TimeSeries" in data_module and not one.get("static")) else "no"


def _units(one: Mapping[str, Any], *, is_read_from_scenes: bool) -> str:
    offset = f", offset {one['offset']}" if "offset" in one else ""
    return str(one.get("unit", "as each scene states" if is_read_from_scenes else "as the file states")) + offset


def _spans(bands: Sequence[str]) -> str:
    """Bands as a list; long rows of numbered ones as first and last."""
    return ", ".join(bands) if len(bands) < 14 else f"{bands[0]} to {bands[-1]} ({len(bands)})"


def _table(head: Sequence[str], rows: Any) -> str:  # noqa: ANN401  (rows of any kind)
    lines = [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines)


def parts_of(file: Path) -> list[str]:
    """Return a config and the files that it includes, from the root of the project on."""
    found, waiting = [], [file]
    while waiting:
        own = waiting.pop(0)
        if own.relative_to(ROOT).as_posix() not in found:
            found.append(own.relative_to(ROOT).as_posix())
            text = own.read_text(encoding="utf-8")
            names = re.findall(r"^[^#\n]*?:\s*((?:\.\./)?(?:data|shared|modalities)/[\w.-]+\.yaml)", text, re.MULTILINE)
            waiting += [Path(own.parent, name).resolve() for name in names]
    return found


def overview(configs: Sequence[Path]) -> str:
    """Return the table of all pages, by task."""
    told: dict[str, list[Sequence[str]]] = {}
    for file in configs:
        own = facts(read_config(file))
        summary = header(file.read_text(encoding="utf-8"))[0]
        told.setdefault(own["task"], []).append((f"[{file.stem}]({file.stem}.md)", own["encoder"], summary))
    tables = [
        f"## {task[0].upper()}{task[1:]}\n\n{_table(('config', 'encoder', 'what'), rows)}"
        for task, rows in told.items()
    ]
    return "\n\n".join([_INTRODUCTION, *tables]) + "\n"


_INTRODUCTION = """# Recipes

Each file in `config/` runs as it is, from the root of the project, once its data is there. A recipe includes its
shared parts by path: `data: data/sen1floods11_S2.yaml`, `callbacks: shared/callbacks.yaml`. Everything can be
overridden on the command line (`--data.init_args.root my/folder`, `--trainer.max_epochs 5`), except what stands in
`model_args`.

`config/data/` holds complete data sections, also for TerraMesh, Sentinel-3 OLCI, Landsat 8, WorldCereal's monthly
cube, TreeSatAI-TS and a dated Sentinel-2 series. Include one in a config (`data: data/terramesh_thor_S1S2.yaml`) or
give it beside one (`--config my_model.yaml --data config/data/terramesh_thor_S1S2.yaml`).

These pages are made from the configs by `python docs/tools/recipes.py`."""


def main(arguments: Sequence[str]) -> None:
    """Write the pages, or check them."""
    made = pages()
    there = {file.name: file.read_text(encoding="utf-8") for file in PAGES.glob("*.md")}
    if "--check" in arguments:
        stale = sorted(name for name in made.keys() | there.keys() if made.get(name) != there.get(name))
        if stale:
            sys.exit(f"docs/recipes is not what config gives: {', '.join(stale)}. Run python docs/tools/recipes.py.")
        return
    PAGES.mkdir(exist_ok=True)
    for name in there.keys() - made.keys():
        (PAGES / name).unlink()
    for name, text in made.items():
        (PAGES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
