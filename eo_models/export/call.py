"""An encoder of the presets as a file that runs without this project.

Examples
--------
>>> from eo_models.export.call import Asked, export_encoder
>>> export_encoder("thor_v1_base", "thor.onnx", Asked(bands=["BLUE", "GREEN", "RED", "NIR_BROAD"], side=288, patch=8))
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eo_core.files import write_bytes
from eo_core.fingerprint import sha256_of_file
from eo_data.preprocess.steps import DeclaresSteps
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image
from eo_models.contract import GroupMerge, Pooling
from eo_models.export.formats import Format, Parts, find_format
from eo_models.export.graph import DeployedEncoder, Output
from eo_models.export.inputs import (
    DeployedInput,
    bands_by_sensor,
    conversion_of,
    facts_of,
    frames_of,
    sides_of,
    unit_of,
)
from eo_models.export.metadata import FORM, input_facts, output_facts, plain, software
from eo_models.features import FeatureExtractor
from eo_models.preset import ImageFacts, Preset, Recipe, find_preset
from eo_models.weights.checkpoints import sha256_of_weights

#: Largest difference of a file's numbers from PyTorch's, relative to the largest number.
TOLERANCE = 1e-4
#: Numbers of samples that a file is tried with; the graph was traced with two.
_TRIED = (1, 3)


class ParityError(RuntimeError):
    """A file computes other numbers than PyTorch; it is not written."""


@dataclass(frozen=True)
class Asked:
    """What a deployed file is to take and give.

    Parameters
    ----------
    side : int
        Pixels of the images, of the first sensor where their pixels differ in size.
    bands : sequence of str
        In the order of the channels, of all sensors one after the other; may be left out of sensors of which the
        encoder needs all bands.
    sensors : sequence of str
        Keys of `eo_data.sensors.tables.SENSORS`; may be left out where the bands tell.
    patch : int, optional
        The encoder's option ``patch_size``: see its card for the unit.
    pixel_size : float, optional
        Metres, of sensors of which the encoder takes any.
    frames : int, optional
        Of series.
    units, scales, offsets : mapping of str
        By sensor: what the numbers are that the file takes (by default the physical unit that the preprocessing
        takes), and of digital numbers what makes them physical: ``(number + offset) * scale``.
    normalised : bool
        The file takes values that are normalised already, instead of normalising them inside.
    layers, group_merge
        As `eo_models.features.FeatureExtractor`.
    output : {'pooled', 'grid', 'both'}
        What comes out.
    pooling : {'mean', 'max', 'cls'}
        How tokens become a vector.
    options : mapping
        Further options of the encoder and its preprocessing.
    """

    side: int
    bands: Sequence[str] = ()
    sensors: Sequence[str] = ()
    patch: int | None = None
    pixel_size: float | None = None
    frames: int | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    offsets: Mapping[str, float] = field(default_factory=dict)
    normalised: bool = False
    layers: Sequence[int] = (-1,)
    group_merge: GroupMerge = "mean"
    output: Output = "both"
    pooling: Pooling = "mean"
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> dict[str, Any]:
        """Options of the encoder."""
        return {**self.options, **({} if self.patch is None else {"patch_size": self.patch})}


@dataclass(frozen=True)
class Weights:
    """The weights of a deployed file.

    Parameters
    ----------
    pretrained : bool
        The published ones, unless ``ckpt`` is given; random ones otherwise.
    ckpt : str, optional
        File of weights.
    revision : str, optional
        Of the published ones.
    """

    pretrained: bool = True
    ckpt: str | None = None
    revision: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of a backbone."""
        stated: dict[str, Any] = {"pretrained": self.pretrained}
        stated |= {} if self.ckpt is None else {"ckpt": self.ckpt}
        return stated | ({} if self.revision is None else {"revision": self.revision})

    def facts(self, published: str, licence: str) -> dict[str, Any]:
        """Return where they are from, and their licence; of a file only its name is told."""
        if self.ckpt is not None:
            file = Path(self.ckpt).expanduser()
            return {
                "source": f"file {file.name}",
                "file_sha256": sha256_of_file(file),
                "licence": f"of the file; published weights: {licence or 'none'}",
            }
        if not self.pretrained:
            return {"source": "random", "licence": "none"}
        revision = f", revision {self.revision}" if self.revision else ""
        return {"source": f"published: {published}{revision}", "licence": licence}


@dataclass(frozen=True)
class Deployed:
    """A file that was written.

    Parameters
    ----------
    path : Path
        Of the file.
    metadata : mapping
        What it says of itself.
    difference : float
        Largest difference from PyTorch's numbers, relative to the largest number.
    """

    path: Path
    metadata: Mapping[str, Any]
    difference: float

    def __str__(self) -> str:
        """Return what the file takes and gives, as lines to read."""
        lines = [f"{self.path}: {self.metadata['encoder']}, equal to PyTorch's numbers to {self.difference:.1e}"]
        for what in ("inputs", "outputs"):
            for facts in self.metadata[what]:
                shape = ", ".join(map(str, facts["shape"]))
                told = "; ".join(
                    [*filter(None, [facts.get("unit")]), *filter(None, [", ".join(facts.get("bands", []))])]
                )
                lines.append(f"{what[:-1]:<7}{facts['name']} {facts['dtype']} ({shape}){': ' if told else ''}{told}")
        return "\n".join(lines)


def export_encoder(
    encoder: str,
    out: str | Path,
    asked: Asked,
    *,
    form: str = "onnx",
    weights: Weights | None = None,
    overwrite: bool = False,
) -> Deployed:
    """Write an encoder as a file that runs without this project.

    The file is run and compared with PyTorch before it is written; batches may have any number of samples, all other
    sizes are fixed.

    Parameters
    ----------
    encoder : str
        One of `eo_models.preset.models`.
    out : str or Path
        The file. OpenVINO's weights lie beside it, with the suffix ``.bin``.
    asked : Asked
        What it takes and gives.
    form : {'onnx', 'openvino', 'torch_export'}
        Kind of file.
    weights : Weights, optional
        The published ones by default.
    overwrite : bool
        Replace a file that is there.

    Raises
    ------
    ValueError, TypeError
        For an unknown encoder or option, bands that it does not read, a side that patches do not divide, weights that
        cannot be had.
    ImportError
        If the packages of the format are not installed.
    FileExistsError
        If there is something at ``out``.
    ParityError
        If the file computes other numbers than PyTorch.
    OSError
        If it cannot be written; nothing is left then.
    """
    kind, path, weights = find_format(form), Path(out), weights or Weights()
    _check_target(path, kind, overwrite=overwrite)
    preset = find_preset(encoder)
    deployed = deployed_encoder(encoder, asked, weights)
    metadata = _metadata(preset, encoder, deployed, asked, weights)
    program = deployed.traced()
    parts = kind.write(deployed, program, json.dumps(metadata))
    difference = _difference(deployed, kind, parts)
    _write(path, parts)
    return Deployed(path, metadata, difference)


def deployed_encoder(encoder: str, asked: Asked, weights: Weights) -> DeployedEncoder:
    """Return an encoder as the function of tensors that becomes a file; arguments and errors as `export_encoder`."""
    preset = find_preset(encoder)
    recipe, inputs = planned(preset, encoder, asked)
    # Random weights, where they are asked for, are the same whenever they are made.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = preset.build(encoder, {**recipe.arguments, **weights.arguments}, asked.layers)
    extractor = FeatureExtractor(backbone, {}, asked.layers, asked.group_merge)
    extractor.requires_grad_(requires_grad=False).eval()
    deployed = DeployedEncoder(
        extractor, inputs, normalised=asked.normalised, output=asked.output, pooling=asked.pooling
    )
    return deployed.eval()


def planned(preset: Preset, encoder: str, asked: Asked) -> tuple[Recipe, tuple[DeployedInput, ...]]:
    """Return how the encoder is built, and the inputs of the file; arguments and errors as `export_encoder`."""
    kinds = preset.images(encoder)
    bands = bands_by_sensor(encoder, kinds, asked.sensors, asked.bands)
    if not bands:
        msg = f"Say which images the file takes: bands, sensors or both. {encoder} reads {', '.join(kinds)}."
        raise ValueError(msg)
    facts = facts_of(kinds, bands, asked.pixel_size)
    recipe = preset.recipe(encoder, facts, asked.own)
    _check_by_sensor(asked, bands)
    sides = sides_of(facts, asked.side, preset.patch_metres(facts, asked.own))
    encoded = preset.encoded_side(facts, asked.own, asked.side)
    if encoded != asked.side:
        msg = (
            f"By its rules {encoder} resamples {asked.side} px to {encoded} px, which a deployed file does not do. "
            f"Export side {encoded}, or change the rules by an option ({', '.join(preset.options(encoder))})."
        )
        raise ValueError(msg)
    frames = frames_of(facts, kinds, asked.frames)
    inputs = tuple(_input(name, fact, recipe, asked, sides[name], frames.get(name)) for name, fact in facts.items())
    return recipe, inputs


def _check_by_sensor(asked: Asked, bands: Mapping[str, object]) -> None:
    """Refuse units and scales of sensors that the file does not take."""
    for what in ("units", "scales", "offsets"):
        for sensor in getattr(asked, what):
            if sensor not in bands:
                msg = f"{what} names {sensor!r}; the file takes {', '.join(bands)}."
                raise ValueError(msg)


def _input(name: str, fact: ImageFacts, recipe: Recipe, asked: Asked, side: int, frames: int | None) -> DeployedInput:
    unit = unit_of(fact, recipe, name)
    stated = (asked.units.get(fact.sensor), asked.scales.get(fact.sensor), asked.offsets.get(fact.sensor))
    stored = conversion_of(fact.sensor, unit, *stated)
    if not isinstance(recipe.preprocess, DeclaresSteps):
        msg = f"{type(recipe.preprocess).__name__} does not tell its steps, which a deployed file needs."
        raise TypeError(msg)
    blank = Raster(np.zeros((len(fact.bands), 1, 1), np.float32), np.ones((1, 1), dtype=bool), None, None)
    image = Image(blank, fact.bands, unit, fact.pixel_size, sensor=fact.sensor)
    steps = recipe.preprocess.pixel_steps(name, image)
    dated = frames is not None and recipe.dates_as != "none"
    return DeployedInput(
        name, fact.sensor, fact.bands, stored, unit, fact.pixel_size, side, frames, dated=dated, steps=steps
    )


def _metadata(
    preset: Preset,
    encoder: str,
    deployed: DeployedEncoder,
    asked: Asked,
    weights: Weights,
) -> dict[str, Any]:
    card = preset.card(encoder)
    facts = {image.name: ImageFacts(image.sensor, image.bands, image.pixel_size) for image in deployed.images}
    ground = asked.side * deployed.images[0].pixel_size
    outputs = deployed.compute(deployed.example(1, seed=1))
    return {
        "form": FORM,
        "encoder": encoder,
        "summary": card.summary,
        "source": card.source,
        "software": software(),
        "weights": {
            **weights.facts(card.weights, card.licence),
            "sha256": sha256_of_weights(deployed.extractor.backbone),
        },
        "ground_cover_m": ground,
        "patch_size": {**preset.options(encoder), **asked.own}.get("patch_size"),
        "side_multiple_m": preset.patch_metres(facts, asked.own),
        "options": plain(asked.own),
        "precision": "float32",
        "inputs": input_facts(deployed),
        "outputs": output_facts(deployed, outputs, ground),
    }


def _difference(deployed: DeployedEncoder, kind: Format, parts: Parts) -> float:
    """Return how far a file's numbers are from PyTorch's, relative to the largest."""
    run, worst = kind.runner(parts), 0.0
    for batch in _TRIED:
        tensors = deployed.example(batch, seed=batch)
        expected = deployed.compute(tensors)
        found = run([tensor.numpy() for tensor in tensors])
        for name, mine, theirs in zip(deployed.output_names, found, expected, strict=True):
            wanted = theirs.numpy()
            same = mine.shape == wanted.shape
            off = float(np.abs(mine - wanted).max() / np.abs(wanted).max()) if same else np.inf
            if not off <= TOLERANCE:  # NaN is no number within it
                msg = (
                    f"The {kind.name} file gives {name} {mine.shape} with a difference of {off:.2g} (relative to the "
                    f"largest number) from PyTorch's {wanted.shape}; {TOLERANCE:g} is allowed. It is not written. "
                    "Try another format, and other versions of its packages."
                )
                raise ParityError(msg)
            worst = max(worst, off)
    return worst


def _files(path: Path, names: Sequence[str]) -> dict[str, Path]:
    """Return the files of the parts."""
    return {name: path.with_suffix(name) if name else path for name in names}


def _check_target(path: Path, kind: Format, *, overwrite: bool) -> None:
    if path.suffix.lower() != kind.suffix:
        msg = f"A file of the format {kind.name} has the suffix {kind.suffix}, got {path.name!r}."
        raise ValueError(msg)
    there = [
        file for file in _files(path, ["", *([".bin"] if kind.name == "openvino" else [])]).values() if file.exists()
    ]
    if there and (not overwrite or there[0].is_dir()):
        msg = f"{there[0]} is there already. Choose another name, remove it, or state overwrite."
        raise FileExistsError(msg)


def _write(path: Path, parts: Parts) -> None:
    """Write the parts, each whole or not at all; the one that names the file last."""
    written: list[Path] = []
    try:
        for name, file in _files(path, list(parts)).items():
            write_bytes(file, parts[name])
            written.append(file)
    except OSError:
        for file in written:
            file.unlink(missing_ok=True)
        raise
