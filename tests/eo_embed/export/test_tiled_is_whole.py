"""Tiles put together are the whole, bit for bit, where an encoder looks at nothing beyond a patch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
import torch.nn.functional as F
from affine import Affine

from eo_data.catalog.sources import ImageSource
from eo_data.dataset.batch import collate
from eo_data.dataset.chip_splits import ChipSplits, SeriesSplits
from eo_data.dataset.sample_grid import image_size, sample_grids
from eo_data.preprocess.dataset_normalise import DatasetNormalise
from eo_embed.export.flow.transfer import own_cells
from eo_embed.export.items import items_of
from eo_embed.export.settings import ExportSettings
from eo_embed.writers.embedding import Embedding
from eo_embed.writers.tiles import stitched
from eo_models.features import Features

PATCH = 4
DAYS = ("20210301", "20210611", "20210930")
#: Sides of rasters: multiples of the tile, of nothing, one row of tiles, and less than a tile.
SHAPES = [(128, 192), (101, 203), (50, 333), (40, 24)]


def write(path: Path, height: int, width: int, names: tuple[str, ...], seed: int, size: float = 10.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(1, 9000, (len(names), height, width), dtype=np.uint16)
    transform = Affine(size, 0, 600_000, 0, -size, 4_500_000)
    profile = {"driver": "GTiff", "height": height, "width": width, "count": len(names), "dtype": "uint16", "nodata": 0}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=transform, **profile) as file:
        file.write(values)
        file.descriptions = names


def stand_in(image: Any) -> Features:
    """The largest value of each patch of every band, frame and modality: no sum whose order could matter."""
    images = image.values() if isinstance(image, Mapping) else [image]
    pixels = torch.cat([own.flatten(1, -3) for own in images if own.ndim >= 4], dim=1)
    grid = F.max_pool2d(pixels, PATCH, ceil_mode=True)
    return Features(grid.flatten(2).transpose(1, 2), None, grid)


def embedded(data: ChipSplits) -> list[Embedding]:
    dataset = data.dataset("predict")
    found = []
    for number in range(len(dataset)):
        batch = collate([dataset[number]])
        places = sample_grids(batch, image_size(batch["image"]))
        own = own_cells(stand_in(batch["image"]), places, "mean")
        (item,) = items_of("layer_1", own, places, ExportSettings(output="both", grid_format="npz"))
        assert not item.fault or not item.embedding.valid_fraction
        found.append(item.embedding)
    return found


def single(root: Path, shape: tuple[int, int], **tiles: Any) -> ChipSplits:
    write(root / "a.tif", *shape, ("RED", "NIR_BROAD"), 0)
    source = ImageSource("{id}.tif", ["RED", "NIR_BROAD"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    return ChipSplits(str(root), {"S2": source}, normalise(S2=2), georeference="always", **tiles)


def dated(root: Path, shape: tuple[int, int], **tiles: Any) -> ChipSplits:
    for number, day in enumerate(DAYS):
        write(root / "a" / f"{day}.tif", *shape, ("RED",), number)
    source = ImageSource("{id}/*.tif", ["RED"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    return SeriesSplits(
        root=str(root), modalities={"S2": source}, preprocess=normalise(S2=1), georeference="always", **tiles
    )


def radar_and_optical(root: Path, shape: tuple[int, int], **tiles: Any) -> ChipSplits:
    """Sentinel-2 with a band of 20 m, whose last pixels may reach over those of 10 m, and Sentinel-1."""
    height, width = shape
    write(root / "a_RED.tif", height, width, ("RED",), 0)
    write(root / "a_SWIR_1.tif", (height + 1) // 2, (width + 1) // 2, ("SWIR_1",), 1, 20.0)
    write(root / "s1" / "a.tif", height, width, ("VV", "VH"), 2)
    optical = ImageSource(
        "{id}_{band}.tif", ["RED", "SWIR_1"], sensor="sentinel2_l2a", unit="digital_number", offset=0, resample_to=10
    )
    radar = ImageSource("s1/{id}.tif", ["VV", "VH"], sensor="sentinel1", unit="native")
    modalities = {"S2": optical, "S1": radar}
    return ChipSplits(str(root), modalities, normalise(S2=2, S1=2), georeference="always", **tiles)


def normalise(**bands: int) -> DatasetNormalise:
    return DatasetNormalise(*({name: [value] * count for name, count in bands.items()} for value in (0.0, 1.0)))


@pytest.mark.parametrize("halo", [0, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", [single, dated, radar_and_optical])
def test_a_raster_by_tiles_is_the_raster_in_one_piece(
    kind: Any, shape: tuple[int, int], halo: int, tmp_path: Path
) -> None:
    (whole,) = embedded(kind(tmp_path, shape))
    tiles = embedded(kind(tmp_path, shape, tile=64, tile_align=8, halo=halo))
    assert len(tiles) > 1 or max(shape) <= 64
    found = stitched(tiles, "a")
    assert whole.grid is not None
    np.testing.assert_array_equal(found.grid, whole.grid)
    assert found.shape == tuple(-(-side // PATCH) for side in shape)
    if not (shape[0] % PATCH or shape[1] % PATCH):
        assert found.transform == whole.transform
        np.testing.assert_allclose(found.pooled, whole.pooled, rtol=1e-5)
        assert found.valid_fraction == whole.valid_fraction == 1


def test_parts_without_data_count_alike_however_a_raster_is_cut(tmp_path: Path) -> None:
    """The vector of a raster by tiles is over what was observed, each cell by its share."""
    single(tmp_path, (128, 192))
    with rasterio.open(tmp_path / "a.tif", "r+") as file:
        pixels = file.read()
        pixels[:, 20:70, 30:] = 0
        file.write(pixels)
    source = ImageSource("{id}.tif", ["RED", "NIR_BROAD"], sensor="sentinel2_l2a", unit="digital_number", offset=0)
    vectors = []
    for tile, halo in ((64, 0), (64, 16), (96, 24), (192, 0)):
        tiles = {"tile": tile, "tile_align": 8, "halo": halo}
        data = ChipSplits(str(tmp_path), {"S2": source}, normalise(S2=2), georeference="always", **tiles)
        vectors.append(stitched(embedded(data), "a").pooled)
    np.testing.assert_allclose(vectors, [vectors[0]] * 4, rtol=1e-6)
