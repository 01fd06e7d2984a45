"""Which published weights lie in the cache of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from eo_cli.doctor.findings import Finding, Part, State
from eo_core.memory import as_amount


def cache_folder() -> Path:
    """Return the folder of the cache, there or not."""
    from huggingface_hub.constants import HF_HUB_CACHE  # noqa: PLC0415

    return Path(HF_HUB_CACHE)


def look_at_weights() -> Part:
    """Return the encoders that are installed, and where the weights of each are."""
    from eo_models.preset import presets  # noqa: PLC0415

    try:
        known = presets()
    except Exception as error:  # noqa: BLE001  (of somebody's package; the report goes on)
        advice = "A package that declares encoders cannot be imported: install it again, or remove it."
        return Part("encoders", [Finding("encoders", f"{type(error).__name__}: {error}", State.BROKEN, advice)])
    if not known:
        advice = "Install the project again: its entry points are missing."
        return Part("encoders", [Finding("encoders", "none", State.BROKEN, advice)])
    by_file: dict[tuple[str, str] | None, list[str]] = {}
    for name, preset in known.items():
        by_file.setdefault(preset.card(name).hub, []).append(name)
    return Part("encoders and their published weights", list(_rows(by_file)))


def _rows(by_file: dict[tuple[str, str] | None, list[str]]) -> Iterator[Finding]:
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415
    from huggingface_hub.constants import HF_HUB_OFFLINE  # noqa: PLC0415

    for hub, names in by_file.items():
        if hub is None:
            yield from (Finding(name, "none published: random weights, or a checkpoint of your own") for name in names)
            continue
        what = min(names, key=len)  # the others are longer spellings of it
        file = try_to_load_from_cache(*hub)
        if isinstance(file, str):
            yield Finding(what, f"{as_amount(Path(file).stat().st_size)} in the cache, {hub[0]}")
        elif HF_HUB_OFFLINE:
            advice = f"HF_HUB_OFFLINE is set. Where there is a network: hf download {hub[0]} {hub[1]}"
            yield Finding(what, f"not in the cache, {hub[0]}", State.NOTE, advice)
        else:
            yield Finding(what, f"not in the cache: fetched when first used, or hf download {hub[0]} {hub[1]}")
