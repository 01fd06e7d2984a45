"""What the name of a product says: sensor and level, tile or orbit, when sensing began, how new its processing is.

Sources: naming conventions of ESA (Sentinel-1 SAFE, Sentinel-2 compact, Sentinel-3 SEN3), USGS (Landsat Collection 2)
and NASA (HLS 2.0, OPERA RTC-S1); relative orbits of Sentinel-1 from its absolute ones by ESA's formula for each
satellite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time
from types import MappingProxyType

from eo_data.temporal.product_names import date_from_name

#: Endings of the folders and archives of products, in any case.
_ENDING = re.compile(r"(\.SAFE|\.SEN3)?(\.zip|\.tar)?$", re.IGNORECASE)
_CLOCK = r"T(?P<clock>\d{6})"


@dataclass(frozen=True)
class ProductName:
    """What the name of a product says.

    Parameters
    ----------
    name : str
        The name without ``.SAFE``, ``.SEN3``, ``.zip`` and ``.tar``.
    kind : str
        Mission and level: ``Sentinel-2 L2A``.
    sensor : str
        Key of `eo_data.sensors.tables.SENSORS`.
    platform : str
        The satellite: ``S2A``.
    tile : str
        Tile of the product's grid (``T32UQV``, ``195025``) or burst (``T064-135518-IW1``); of a swath its relative
        orbit, and the frame in it if the name has one (``R022``, ``R022_2160``), or else its absolute orbit
        (``A028179``).
    started : datetime
        When sensing began, UTC; midnight where the name has a date only.
    version : tuple of int or None
        The larger the newer, among products of one acquisition; ``None`` where the name does not tell.
    """

    name: str
    kind: str
    sensor: str
    platform: str
    tile: str
    started: datetime
    version: tuple[int, ...] | None

    @property
    def acquisition(self) -> tuple[str, ...]:
        """What products have in common that differ in nothing but their processing.

        A frame of an orbit is seen once in weeks: its start may differ by seconds between processings.
        """
        is_frame = self.tile.startswith("R") and "_" in self.tile
        began = self.started.date().isoformat() if is_frame else self.started.isoformat()
        return self.kind, self.platform, self.tile, began


@dataclass(frozen=True)
class _Family:
    """Names of one kind: their form, and what is made of its groups."""

    example: str
    form: re.Pattern[str]
    kind: Callable[[Mapping[str, str]], str]
    sensor: Callable[[Mapping[str, str]], str]
    tile: Callable[[Mapping[str, str]], str]
    version: Callable[[Mapping[str, str]], tuple[int, ...] | None]


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


#: Absolute orbit that began relative orbit 1, by satellite; 175 orbits are a cycle.
_FIRST_ORBIT: Mapping[str, int] = MappingProxyType({"S1A": 73, "S1B": 27, "S1C": 172, "S1D": 42})
#: From this day on (YYYYMMDD), after a manoeuvre, the formula of the satellite no longer holds.
_MOVED: Mapping[str, str] = MappingProxyType({"S1C": "20260609"})


def _radar_orbit(groups: Mapping[str, str]) -> str:
    """Relative orbit of Sentinel-1 (``R153``); the absolute one (``A028179``) where no formula is known to hold."""
    platform, orbit = groups["platform"].upper(), int(groups["orbit"])
    first = _FIRST_ORBIT[platform]
    if groups["day"] >= _MOVED.get(platform, "9"):
        return f"A{orbit:06d}"
    return f"R{(orbit - first) % 175 + 1:03d}"


def _frame(groups: Mapping[str, str]) -> str:
    frame = groups["frame"].strip("_")
    return f"R{groups['orbit']}_{frame}" if frame else f"R{groups['orbit']}"


_FAMILIES: tuple[_Family, ...] = (
    _Family(
        "S2A_MSIL2A_20220601T102031_N0400_R065_T32UQV_20220601T170000",
        re.compile(
            rf"(?P<platform>S2[A-D])_MSI(?P<level>L1C|L2A)_\d{{8}}{_CLOCK}_N(?P<baseline>\d{{4}})_R\d{{3}}"
            r"_(?P<tile>T\d{2}[A-Z]{3})_(?P<made>\d{8}T\d{6})",
            re.IGNORECASE,
        ),
        lambda own: f"Sentinel-2 {own['level'].upper()}",
        lambda own: f"sentinel2_{own['level'].lower()}",
        lambda own: own["tile"].upper(),
        lambda own: (int(own["baseline"]), _number(own["made"])),
    ),
    _Family(
        "S1A_IW_GRDH_1SDV_20220601T053325_20220601T053350_043465_0530B2_1A2B",
        re.compile(
            rf"(?P<platform>S1[A-D])_(?P<mode>IW|EW|S[1-6])_GRD(?P<size>[FHM])_1S[A-Z]{{2}}_(?P<day>\d{{8}}){_CLOCK}"
            r"_\d{8}T\d{6}_(?P<orbit>\d{6})_[0-9A-F]{6}_[0-9A-F]{4}(?:_COG)?",
            re.IGNORECASE,
        ),
        lambda own: f"Sentinel-1 {own['mode']} GRD{own['size']}".upper().replace("SENTINEL", "Sentinel"),
        lambda _: "sentinel1",
        _radar_orbit,
        lambda _: None,
    ),
    _Family(
        "OPERA_L2_RTC-S1_T064-135518-IW1_20220501T015035Z_20230101T100506Z_S1A_30_v1.0",
        re.compile(
            rf"OPERA_L2_RTC-S1_(?P<tile>T\d{{3}}-\d{{6}}-[A-Z]{{2}}\d)_\d{{8}}{_CLOCK}Z_(?P<made>\d{{8}}T\d{{6}})Z"
            r"_(?P<platform>S1[A-D])_30_v(?P<version>\d+\.\d+)",
            re.IGNORECASE,
        ),
        lambda _: "OPERA RTC-S1",
        lambda _: "sentinel1",
        lambda own: own["tile"].upper(),
        lambda own: (*_parts(own["version"]), _number(own["made"])),
    ),
    _Family(
        "S3A_OL_1_EFR____20220601T095512_20220601T095812_20220602T131842_0179_086_022_2160_PS1_O_NT_003",
        re.compile(
            rf"(?P<platform>S3[A-D])_(?P<kind>OL_1_E[FR]R|SL_1_RBT)____\d{{8}}{_CLOCK}_\d{{8}}T\d{{6}}"
            r"_(?P<made>\d{8}T\d{6})_\d{4}_\d{3}_(?P<orbit>\d{3})_(?P<frame>[\d_]{4})_\w{3}_\w_(?:NR|ST|NT)_\w{3}",
            re.IGNORECASE,
        ),
        lambda own: f"Sentinel-3 {own['kind'].upper()}",
        lambda own: "sentinel3_olci" if own["kind"].upper().startswith("OL") else "sentinel3_slstr",
        _frame,
        lambda own: (_number(own["made"]),),
    ),
    _Family(
        "LC08_L2SP_195025_20220601_20220608_02_T1",
        re.compile(
            r"(?P<platform>L(?:C08|C09|O08|O09|E07))_(?P<level>L[12])[A-Z]{2}_(?P<tile>\d{6})_\d{8}_(?P<made>\d{8})"
            r"_(?P<collection>02)_(?P<tier>T1|T2|RT)",
            re.IGNORECASE,
        ),
        lambda own: f"Landsat C2 {own['level'].upper()}",
        lambda own: "landsat7" if own["platform"].upper() == "LE07" else "landsat8",
        lambda own: own["tile"],
        # A real-time product (RT) is replaced by one of a tier, mostly made later.
        lambda own: (int(own["made"]), int(own["tier"].upper() != "RT")),
    ),
    _Family(
        "HLS.S30.T32UQV.2022152T102031.v2.0",
        re.compile(
            rf"HLS\.(?P<platform>[SL]30)\.(?P<tile>T\d{{2}}[A-Z]{{3}})\.\d{{7}}{_CLOCK}\.v(?P<version>\d\.\d)",
            re.IGNORECASE,
        ),
        lambda own: f"HLS {own['platform'].upper()}",
        lambda own: "sentinel2_l2a" if own["platform"].upper() == "S30" else "landsat8",
        lambda own: own["tile"].upper(),
        lambda own: _parts(own["version"]),
    ),
)

#: A name of each family that is known, for messages.
EXAMPLES: tuple[str, ...] = tuple(family.example for family in _FAMILIES)


def product_of_name(name: str) -> ProductName | None:
    """Return what the name of a folder or an archive says, or ``None`` if it is of no known product.

    Parameters
    ----------
    name : str
        Without the folders above it; ``.SAFE``, ``.SEN3``, ``.zip`` and ``.tar`` do not count.

    Raises
    ------
    ValueError
        If the name of a known product holds a date or time that does not exist.
    """
    own = _ENDING.sub("", name)
    for family in _FAMILIES:
        if (match := family.form.fullmatch(own)) is not None:
            groups = match.groupdict()
            return ProductName(
                own,
                family.kind(groups),
                family.sensor(groups),
                groups["platform"].upper(),
                family.tile(groups),
                _started(own, groups.get("clock")),
                family.version(groups),
            )
    return None


def _started(name: str, clock: str | None) -> datetime:
    day = date_from_name(name)
    try:
        own = time() if clock is None else time.fromisoformat(clock)
    except ValueError as error:
        msg = f"The product name {name!r} holds the time {clock}, which is none of a day. Correct the name."
        raise ValueError(msg) from error
    if day is None:
        msg = f"The product name {name!r} holds no date. Correct the name."
        raise ValueError(msg)
    return datetime.combine(day, own, UTC)
