"""Whether images lie on the same ground."""

from __future__ import annotations

from eo_data.raster.raster import Raster
from eo_data.raster.sample import Image, Sample, SampleError


def same_grid(sample: Sample) -> Image:
    """Return the reference image of a sample whose images all lie on one grid.

    Raises
    ------
    SampleError
        If sizes, CRS or transforms differ.
    """
    first = sample.reference
    for name, image in sample.images.items():
        ours, theirs = first.raster, image.raster
        if (ours.height, ours.width) != (theirs.height, theirs.width) or image.pixel_size != first.pixel_size:
            msg = (
                f"{sample.id}: {name!r} has {theirs.height} x {theirs.width} pixels of {image.pixel_size:g} m, the "
                f"first modality {ours.height} x {ours.width} of {first.pixel_size:g} m. Bring them to one grid "
                "(resample_to) first."
            )
            raise SampleError(msg)
    check_georeference(sample)
    return first


def check_georeference(sample: Sample) -> None:
    """Refuse images that do not show the same ground.

    Raises
    ------
    SampleError
        If CRS differ, or extents by more than one pixel of the coarser image.
    """
    located = [(name, image.raster) for name, image in sample.images.items() if image.raster.transform is not None]
    for name, raster in located[1:]:
        first_name, first = located[0]
        if not same_crs(raster.crs, first.crs):
            msg = f"{sample.id}: {first_name!r} and {name!r} have different CRS. Warp them to one."
            raise SampleError(msg)
        if not same_directions(raster, first):
            msg = (
                f"{sample.id}: the rows or columns of {first_name!r} and {name!r} run in opposite directions. Warp "
                "them to one grid, north up."
            )
            raise SampleError(msg)
        tolerance = max(*raster.pixel_size, *first.pixel_size)
        if max(abs(a - b) for a, b in zip(raster.bounds, first.bounds, strict=True)) > tolerance:
            msg = (
                f"{sample.id}: {first_name!r} covers {first.bounds} and {name!r} {raster.bounds} (left, bottom, right, "
                "top); they must show the same ground. Crop or warp them to one extent."
            )
            raise SampleError(msg)


def same_directions(one: Raster, other: Raster) -> bool:
    """Whether rows run the same way on the map, and columns do; bounds would not tell."""
    if one.transform is None or other.transform is None:
        return True
    return one.transform.a * other.transform.a >= 0 and one.transform.e * other.transform.e >= 0


def same_crs(one: str | None, other: str | None) -> bool:
    """Whether two WKT mean one CRS, however it is written."""
    if one is None or other is None or one == other:
        return True
    from pyproj import CRS  # noqa: PLC0415

    return bool(CRS.from_wkt(one).equals(CRS.from_wkt(other), ignore_axis_order=True))
