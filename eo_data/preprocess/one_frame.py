"""A series of one frame as the image that an encoder of single dates reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from eo_data.preprocess.steps import Preprocess
from eo_data.raster.sample import Image, Sample, SampleError


@dataclass(frozen=True)
class OneFrame:
    """Takes the only frame of each series, and hands on to the preprocessing of an encoder that reads single images.

    With ``frames: {mode: composites, frames: 1, ...}`` or ``{mode: nearest, dates: [...]}`` of
    `eo_data.datamodules.TimeSeriesDataModule`, such an encoder gets a composite, or the acquisition that is nearest
    to a date.

    Parameters
    ----------
    preprocess : Preprocess
        That of the encoder.
    """

    preprocess: Preprocess

    def __call__(self, sample: Sample) -> Sample:
        """Return the prepared sample.

        Raises
        ------
        SampleError
            If a series has several frames, or as the preprocessing does.
        """
        return self.preprocess(replace(sample, images={n: single(n, image) for n, image in sample.images.items()}))

    def describe(self, image: Image) -> dict[str, object]:
        """Return what would be done to an image."""
        return self.preprocess.describe(single("the image", image))

    def statistics_of(self, bands: Sequence[object]) -> object:
        """Return the statistics that the preprocessing tells, for a manifest; ``None`` if it tells none."""
        own = getattr(self.preprocess, "statistics_of", None)
        return None if own is None else own(bands)


def single(name: str, image: Image) -> Image:
    """Return a series of one frame as an image; an image as it is.

    Raises
    ------
    SampleError
        If there are several frames.
    """
    if not image.is_series:
        return image
    raster = image.raster
    if len(raster.pixels) != 1:
        msg = (
            f"{name!r} has {len(raster.pixels)} frames, and one is expected. Make one of them by frames: "
            "{mode: composites, frames: 1, start: ..., end: ...}, or choose one: {mode: nearest, dates: [...]}."
        )
        raise SampleError(msg)
    valid = raster.valid[0] if raster.valid.ndim == 3 else raster.valid
    return replace(image, raster=replace(raster, pixels=raster.pixels[0], valid=valid))
