"""Embeddings that were made in one call, as an export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eo_embed.export.exporter import Exporter
from eo_embed.export.facts import encoder_facts, run_provenance
from eo_embed.export.settings import ExportSettings
from eo_models.preset import refuse_unknown_options

if TYPE_CHECKING:
    from eo_embed.one_call.encoders import BuiltEncoder
    from eo_embed.one_call.options import Request
    from eo_models.contract import Features

#: Settings that only the encoder can change.
_MADE_WITH = ("layers", "pooling", "group_merge")


@dataclass(frozen=True, eq=False)
class Encoded:
    """What an embedding was made of and by, which `Embedded.save` needs.

    Parameters
    ----------
    batch : mapping
        Of one sample.
    features : sequence of Features
        What the encoder gave, by layer.
    encoder : BuiltEncoder
        The encoder.
    request : Request
        What was asked for.
    facts : mapping
        All that changes the numbers, see `eo_embed.export.facts.export_facts`.
    root : Path
        Folder that files are named from.
    """

    batch: Mapping[str, Any]
    features: Sequence[Features]
    encoder: BuiltEncoder
    request: Request
    facts: Mapping[str, Any]
    root: Path

    def of_layer(self, number: int) -> Encoded:
        """Return what the embedding of one layer was made of."""
        settings = self.request.settings
        one = replace(settings, layers=(settings.layers[number],))
        return replace(self, features=[self.features[number]], request=replace(self.request, settings=one))


class _Replay:
    """An encoder that gives what was made before, in the same order."""

    def __init__(self, made: Sequence[Encoded]) -> None:
        self._features = iter([own.features for own in made])

    def __call__(self, image: object, **_: Any) -> Sequence[Features]:  # noqa: ANN401
        return next(self._features)


def save(made: Sequence[Encoded], folder: Path, settings: Mapping[str, Any]) -> Path:
    """Write embeddings to a folder as one export.

    Parameters
    ----------
    made : sequence of Encoded
        What was made.
    folder : Path
        Of the export.
    settings : mapping
        Fields of `ExportSettings` that are about files; without ``grid_format`` GeoTIFF, or npz for grids without a
        place.

    Raises
    ------
    ValueError
        If there are none, they were made in different ways, or as `Exporter.run`.
    """
    if not made:
        msg = "There is nothing to save: no embedding was made."
        raise ValueError(msg)
    if any(own.facts != made[0].facts for own in made):
        msg = "These embeddings were made with different settings, and one export has one. Save them one by one."
        raise ValueError(msg)
    whole = stored_as(made[0].request.settings, settings, place="geotransform" in made[0].batch)
    facts = {**made[0].facts, "task": task_facts(made[0], whole)}
    asked = made[0].request.encoder
    options: dict[str, Any] = {
        "absolute_paths": whole.absolute_paths,
        "numbers": made[0].encoder.arithmetic.described,
    }
    provenance = run_provenance(asked.ckpt, None, made[0].root, **options)
    exporter = Exporter(folder, _Replay(made), whole, facts, provenance, root=made[0].root)
    exporter.run([own.batch for own in made])
    return folder


def stored_as(asked: ExportSettings, settings: Mapping[str, Any], *, place: bool) -> ExportSettings:
    """Return the settings of an export: what was asked of the encoder, and how files are to be.

    Raises
    ------
    ValueError
        If they say that the embedding was made in another way than it was.
    TypeError
        For a setting that there is not.
    """
    refuse_unknown_options("save", settings, [own.name for own in fields(ExportSettings)])
    for name in _MADE_WITH:
        made = getattr(asked, name)
        if settings.get(name, made) != made:
            msg = f"The embedding was made with {name}={made!r}. Give {name}={settings[name]!r} to embed, not to save."
            raise ValueError(msg)
    usual = {} if place or not asked.writes_grids else {"grid_format": "npz"}
    return replace(asked, **{**usual, **settings})


def task_facts(own: Encoded, settings: ExportSettings) -> dict[str, Any]:
    """Return encoder and settings as `eo_embed.EmbeddingTask` states them."""
    task = own.facts["task"]
    return encoder_facts(task["backbone"], task["backbone_args"], settings)
