"""The ``input_params`` and ``config`` arguments of the published loader, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import yaml

from eo_core.arguments import as_int, as_ints, from_text, one_of
from thor_terratorch_ext.model.layout import REFERENCE_PATCH_SIZE, STRATEGIES, Strategy

DEFAULT_GROUND_COVER = 2880
DEFAULT_PATCH_SIZE = 8
INPUT_PARAMS = (
    "ground_covers",
    "flexivit_patch_size_seqs",
    "flexivit_ref_patch_size",
    "select_patch_strategy",
)

#: Settings that a published configuration file may repeat. They are part of the encoder and have one value.
_FIXED: Mapping[str, object] = MappingProxyType(
    {
        "aggr_type": "subsetmean",
        "cls_token_type": "pooled",
        "use_flexivit": False,
        "encoder_pos_type": "alibi",
        "use_superposition_encoding": False,
        "use_fuzzy_encoding": False,
        "flexivit_ref_grid_size": 14,
    }
)


@dataclass(frozen=True)
class InputParams:
    """How images become tokens.

    Parameters
    ----------
    ground_cover : int
        Side of an image on the ground in metres.
    ground_cover_stated : bool
        Whether the user gave it.
    patch_sizes : tuple of int
        Candidate patch sizes in pixels.
    strategy : {'min', 'max', 'equal-min', 'equal-max'}
        See `thor_terratorch_ext.model.layout.resolve_layout`.
    reference_patch_size : int
        Of the patch-size embedding, in pixels.
    """

    ground_cover: int = DEFAULT_GROUND_COVER
    ground_cover_stated: bool = False
    patch_sizes: tuple[int, ...] = (DEFAULT_PATCH_SIZE,)
    strategy: Strategy = "min"
    reference_patch_size: int = REFERENCE_PATCH_SIZE

    @classmethod
    def parse(cls, given: object) -> InputParams:
        """Check the argument ``input_params``.

        Parameters
        ----------
        given : mapping or None
            ``ground_covers`` (one value in metres), ``flexivit_patch_size_seqs`` (pixels),
            ``flexivit_ref_patch_size`` and ``select_patch_strategy``, all optional.

        Raises
        ------
        ValueError
            For an unknown key or a value that makes no sense.
        """
        params = from_text(given)
        if params is None:
            return cls()
        if not isinstance(params, Mapping):
            msg = f"input_params must be a mapping with some of {', '.join(INPUT_PARAMS)}, got {given!r}."
            raise ValueError(msg)
        unknown = [key for key in params if key not in INPUT_PARAMS and key not in _FIXED]
        changed = [key for key in _FIXED if key in params and params[key] != _FIXED[key]]
        if unknown or changed:
            reason = f"Unknown input_params: {', '.join(map(str, unknown))}." if unknown else ""
            reason += "".join(f" {key} is fixed to {_FIXED[key]!r} in THOR 1.0." for key in changed)
            msg = f"{reason} Valid: {', '.join(INPUT_PARAMS)}."
            raise ValueError(msg.strip())
        covers = as_ints("ground_covers", params.get("ground_covers", DEFAULT_GROUND_COVER), "[2880]")
        if len(covers) != 1:
            msg = f"ground_covers must hold one value in metres such as [2880], got {list(covers)}."
            raise ValueError(msg)
        patch_sizes = as_ints(
            "flexivit_patch_size_seqs", params.get("flexivit_patch_size_seqs", DEFAULT_PATCH_SIZE), "[8]"
        )
        reference = as_int("flexivit_ref_patch_size", params.get("flexivit_ref_patch_size", REFERENCE_PATCH_SIZE))
        for name, values in (
            ("ground_covers", covers),
            ("flexivit_patch_size_seqs", patch_sizes),
            ("flexivit_ref_patch_size", (reference,)),
        ):
            if min(values) <= 0:
                msg = f"{name} must be positive, got {list(values)}."
                raise ValueError(msg)
        strategy = one_of("select_patch_strategy", params.get("select_patch_strategy", "min"), STRATEGIES)
        return cls(covers[0], "ground_covers" in params, patch_sizes, strategy, reference)


def read_config(config: object, section: str) -> Mapping[str, object]:
    """Read the settings of one model from a THOR configuration.

    Parameters
    ----------
    config : mapping, str, Path or None
        ``{"models": {section: {"input_params": ..., "ckpt": ...}}}``, or a YAML file with that content.
    section : str
        Name of the model, usually ``encoder``.

    Raises
    ------
    ValueError
        If the file does not exist or has no such section.
    """
    if config is None:
        return {}
    content = config
    if isinstance(config, str | Path):
        file = Path(config).expanduser()
        if not file.is_file():
            msg = f"THOR config {str(config)!r} does not exist."
            raise ValueError(msg)
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    models = content.get("models") if isinstance(content, Mapping) else None
    settings = models.get(section) if isinstance(models, Mapping) else None
    if not isinstance(settings, Mapping):
        msg = f"A THOR config needs the section models.{section}, got {content!r}."
        raise ValueError(msg)
    return settings
