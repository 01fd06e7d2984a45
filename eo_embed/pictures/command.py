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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import rasterio
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from eo_core.files import write_file
from eo_data.raster.geotiff_output import write_geotiff
from eo_embed.pictures.projection import Projection, fit_projection
from eo_embed.pictures.quicklook import Ground, QuickLooks
from eo_embed.writers.formats import FORMATS
from eo_embed.writers.layout import GRIDS
from eo_embed.writers.quantise import Encoding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Numbers that the sample for the analysis may hold: 256 MB of float32.
SAMPLE_VALUES = 1 << 26
#: Numbers that are read of a grid at once.
_BLOCK_VALUES = 1 << 25
Components = Literal[1, 3]
COMPONENTS: tuple[Components, ...] = get_args(Components)
#: The format that can be drawn: it is read by blocks.
_DRAWN = FORMATS["geotiff"]


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
    components: Components = 3,
    rgb_from: str | Path | None = None,
    sample_values: int = SAMPLE_VALUES,
    root: str | Path | None = None,
) -> list[Path]:
    """Draw all grids of an export: per grid a PNG and a georeferenced RGBA GeoTIFF (COG).

    The PNG shows the grid beside the RGB of its source, where that can be read, cut to the ground of the grid.

    Parameters
    ----------
    folder : str or Path
        Folder of an export with grids as GeoTIFF.
    out : str or Path, optional
        Where the pictures go; ``<folder>/pictures`` by default.
    components : {3, 1}
        Colours, or grey tones of the first principal component.
    rgb_from : str or Path, optional
        A TerraTorch config with one of our data modules, which then reads the sources: for series, for files without
        band names, and for bands in files of their own.
    sample_values : int
        Numbers that the sample for the analysis may hold. A larger export is sampled at random, with a fixed seed.
    root : str or Path, optional
        Folder of the data set, see `eo_embed.pictures.quicklook.QuickLooks`.

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
    looks = QuickLooks(place, rgb_from, root)
    drawn = []
    for grids in _by_layer(_grids(place)).values():
        projection = fit_projection(_sample(grids, sample_values), components)
        for grid in grids:
            drawn.append(_draw(grid, projection, target, looks))
    return drawn


def _grids(folder: Path) -> list[_Grid]:
    files = _DRAWN.grids_below(folder / GRIDS)
    if not files:
        msg = (
            f"{folder} holds no {GRIDS}/*{_DRAWN.suffix} to draw. Give the folder of an export with output: grid or "
            f"both and grid_format: {_DRAWN.name}."
        )
        raise ValueError(msg)
    return [_described(path, path.relative_to(folder / GRIDS)) for path in files]


def _described(path: Path, below: Path) -> _Grid:
    try:
        with _opened(path) as file:
            tags = file.tags()
            encoding = Encoding.named(tags.get("quantisation", "float32"))
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


def _opened(path: Path) -> DatasetReader:
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


def _blocks(grid: _Grid) -> Iterator[tuple[int, np.ndarray]]:
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
    _write_cog(named, colours, ground)
    png = named.with_name(f"{named.stem}.png")
    figure = _figure(grid, colours, looks.of(grid.id, grid.sources, ground), projection)
    write_file(png, lambda file: figure.savefig(file, format="png", dpi=100))
    return png


def _write_cog(path: Path, colours: np.ndarray, ground: Ground) -> None:
    count, height, width = colours.shape
    profile = {
        "driver": "COG",
        "dtype": "uint8",
        "count": count,
        "height": height,
        "width": width,
        "crs": ground.crs,
        "transform": ground.transform,
        "compress": "deflate",
        "overview_resampling": "nearest",
    }

    def fill(file: DatasetWriter) -> None:
        file.colorinterp = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        file.write(colours)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        write_geotiff(path, profile, fill)


def _figure(grid: _Grid, colours: np.ndarray, rgb: np.ndarray | None, projection: Projection) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415  (half a second, which those who draw nothing need not wait)

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
        prog="eo pictures",
        description="Draw the grids of an export as colours, beside their source.",
        epilog="examples:\n  eo pictures output/embed_quickstart\n  eo pictures out/scene --components 1 --out grey",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="of the export")
    parser.add_argument("--out", type=Path, help="folder of the pictures (FOLDER/pictures)")
    parser.add_argument("--components", type=int, default=3, choices=COMPONENTS, help="3 colours, or 1 for grey")
    parser.add_argument("--rgb-from", type=Path, metavar="CONFIG", help="config whose data module reads the sources")
    parser.add_argument(
        "--root", type=Path, help="folder of the data set, if it is not where the config says from here"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; faults of the input end it with a message and exit code 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        pictures = render_pca(given.folder, given.out, given.components, given.rgb_from, root=given.root)
    except (ValueError, OSError, argparse.ArgumentError) as error:
        parser.error(str(error))
    sys.stdout.write(f"{len(pictures)} pictures in {given.out or given.folder / 'pictures'}\n")


if __name__ == "__main__":
    main()
