"""Embeddings as colours: ``python -m eo_embed.pictures EXPORT_FOLDER``.

The first principal components of all grids of an export become red, green and blue. One analysis and one stretch
serve all grids of a layer, so that colours mean the same on every tile.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from matplotlib.figure import Figure
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.windows import Window

from eo_core.files import PARTIAL, atomic_path
from eo_data.dataset.plots import STRETCH
from eo_embed.quicklook import Ground, QuickLooks
from eo_embed.writers.layout import GRIDS
from eo_embed.writers.quantise import Encoding

#: Numbers that the sample for the analysis may hold: 256 MB of float32.
SAMPLE_VALUES = 1 << 26
#: Numbers that are read of a grid at once.
_BLOCK_VALUES = 1 << 25
COMPONENTS = (1, 3)


@dataclass(frozen=True, eq=False)
class Projection:
    """Principal components and the range of each that is stretched to 0..255.

    Parameters
    ----------
    mean : ndarray
        Float64 ``(D,)``.
    axes : ndarray
        Float64 ``(components, D)``, rows of length 1.
    low, high : ndarray
        Float64 ``(components,)``: 2nd and 98th percentile over the sample.
    explained : ndarray
        Float64 ``(components,)``: share of the variance.
    """

    mean: np.ndarray
    axes: np.ndarray
    low: np.ndarray
    high: np.ndarray
    explained: np.ndarray

    def colours(self, grid: np.ndarray) -> np.ndarray:
        """Return uint8 RGBA ``(4, h, w)`` of float32 ``(D, h, w)``; cells with NaN are transparent black."""
        flat = grid.reshape(len(grid), -1)
        seen = np.isfinite(flat).all(axis=0)
        values = self.axes @ (flat[:, seen] - self.mean[:, None])
        span = (self.high - self.low)[:, None]
        # A component that does not vary is mid-grey.
        scaled = np.where(span > 0, (values - self.low[:, None]) / np.where(span > 0, span, 1), 0.5)
        painted = np.zeros((4, flat.shape[1]), dtype=np.uint8)
        painted[:3, seen] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
        painted[3, seen] = 255
        return painted.reshape(4, *grid.shape[1:])


def fit_projection(vectors: np.ndarray, components: int = 3) -> Projection:
    """Principal components of a sample of vectors.

    Covariance and eigenvectors in float64. An eigenvector has no sign; here the entry of largest magnitude is
    positive, so that two runs give the same colours.

    Parameters
    ----------
    vectors : ndarray
        ``(n, D)``, finite.
    components : int
        How many.

    Raises
    ------
    ValueError
        For fewer dimensions than components, or no vectors.
    """
    count, dimensions = vectors.shape
    if not count or dimensions < components:
        msg = (
            f"{components} principal components need vectors of at least {components} dimensions, got {count} vectors "
            f"of {dimensions}. Is all of the export no-data? For few dimensions use --components 1."
        )
        raise ValueError(msg)
    mean = vectors.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((dimensions, dimensions))
    for start in range(0, count, 4096):
        centred = vectors[start : start + 4096] - mean
        scatter += centred.T @ centred
    variances, columns = np.linalg.eigh(scatter)
    axes = columns[:, ::-1][:, :components].T
    axes *= np.sign(np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1))
    values = np.concatenate([(vectors[i : i + 4096] - mean) @ axes.T for i in range(0, count, 4096)])
    low, high = np.percentile(values, STRETCH, axis=0)
    total = float(variances.sum())
    explained = variances[::-1][:components] / total if total > 0 else np.zeros(components)
    return Projection(mean, axes, low, high, explained)


@dataclass(frozen=True)
class _Grid:
    """A grid file and what its tags say."""

    path: Path
    below: Path
    id: str
    layer: str
    sources: tuple[str, ...]
    encoding: Encoding
    count: int
    height: int
    width: int

    @property
    def cells(self) -> int:
        return self.height * self.width


def render_pca(
    folder: str | Path,
    out: str | Path | None = None,
    components: int = 3,
    rgb_from: str | Path | None = None,
    sample_values: int = SAMPLE_VALUES,
) -> list[Path]:
    """Draw all grids of an export: per grid a PNG and a georeferenced RGBA GeoTIFF (COG).

    The PNG shows the grid beside the RGB of its source, where that can be read, cut to the ground of the grid.

    Parameters
    ----------
    folder : str or Path
        Of the export, with grids as GeoTIFF.
    out : str or Path, optional
        Where the pictures go; ``<folder>/pictures`` by default.
    components : {3, 1}
        Colours, or grey tones of the first principal component.
    rgb_from : str or Path, optional
        A TerraTorch config with one of our data modules, which then reads the sources: for series, for files without
        band names, and for bands in files of their own.
    sample_values : int
        Numbers that the sample for the analysis may hold. A larger export is sampled at random, with a fixed seed.

    Returns
    -------
    list of Path
        The PNG files.

    Raises
    ------
    ValueError
        If there is no grid to draw, its files differ in their number of bands, or for an impossible argument.
    """
    if components not in COMPONENTS:
        msg = f"components must be 3 (colours) or 1 (grey), got {components}."
        raise ValueError(msg)
    place = Path(folder)
    target = place / "pictures" if out is None else Path(out)
    looks = QuickLooks(place, rgb_from)
    drawn = []
    for grids in _by_layer(_grids(place)).values():
        projection = fit_projection(_sample(grids, sample_values), components)
        for grid in grids:
            drawn.append(_draw(grid, projection, target, looks))
    return drawn


def _grids(folder: Path) -> list[_Grid]:
    files = sorted(path for path in (folder / GRIDS).rglob("*.tif") if not path.name.startswith(PARTIAL))
    if not files:
        msg = (
            f"{folder} holds no {GRIDS}/*.tif to draw. Give the folder of an export with output: grid or both and "
            "grid_format: geotiff."
        )
        raise ValueError(msg)
    return [_described(path, path.relative_to(folder / GRIDS)) for path in files]


def _described(path: Path, below: Path) -> _Grid:
    try:
        with _opened(path) as file:
            tags = file.tags()
            encoding = Encoding(tags.get("quantisation", "float32"))
            sources = tuple(json.loads(tags.get("sources", "[]")))
            name, layer = tags.get("id", path.stem), tags.get("layer", "")
            return _Grid(path, below, name, layer, sources, encoding, file.count, file.height, file.width)
    except RasterioError as error:
        msg = f"{path} cannot be read: {error}. Remove it and export again: only what is missing is made."
        raise ValueError(msg) from error


def _by_layer(grids: Sequence[_Grid]) -> Mapping[str, list[_Grid]]:
    layers: dict[str, list[_Grid]] = {}
    for grid in grids:
        layers.setdefault(grid.layer, []).append(grid)
    for layer, members in layers.items():
        counts = {grid.count: grid.path for grid in members}
        if len(counts) > 1:
            msg = f"The grids of layer {layer!r} differ in their number of bands: {counts}. They are of two exports."
            raise ValueError(msg)
    return layers


def _opened(path: Path) -> Any:  # noqa: ANN401
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # such grids get pictures too
        return rasterio.open(path)


def _sample(grids: Sequence[_Grid], values: int) -> np.ndarray:
    """Draw each cell of the layer with the same chance, so that at most about ``values`` numbers come; no NaN."""
    dimensions = grids[0].count
    total = sum(grid.cells for grid in grids)
    chance = min(1.0, values / (dimensions * total))
    chosen = []
    for grid in grids:
        # A seed of its own for each grid: the draw does not depend on the order of files.
        generator = np.random.default_rng(zlib.crc32(grid.below.as_posix().encode()))
        for _, block in _blocks(grid):
            flat = block.reshape(dimensions, -1)
            taken = np.isfinite(flat).all(axis=0)
            if chance < 1:
                taken &= generator.random(flat.shape[1]) < chance
            chosen.append(flat[:, taken].T)
    return np.concatenate(chosen)


def _blocks(grid: _Grid) -> Any:  # noqa: ANN401
    """Yield (first row, float32 ``(D, rows, w)`` with NaN as no-data) of a grid."""
    rows = max(1, _BLOCK_VALUES // (grid.count * grid.width))
    with _opened(grid.path) as file:
        scales = np.array(file.scales)
        for start in range(0, grid.height, rows):
            window = Window(0, start, grid.width, min(rows, grid.height - start))
            yield start, grid.encoding.decode(file.read(window=window), scales)


def _draw(grid: _Grid, projection: Projection, out: Path, looks: QuickLooks) -> Path:
    colours = np.concatenate([projection.colours(block) for _, block in _blocks(grid)], axis=1)
    with _opened(grid.path) as file:
        ground = Ground(file.transform, file.crs.to_wkt() if file.crs else None, grid.height, grid.width)
    # Named like the grid, not by its id: a mosaic of tiles lies there too.
    named = out / grid.below
    with atomic_path(named) as partial:
        _write_cog(partial, colours, ground)
    png = named.with_name(f"{named.stem}.png")
    with atomic_path(png) as partial:
        _figure(grid, colours, looks.of(grid.id, grid.sources, ground), projection).savefig(partial, dpi=100)
    return png


def _write_cog(path: Path, colours: np.ndarray, ground: Ground) -> None:
    options = {
        "crs": ground.crs,
        "transform": ground.transform,
        "compress": "deflate",
        "overview_resampling": "nearest",
    }
    count, height, width = colours.shape
    size = {"count": count, "height": height, "width": width}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "w", driver="COG", dtype="uint8", **size, **options) as file:
                file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
                file.write(colours)
    except SystemError as error:
        # So rasterio reports what GDAL could not write when it closed the file.
        msg = f"GDAL could not write {path}. Is the disk full?"
        raise OSError(msg) from error


def _figure(grid: _Grid, colours: np.ndarray, rgb: np.ndarray | None, projection: Projection) -> Figure:
    panels = [np.moveaxis(colours, 0, -1)] + ([] if rgb is None else [rgb])
    shape = grid.height / grid.width
    width = 4.5 if shape <= 1 else 4.5 / math.sqrt(shape)
    figure = Figure(figsize=(width * len(panels), width * shape + 0.9), layout="constrained")
    shares = " + ".join(f"{share:.0%}" for share in projection.explained)
    titles = (f"{len(projection.explained)} principal components of {grid.count}\n{shares} of the variance", "source")
    for i, panel in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), i + 1)
        axes.imshow(panel, interpolation="nearest")
        axes.set_title(titles[i], fontsize=10)
        axes.set_axis_off()
    figure.suptitle(fitting(grid.id + (f"  ({grid.layer})" if grid.layer else ""), width * len(panels)), fontsize=11)
    return figure


def fitting(text: str, width: float) -> str:
    """Shorten a title to a figure of ``width`` inches; its end tells tiles apart, so that stays."""
    most = int(width * 9.5)
    return text if len(text) <= most else f"...{text[3 - most :]}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m eo_embed.pictures",
        description="Draw the grids of an export as colours, beside their source.",
    )
    parser.add_argument("folder", type=Path, help="of the export")
    parser.add_argument("--out", type=Path, help="folder of the pictures (FOLDER/pictures)")
    parser.add_argument("--components", type=int, default=3, choices=COMPONENTS, help="3 colours, or 1 for grey")
    parser.add_argument("--rgb-from", type=Path, metavar="CONFIG", help="config whose data module reads the sources")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        pictures = render_pca(given.folder, given.out, given.components, given.rgb_from)
    except (ValueError, OSError, argparse.ArgumentError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{len(pictures)} pictures in {given.out or given.folder / 'pictures'}\n")


if __name__ == "__main__":
    main()
