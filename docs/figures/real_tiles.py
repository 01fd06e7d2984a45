"""Small crops of real scenes whose licence lets them be shown: ``../shared/data/README.md`` has their sources."""

from __future__ import annotations

import numpy as np
import rasterio
import xarray as xr
from style import ROOT

DATA = ROOT.parent / "shared" / "data"
#: Sentinel-2's ten bands of 10 and 20 m.
BANDS = (
    *("BLUE", "GREEN", "RED", "RED_EDGE_1", "RED_EDGE_2", "RED_EDGE_3"),
    *("NIR_BROAD", "NIR_NARROW", "SWIR_1", "SWIR_2"),
)
#: Cloudless days of the series, and the day that is shown.
DAYS = ("2015-07-11", "2015-07-31", "2015-08-30", "2015-09-09")
DAY = "2015-08-30"
SIDE = 96


def slovenia(day: str = DAY) -> np.ndarray:
    """Reflectance of Sentinel-2 L1C, ten bands, float32 ``(10, 96, 96)``, pixels of 10 m (eo-learn's example)."""
    (path,) = (DATA / "s2_l1c_timeseries_eolearn").glob(f"S2L1C_{day.replace('-', '')}T*.tif")
    with rasterio.open(path) as file:
        numbers = file.read([2, 3, 4, 5, 6, 7, 8, 9, 12, 13], window=rasterio.windows.Window(2, 2, SIDE, SIDE))
    return numbers.astype(np.float32) / np.float32(1e4)


def flanders(band: str, month: int = 8) -> np.ndarray:
    """A band of WorldCereal's monthly composites as stored, float ``(100, 100)``, pixels of 10 m; NaN is missing."""
    with xr.open_dataset(DATA / "worldcereal_s1s2_monthly" / "worldcereal_preprocessed_inputs.nc") as cube:
        numbers = cube[band].isel(t=month).to_numpy().astype(float)
    return np.where(numbers == 65535, np.nan, numbers)


def olinda() -> np.ndarray:
    """Red, green and blue of Landsat 7 as stored, uint8 ``(3, 349, 352)``, pixels of 28.5 m (the R package stars)."""
    with rasterio.open(DATA / "landsat" / "L7_ETMs.tif") as file:
        pixels: np.ndarray = file.read([3, 2, 1])
    return pixels


def stretched(planes: np.ndarray, low: float = 2, high: float = 98) -> np.ndarray:
    """Planes ``(c, y, x)`` between two percentiles of each, ``(y, x, c)`` in 0..1."""
    ends = np.nanpercentile(planes, [low, high], axis=(1, 2))[:, :, None, None]
    return np.clip((planes - ends[0]) / (ends[1] - ends[0]), 0, 1).transpose(1, 2, 0)
