"""Sentinel-3 SLSTR level 1 (RBT), nadir view: reflectance of S1..S6 (stripe A) and brightness temperature of S7..S9.

Reflectance is ``pi L / (F0 cos(SZA))``, with F0 of the detector that saw the pixel: ``S1_solar_irradiance_an``, which
ESA's processor has adjusted to the distance of the sun (technical guide, "Conversion to Radiances"), and SZA
interpolated between the tie points along and across the track. The published reader of Sentinel-3 for THOR takes one F0
per band from a table, at the mean distance: up to 3.4 % off with the season. The gains that product notices
recommend for single processing baselines (such as 1.11 for S5) are applied neither there nor here: they change with the
baseline.

Pixels whose exceptions say that they hold no measurement, or a saturated one, are missing. What the processor has
filled with a neighbour ("cosmetic", ``pixel_absent``) is kept, because many rows and columns of the product's grid have
no sample of their own.

Source: EUMETSAT, "Sentinel-3 SLSTR Level 1 Product Guide"; variables and flags as in the products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, ProductFacts
from eo_data.readers.products.sentinel3.files import Sen3
from eo_data.readers.products.sentinel3.sun import between_ties, flux_of_detectors
from eo_data.readers.products.sentinel3.swath import Samples, Swath, SwathLayer, note_on_place, swath_grids
from eo_data.sensors.tables import SOLAR_FLUX
from eo_data.sensors.units import InputUnit, toa_reflectance

SLSTR_KINDS = ("SL_1_RBT",)
#: Exceptions by which a pixel holds no measurement.
_WRONG = ("not_decompressed", "no_signal", "saturation", "invalid_radiance", "no_parameters", "unfilled_pixel")
_SUN, _TIE_PLACES = "geometry_tn.nc", "cartesian_tx.nc"


@dataclass(frozen=True)
class _View:
    """One of the two grids of the product in nadir view.

    Parameters
    ----------
    ending : str
        Of the names of files and variables.
    quantity : str
        What the files hold: ``radiance`` or ``BT``.
    numbers : tuple of str
        Its channels.
    size : float
        Size of the samples in metres.
    unit : InputUnit
        What the bands are read in.
    needed : mapping of str to str
        Files that there must be, with what they hold.
    """

    ending: str
    quantity: str
    numbers: tuple[str, ...]
    size: float
    unit: InputUnit
    needed: Mapping[str, str]

    def file(self, channel: str) -> str:
        """Name of the file of a channel, without suffix, and of the variable in it."""
        return f"{channel}_{self.quantity}_{self.ending}"

    def places(self, product: Sen3) -> tuple[np.ndarray, np.ndarray]:
        """Return longitudes and latitudes of the samples."""
        file = f"geodetic_{self.ending}.nc"
        return product.read(file, f"longitude_{self.ending}"), product.read(file, f"latitude_{self.ending}")

    def channels(self, product: Sen3) -> list[str]:
        """Return the channels that are there."""
        return [channel for channel in self.numbers if product.has(f"{self.file(channel)}.nc")]


_VIEWS = (
    _View(
        "an",
        "radiance",
        ("S1", "S2", "S3", "S4", "S5", "S6"),
        500.0,
        InputUnit.REFLECTANCE,
        MappingProxyType(
            {
                "geodetic_an.nc": "geolocation",
                "cartesian_an.nc": "places along and across the track",
                _TIE_PLACES: "places of tie points",
                _SUN: "angles of the sun",
            }
        ),
    ),
    _View(
        "in", "BT", ("S7", "S8", "S9"), 1000.0, InputUnit.KELVIN, MappingProxyType({"geodetic_in.nc": "geolocation"})
    ),
)


def open_slstr(product: Sen3, source: ImageSource | None) -> Sequence[OpenLayer]:
    """Return the bands of a product: a layer in reflectance, and one in kelvin.

    Parameters
    ----------
    product : Sen3
        Of one of `SLSTR_KINDS`.
    source : ImageSource, optional
        ``crs`` and ``resample_to`` choose the grid.

    Raises
    ------
    ValueError
        If a file is missing or cannot be read.
    """
    views = [view for view in _VIEWS if view.channels(product)]
    if not views:
        msg = (
            "it has none of S1_radiance_an.nc .. S6_radiance_an.nc and S7_BT_in.nc .. S9_BT_in.nc: the product is "
            "incomplete. Download or unpack it again."
        )
        raise ValueError(msg)
    for view in views:
        product.require(view.needed)
    places = [view.places(product) for view in views]
    grids = swath_grids(places, [view.size for view in views], source)
    swaths = [Swath(*place, str(grid.crs)) for place, grid in zip(places, grids, strict=True)]
    return [
        SwathLayer(
            FileFacts(
                "SEN3", grid, _bands(view, product), product.tags, named=True, product=_own(view, product, swath)
            ),
            swath,
            partial(_reflectance if view.unit is InputUnit.REFLECTANCE else _temperature, view, product),
        )
        for view, swath, grid in zip(views, swaths, grids, strict=True)
    ]


def _bands(view: _View, product: Sen3) -> tuple[BandFacts, ...]:
    what = "REFLECTANCE" if view.unit is InputUnit.REFLECTANCE else view.quantity
    return tuple(BandFacts(f"{channel}_{what}_{view.ending}".upper()) for channel in view.channels(product))


def _own(view: _View, product: Sen3, swath: Swath) -> ProductFacts:
    notes = [note_on_place(swath)]
    without = [channel for channel in view.channels(product) if not product.has(_quality(channel))]
    if view.unit is InputUnit.REFLECTANCE and (without or not product.has("indices_an.nc")):
        what = ", ".join(without) or "any band"
        notes.append(f"no irradiance of {what}: that of a table, at the mean distance to the sun (up to 3.4 % off)")
    kind = f"Sentinel-3 SLSTR {product.kind}"
    return ProductFacts(kind, product.name, "sentinel3_slstr", view.unit, started=product.started, notes=tuple(notes))


def _temperature(view: _View, product: Sen3, bands: Sequence[int], samples: Samples) -> np.ndarray:
    channels = view.channels(product)
    return np.stack([_measured(view, product, channels[band], samples) for band in bands])


def _reflectance(view: _View, product: Sen3, bands: Sequence[int], samples: Samples) -> np.ndarray:
    channels = view.channels(product)
    cosine = _cosine(product, samples)
    detectors = None
    if product.has("indices_an.nc"):
        detectors = product.read_at(samples, "indices_an.nc", "detector_an")
    values = []
    for band in bands:
        radiance = _measured(view, product, channels[band], samples)
        flux = _flux(product, channels[band], detectors)
        values.append(toa_reflectance(radiance[None, None], flux, cosine[None])[0, 0])
    return np.stack(values)


def _measured(view: _View, product: Sen3, channel: str, samples: Samples) -> np.ndarray:
    """Radiance or temperature of a channel, NaN where an exception says that it is none."""
    name = view.file(channel)
    values = product.read_at(samples, f"{name}.nc", name).astype(np.float32)
    values[product.flags_at(samples, f"{name}.nc", f"{channel}_exception_{view.ending}").raised(*_WRONG)] = np.nan
    return values


def _quality(channel: str) -> str:
    return f"{channel}_quality_an.nc"


def _flux(product: Sen3, channel: str, detectors: np.ndarray | None) -> Sequence[float] | np.ndarray:
    """Irradiance of each sample, or that of the band."""
    if detectors is None or not product.has(_quality(channel)):
        return [SOLAR_FLUX[f"{channel}_REFLECTANCE_AN"]]
    table = np.ravel(product.read(_quality(channel), f"{channel}_solar_irradiance_an"))
    return flux_of_detectors(table, detectors)[None, None]


def _cosine(product: Sen3, samples: Samples) -> np.ndarray:
    """Cosine of the sun's zenith angle at samples, by their places along (y) and across (x) the track in metres."""
    ties = np.cos(np.radians(product.read(_SUN, "solar_zenith_tn")))
    x, y = (product.read(_TIE_PLACES, f"{axis}_tx") for axis in "xy")
    if ties.ndim != 2 or not x.shape == y.shape == ties.shape:
        msg = f"{_SUN} has angles {ties.shape} for tie points {x.shape}, {y.shape}. Download the product again."
        raise ValueError(msg)
    own = [product.read_at(samples, "cartesian_an.nc", f"{axis}_an") for axis in "yx"]
    places = [_counted(line, values) for line, values in zip((y[:, 0], x[0]), own, strict=True)]
    return between_ties(ties, *places)


def _counted(line: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return at which places of a line of tie points, up or down, values lie; NaN where they are not known."""
    order = np.argsort(line)
    steps = np.diff(line[order])
    if not (np.isfinite(steps) & (steps > 0)).all() or order[0] not in (0, len(line) - 1):
        msg = f"{_TIE_PLACES}: the tie points lie in no order. Download the product again."
        raise ValueError(msg)
    return np.asarray(np.interp(values, line[order], order.astype(float)))
