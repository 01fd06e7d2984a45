"""Several encoders, each with its own preprocessing: the modalities of a sample go their ways and meet again."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eo_data.preprocess.steps import Preprocess
from eo_data.raster.georeference import HALF_A_PIXEL, ROUNDING, check_georeference, compare_grids
from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError


@dataclass(frozen=True)
class ModalityPreprocess:
    """The preprocessing of some modalities.

    Parameters
    ----------
    modalities : sequence of str
        Names in the data module.
    preprocess : Preprocess
        Of the encoder that reads them.

    Raises
    ------
    ValueError
        If there are no names.
    """

    modalities: Sequence[str]
    preprocess: Preprocess

    def __post_init__(self) -> None:
        """Check the names."""
        if isinstance(self.modalities, str) or not self.modalities:
            msg = f"modalities must be a list of names such as [S2], got {self.modalities!r}."
            raise ValueError(msg)


@dataclass(frozen=True)
class PreprocessByModality:
    """Each part of the modalities by its own encoder's preprocessing.

    For several backbones on one batch. A modality that two of them read is named twice in the data module, with the
    same files.

    Parameters
    ----------
    parts : sequence of ModalityPreprocess
        Every modality belongs to exactly one.

    Raises
    ------
    ValueError
        If there is no part, or a modality belongs to several.
    """

    parts: Sequence[ModalityPreprocess]

    def __post_init__(self) -> None:
        """Check that no modality comes twice."""
        names = [name for part in self.parts for name in part.modalities]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if not names or doubled:
            fault = f"{', '.join(doubled)} in several" if doubled else "none"
            msg = (
                f"parts must name each modality once, got {fault}. Write [{{modalities: [S2], preprocess: ...}}, ...]; "
                "for two encoders on the same files, give the data module two modalities with these files."
            )
            raise ValueError(msg)

    def __call__(self, sample: Sample) -> Sample:
        """Preprocess each part on its own and put the results together.

        Parameters
        ----------
        sample : Sample
            Images in physical units, and the label.

        Returns
        -------
        Sample
            Its images in the same order; images that came on one grid are on one grid.

        Raises
        ------
        ValueError
            If an image belongs to no part.
        SampleError
            If the parts crop, pad or resample differently, so that images or labels do not lie on each other any more;
            and whatever the preprocessing of a part raises.
        """
        for name in sample.images:
            self.part_of(name)
        images: dict[str, Image] = {}
        labels: list[tuple[str, Raster | float | None]] = []
        for part in self.parts:
            own = {name: image for name, image in sample.images.items() if name in part.modalities}
            if not own:
                continue
            first = next(iter(own))
            has_label = _lies_on(sample.label, own[first])
            done = part.preprocess(replace(sample, images=own, label=sample.label if has_label else None))
            _check_names(part, own, done)
            images |= done.images
            labels += [(first, done.label)] if has_label else []
        joined = replace(sample, images={name: images[name] for name in sample.images})
        _check_grids(sample, joined)
        return replace(joined, label=_one_label(sample, labels))

    def part_of(self, name: str) -> Preprocess:
        """Return the preprocessing of a modality.

        Raises
        ------
        ValueError
            If it belongs to no part.
        """
        for part in self.parts:
            if name in part.modalities:
                return part.preprocess
        known = [modality for part in self.parts for modality in part.modalities]
        msg = f"The modality {name!r} belongs to no part; the parts have {', '.join(known)}. Add it to one of them."
        raise ValueError(msg)

    def describe(self, image: Image) -> dict[str, object]:
        """Return what each part would do to an image; which of them does, its name decides (`part_of`)."""
        return {"preprocess": "PreprocessByModality"} | {
            ", ".join(part.modalities): _described(part.preprocess, image) for part in self.parts
        }

    def statistics_of(self, bands: Sequence[object]) -> dict[str, object] | None:
        """Return the built-in statistics of bands by the modalities of each part that has some, for a manifest."""
        found = {", ".join(part.modalities): _statistics(part.preprocess, bands) for part in self.parts}
        known = {names: statistics for names, statistics in found.items() if statistics is not None}
        return known or None


def _described(preprocess: Preprocess, image: Image) -> dict[str, object] | str:
    try:
        return preprocess.describe(image)
    except ValueError as error:
        return f"not for this image: {error}"


def _statistics(preprocess: Preprocess, bands: Sequence[object]) -> object:
    statistics_of = getattr(preprocess, "statistics_of", None)
    if statistics_of is None:
        return None
    try:
        return statistics_of(bands)
    except ValueError:  # bands of a sensor that this encoder does not know
        return None


def _lies_on(label: Raster | float | None, image: Image) -> bool:
    """Whether a label can follow an image; one value always can, a raster if it has the same grid."""
    if not isinstance(label, Raster):
        return True
    return (label.height, label.width) == (image.raster.height, image.raster.width)


def _check_names(part: ModalityPreprocess, given: Mapping[str, Image], done: Sample) -> None:
    if set(done.images) != set(given):
        kind = type(part.preprocess).__name__
        msg = f"{kind} made {list(done.images)} of the modalities {list(given)}; it must keep their names."
        raise ValueError(msg)


def _check_grids(before: Sample, after: Sample) -> None:
    """Images that came on one grid must be on one grid; the others must still show the same ground."""
    for one, other in itertools.combinations(after.images, 2):
        raster, first, second = before.images[one].raster, after.images[one].raster, after.images[other].raster
        came = compare_grids(raster, before.images[other].raster)
        # As near as they came, because crops are whole pixels: a shift between the files is no fault of the parts.
        tolerance = max(ROUNDING, min(came.gap or 0.0, HALF_A_PIXEL))
        if came.same_size and not compare_grids(first, second).same_grid(tolerance):
            msg = (
                f"{before.id}: {one!r} and {other!r} came on one grid of {raster.height} x {raster.width} px, but "
                f"their preprocessing makes {_grid(first)} and {_grid(second)} of it. Choose settings that crop and "
                "resample alike: chips or tiles of a whole number of patches for both, and no resampling "
                "(image_size: null)."
            )
            raise SampleError(msg)
    check_georeference(after)


def _grid(raster: Raster) -> str:
    corner = "" if raster.transform is None else f" from ({raster.transform.c:.10g}, {raster.transform.f:.10g})"
    return f"{raster.height} x {raster.width} px{corner}"


def _one_label(sample: Sample, labels: Sequence[tuple[str, Raster | float | None]]) -> Raster | float | None:
    """Return the label on which all parts agree.

    Raises
    ------
    SampleError
        If they do not, or none has one.
    """
    if not labels:
        msg = f"{sample.id}: the label lies on the grid of no modality. Resample the label or an image (resample_to)."
        raise SampleError(msg)
    (first_name, first), *others = labels
    for name, label in others:
        if not _equal(first, label):
            msg = (
                f"{sample.id}: the label comes out differently beside {first_name!r} and {name!r}: their "
                "preprocessing crops or pads differently. Choose settings that keep the same pixels for both."
            )
            raise SampleError(msg)
    return first


def _equal(one: Raster | float | None, other: Raster | float | None) -> bool:
    if isinstance(one, Raster) and isinstance(other, Raster):
        return np.array_equal(one.pixels, other.pixels, equal_nan=True)
    return not isinstance(one, Raster) and not isinstance(other, Raster) and one == other
