"""How two grids differ, for those who refuse one."""

from __future__ import annotations

from eo_data.raster.georeference import PixelGrid, compare_grids


def one_grid(grid: PixelGrid, own: PixelGrid) -> bool:
    """Whether two grids are one, and the same is known of their place."""
    found = compare_grids(grid, own)
    return found.same_knowledge and found.same_grid()


def difference(grid: PixelGrid, own: PixelGrid) -> str:
    """Return in what two grids differ that are not one, in words."""
    found = compare_grids(grid, own)
    if found.same_crs is False:
        return "the CRS differ"
    if not found.same_knowledge:
        return "only one of them states its place"
    if found.same_directions is False:
        return "their rows or columns run in opposite directions"
    return f"their corners are up to {found.gap or 0:g} pixels apart"


def size_of_pixels(grid: PixelGrid) -> str:
    """Return the size of pixels for a message, behind their number: `` of 10 x 10``; nothing if it is not known."""
    t = grid.transform
    return "" if t is None else f" of {abs(t.a) or abs(t.b):g} x {abs(t.e) or abs(t.d):g}"


def refuse_unplaced(grid: PixelGrid, points: str = "") -> None:
    """Refuse a grid that is nowhere on a map, so that its pixels cannot be brought to a place.

    Parameters
    ----------
    grid : PixelGrid
        The grid.
    points : str
        ``ground control points`` or ``RPCs`` if they are all that says where pixels lie.

    Raises
    ------
    ValueError
        If its transform or its CRS is not known.
    """
    if grid.transform is None and points:
        msg = (
            f"it has no georeference but {points}, between which terrain shifts pixels. Take a product that is "
            "corrected for terrain (of radar: RTC), or bring it to a grid first."
        )
        raise ValueError(msg)
    if grid.transform is None:
        msg = "it has no georeference, so that its pixels cannot be brought to a place. Georeference it first."
        raise ValueError(msg)
    if grid.crs is None:
        msg = "it has no CRS, so that its pixels cannot be brought to a place. State crs, such as EPSG:32633."
        raise ValueError(msg)
