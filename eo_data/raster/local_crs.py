"""The projection that is true around a point: its UTM zone, or UPS towards the poles."""

from __future__ import annotations

#: Latitudes to which UTM reaches (MGRS, NGA.SIG.0012); UPS begins there.
_UTM_NORTH, _UTM_SOUTH = 84.0, -80.0
#: EPSG codes of UPS with easting first.
UPS_NORTH, UPS_SOUTH = 5041, 5042


def local_crs(lon: float, lat: float) -> int:
    """Return the EPSG code of the UTM zone of a point, or of UPS towards the poles.

    Zones are those of MGRS and so of the Sentinel-2 tiles: 32 is wider in the south-west of Norway, and 31, 33, 35 and
    37 are on Svalbard (NGA.SIG.0012, UTM grid zone irregularities).
    """
    if lat >= _UTM_NORTH:
        return UPS_NORTH
    if lat < _UTM_SOUTH:
        return UPS_SOUTH
    zone = int((lon + 180) // 6) % 60 + 1
    if 56 <= lat < 64 and 3 <= lon < 12:
        zone = 32
    elif lat >= 72 and 0 <= lon < 42:
        zone = 31 if lon < 9 else 33 if lon < 21 else 35 if lon < 33 else 37
    return (32600 if lat >= 0 else 32700) + zone
