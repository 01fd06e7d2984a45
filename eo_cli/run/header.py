"""What a run is about, from its config: what is read, what is chosen, where results go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eo_cli.run.settings import Settings

_MOST = 100
_RESULTS = ("predict_output_dir",)


def header(settings: Settings) -> list[str]:
    """Return lines that tell what a run is about."""
    if not settings.files:
        return []
    rows = [("config", ", ".join(map(str, settings.files)))]
    rows += [("data", line) for line in _data(settings)]
    rows += [("model", line) for line in _model(settings)]
    rows += [("results", line) for line in _results(settings)]
    told: list[str] = []
    for index, (what, text) in enumerate(rows):
        label = what if index == 0 or rows[index - 1][0] != what else ""
        told.append(f"{label:<8} {_short(text)}".rstrip())
    return told


def _data(settings: Settings) -> Iterator[str]:
    given = settings.init_args("data")
    yield _name(settings.class_path("data"))
    for key in ("root", "places", "source"):
        if isinstance(given.get(key), str | list):
            yield f"{key}: {given[key]}"
    roots = {str(value) for key, value in given.items() if key.endswith("_data_root") and "label" not in key}
    yield from (f"images: {root}" for root in sorted(roots))
    modalities = given.get("modalities")
    for name, one in modalities.items() if isinstance(modalities, Mapping) else ():
        if isinstance(one, Mapping):
            source = one.get("init_args", one)
            dated = "dated" if source.get("dated") or source.get("date_index") else ""
            facts = [source.get("sensor"), source.get("unit"), dated, _bands(source.get("bands"))]
            yield f"{name}: {', '.join(str(fact) for fact in facts if fact)}"
    if bands := _bands(given.get("output_bands") or given.get("dataset_bands")):
        yield bands


def _model(settings: Settings) -> Iterator[str]:
    given = settings.init_args("model")
    nested = given.get("model_args")
    arguments = {**given, **(nested if isinstance(nested, Mapping) else {})}
    backbone = arguments.get("backbone") or arguments.get("model")
    if isinstance(several := arguments.get("backbone_encoders"), list):
        backbone = " + ".join(str(one.get("backbone")) for one in several if isinstance(one, Mapping))
    decoder = arguments.get("decoder")
    parts = [_name(settings.class_path("model")), backbone, decoder]
    yield ", ".join(str(part) for part in parts if part)
    nested = arguments.get("backbone_args")
    own = nested if isinstance(nested, Mapping) else {}
    pretrained = own.get("pretrained", arguments.get("backbone_pretrained"))
    file = settings.content.get("ckpt_path") or own.get("ckpt") or arguments.get("backbone_ckpt")
    if file:
        yield f"weights: {file}"
    elif pretrained is not None:
        yield f"weights: {'published' if pretrained else 'random, unless a checkpoint is named'}"


def _results(settings: Settings) -> Iterator[str]:
    trainer = settings.content.get("trainer")
    out = settings.init_args("model").get("out")
    folders = [settings.content.get(key) for key in _RESULTS] if settings.action == "predict" else []
    folders += [out, trainer.get("default_root_dir") if isinstance(trainer, Mapping) else None]
    yield from dict.fromkeys(str(folder) for folder in folders if folder)


def _bands(bands: Any) -> str:  # noqa: ANN401
    if not isinstance(bands, Sequence) or isinstance(bands, str) or not bands:
        return ""
    return f"{len(bands)} bands {' '.join(map(str, bands))}"


def _name(path: str) -> str:
    return path.rpartition(".")[2] or "(not stated)"


def _short(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 4]} ..."
