"""Sentinel-3 OLCI level 1 (EFR, ERR): radiance to top-of-atmosphere reflectance, the swath to a grid.

Reflectance is ``pi L / (F0 cos(SZA))``, with F0 of the detector that saw the pixel: the product's own ``solar_flux``,
which holds the distance to the sun of the day, and SZA interpolated between the tie points. The published reader of
Sentinel-3 for THOR takes one F0 per band from a table, at the mean distance; its reflectance differs from ours by up to
3.4 % with the season, and by some tenths of a percent with the detector. Ours is the physical quantity, as the names
of THOR's bands promise it. Like the published reader, we count cosines below 0.01 as 0.01 and clip values to 0..2;
unlike it, we give no value where the sun is below the horizon, or where the product flags a pixel as invalid or a band
as saturated.

Source: EUMETSAT, "Sentinel-3 OLCI Level 1 Product Guide"; variables and flags as in the products.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import BandFacts, FileFacts, OpenLayer, ProductFacts
from eo_data.readers.products.sentinel3.files import Sen3
from eo_data.readers.products.sentinel3.sun import between_ties, flux_of_detectors
from eo_data.readers.products.sentinel3.swath import Samples, Swath, SwathLayer, note_on_place, swath_grids
from eo_data.sensors.tables import SOLAR_FLUX
from eo_data.sensors.units import InputUnit, toa_reflectance

#: Size of the samples in metres, by type of product.
OLCI_KINDS: Mapping[str, float] = MappingProxyType({"OL_1_EFR": 300.0, "OL_1_ERR": 1200.0})
_RADIANCE = re.compile(r"Oa(0[1-9]|1\d|2[01])_radiance\.nc")
_GEO, _TIES, _FLAGS, _DETECTORS = "geo_coordinates.nc", "tie_geometries.nc", "qualityFlags.nc", "instrument_data.nc"
_NEEDED = MappingProxyType({_GEO: "geolocation", _TIES: "angles of the sun", _FLAGS: "quality flags"})


def open_olci(product: Sen3, source: ImageSource | None) -> Sequence[OpenLayer]:
    """Return the bands of a product, as one layer in reflectance.

    Parameters
    ----------
    product : Sen3
        Of one of `OLCI_KINDS`.
    source : ImageSource, optional
        ``crs`` and ``resample_to`` choose the grid.

    Raises
    ------
    ValueError
        If a file is missing or cannot be read.
    """
    product.require(_NEEDED)
    numbers = sorted(int(found.group(1)) for name in product.package.names if (found := _RADIANCE.fullmatch(name)))
    if not numbers:
        msg = "it has no file of radiance (Oa01_radiance.nc): the product is incomplete. Download or unpack it again."
        raise ValueError(msg)
    longitude, latitude = product.read(_GEO, "longitude"), product.read(_GEO, "latitude")
    (grid,) = swath_grids([(longitude, latitude)], [OLCI_KINDS[product.kind]], source)
    swath = Swath(longitude, latitude, str(grid.crs))
    notes = [note_on_place(swath)]
    if not product.has(_DETECTORS):
        notes.append(f"no {_DETECTORS}: solar flux of a table, at the mean distance to the sun (up to 3.4 % off)")
    own = ProductFacts(
        f"Sentinel-3 OLCI {product.kind}",
        product.name,
        "sentinel3_olci",
        InputUnit.REFLECTANCE,
        started=product.started,
        notes=tuple(notes),
    )
    bands = tuple(BandFacts(f"OA{number:02d}_REFLECTANCE") for number in numbers)
    facts = FileFacts("SEN3", grid, bands, product.tags, named=True, product=own)
    return (SwathLayer(facts, swath, _Reflectance(product, numbers)),)


class _Reflectance:
    """Reflectance of some bands at samples of the swath."""

    def __init__(self, product: Sen3, numbers: Sequence[int]) -> None:
        self._product = product
        self._numbers = numbers

    def __call__(self, bands: Sequence[int], samples: Samples) -> np.ndarray:
        product = self._product
        cosine = self._cosine(samples)
        flags = product.flags_at(samples, _FLAGS, "quality_flags")
        detectors = product.read_at(samples, _DETECTORS, "detector_index") if product.has(_DETECTORS) else None
        values = np.full((len(bands), samples.rows.size), np.nan, dtype=np.float32)
        for i, band in enumerate(bands):
            number = self._numbers[band]
            name = f"Oa{number:02d}"
            radiance = product.read_at(samples, f"{name}_radiance.nc", f"{name}_radiance").astype(np.float32)
            radiance[flags.raised("invalid", f"saturated@{name}")] = np.nan
            values[i] = toa_reflectance(radiance[None, None], self._flux(number, detectors), cosine[None])[0, 0]
        return values

    def _flux(self, number: int, detectors: np.ndarray | None) -> Sequence[float] | np.ndarray:
        """Solar flux of each sample, or that of the band."""
        if detectors is None:
            return [SOLAR_FLUX[f"OA{number:02d}_REFLECTANCE"]]
        table = self._product.read(_DETECTORS, "solar_flux", slice(number - 1, number))
        if not table.size:
            msg = f"{_DETECTORS}: solar_flux has no row for band {number}. Download the product again."
            raise ValueError(msg)
        return flux_of_detectors(table[0], detectors)[None, None]

    def _cosine(self, samples: Samples) -> np.ndarray:
        """Cosine of the sun's zenith angle, linear between tie points; NaN where the sun is below the horizon."""
        ties = np.cos(np.radians(self._product.read(_TIES, "SZA")))
        attributes = self._product.attributes(_TIES)
        places = []
        for axis, (name, own) in enumerate(
            (("al_subsampling_factor", samples.rows), ("ac_subsampling_factor", samples.columns))
        ):
            step = float(np.ravel(np.asarray(attributes.get(name, math.nan)))[0])
            if ties.ndim != 2 or not step >= 1 or (ties.shape[axis] - 1) * step < samples.shape[axis] - 1:
                msg = (
                    f"{_TIES}: SZA {ties.shape} every {step:g} samples ({name}) does not cover the image "
                    f"{samples.shape}. Download the product again."
                )
                raise ValueError(msg)
            places.append(own / step)
        return between_ties(ties, *places)
