"""What a deployed file says of itself."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import PHYSICAL_UNITS, InputUnit
from eo_models.export.graph import DeployedEncoder
from eo_models.export.inputs import DATES, DeployedInput

#: Version of the form of the metadata.
FORM = 1
_DISTRIBUTION = "thor-anysat-terratorch"


def input_facts(encoder: DeployedEncoder) -> list[dict[str, Any]]:
    """Return what each input is, in their order."""
    facts = []
    for image in encoder.images:
        facts.append(_pixels(encoder, image))
        if image.dated:
            facts.append(
                {
                    "name": image.name + DATES,
                    "kind": "dates",
                    "axes": ["batch", "frame"],
                    "shape": ["batch", image.frames],
                    "dtype": "int64",
                    "unit": "day of the year 0..364, 1 January = 0",
                }
            )
    return facts


def _pixels(encoder: DeployedEncoder, image: DeployedInput) -> dict[str, Any]:
    shape: list[str | int] = ["batch", *image.shape(1)[1:]]
    shape[-3] = encoder.channels(image)
    facts: dict[str, Any] = {
        "name": image.name,
        "kind": "pixels",
        "sensor": image.sensor,
        "bands": list(image.bands),
        "aliases": [list(SENSORS[image.sensor].by_name[band].aliases) for band in image.bands],
        "axes": list(image.axes),
        "shape": shape,
        "dtype": "float32",
        "unit": "normalised" if encoder.normalised else image.stored.unit.value,
        "band_units": _units(image),
        "missing": "NaN",
        "pixel_size_m": image.pixel_size,
        "ground_cover_m": image.pixel_size * image.side,
        "preprocessing_unit": image.unit.value,
        "preprocessing": _steps(image),
        "preprocessing_inside": not encoder.normalised,
    }
    if image.stored.unit is InputUnit.DIGITAL_NUMBER and image.unit is not InputUnit.DIGITAL_NUMBER:
        facts |= {"scale": image.stored.scale, "offset": image.stored.offset}
    if encoder.normalised and image.steps.ratio is not None:
        facts["bands"].append("/".join(image.bands[band] for band in image.steps.ratio))
        facts["aliases"].append([])
    return facts


def _units(image: DeployedInput) -> list[str]:
    """Return what each band is physically, as the preprocessing takes it."""
    if image.unit not in (InputUnit.REFLECTANCE, InputUnit.KELVIN):
        return [image.unit.value] * len(image.bands)
    table = SENSORS[image.sensor].by_name
    return [PHYSICAL_UNITS[table[band].unit].value for band in image.bands]


def _steps(image: DeployedInput) -> dict[str, Any]:
    """Return what becomes of values, in this order; what is missing becomes 0 at the end."""
    steps = image.steps
    return {
        "zero_missing": steps.zero_missing,
        "ratio": None if steps.ratio is None else [image.bands[band] for band in steps.ratio],
        "clip": None if steps.clip is None else list(steps.clip),
        "normalisation": plain(steps.normaliser.describe()),
    }


def output_facts(
    encoder: DeployedEncoder, outputs: Sequence[torch.Tensor], ground_cover: float
) -> list[dict[str, Any]]:
    """Return what each output is, in their order.

    Parameters
    ----------
    encoder : DeployedEncoder
        The graph.
    outputs : sequence of Tensor
        Of some batch.
    ground_cover : float
        Metres.
    """
    facts: list[dict[str, Any]] = []
    for index, (name, value) in enumerate(zip(encoder.output_names, outputs, strict=True)):
        layer = encoder.extractor.layers[index * len(encoder.extractor.layers) // len(outputs)]
        own: dict[str, Any] = {"name": name, "shape": ["batch", *value.shape[1:]], "dtype": "float32", "layer": layer}
        if value.ndim == 4:
            cell = ground_cover / value.shape[-1]
            own |= {"kind": "grid", "axes": ["batch", "feature", "row", "column"], "cell_m": cell}
            own |= {"group_merge": encoder.extractor.group_merge}
        else:
            own |= {"kind": "pooled", "axes": ["batch", "feature"], "pooling": encoder.pooling}
        facts.append(own)
    return facts


def software() -> dict[str, str]:
    """Return what made a file, and its version."""
    try:
        version = importlib.metadata.version(_DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        version = "not installed"
    return {"name": _DISTRIBUTION, "version": version, "torch": torch.__version__}


def plain(value: object) -> Any:  # noqa: ANN401
    """Return options as JSON holds them; of files only the name is told."""
    if isinstance(value, Mapping):
        return {str(key): plain(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [plain(own) for own in value]
    if isinstance(value, str | Path):
        file = Path(value)
        return file.name if file.is_file() else str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
