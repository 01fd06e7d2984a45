"""A STAC catalogue as a source of scenes: an API that is searched, or files that are read."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import shapely
from shapely.geometry.base import BaseGeometry
from urllib3.exceptions import MaxRetryError, ReadTimeoutError
from urllib3.util import Retry

from eo_core.addresses import logs_without_credentials, without_credentials
from eo_core.arguments import one_of
from eo_data.catalog.hrefs import cause_to_show
from eo_data.catalog.scenes.catalogues.stac.items import scene_of_item
from eo_data.catalog.scenes.catalogues.stac.presets import CATALOGUES, COLLECTIONS, KnownCatalogue
from eo_data.catalog.scenes.scene import ORBITS, Orbit, Scene, TimeWindow
from eo_data.raster.remote.ranges import USUAL, seconds_asked_for

if TYPE_CHECKING:
    from pystac import Item
    from pystac_client import Client
    from pystac_client.stac_api_io import StacApiIO

#: Items of a page; the catalogues refuse more than some hundreds with all their assets.
_PAGE = 100
#: Seconds to wait for a connection and for an answer, which may take a search long.
_CONNECT, _WAIT = 15.0, 60.0
#: Tries after the first, those after no answer came, and what is tried again: too many requests, faults of servers.
_TRIES, _SILENT, _AGAIN = 4, 2, (429, 500, 502, 503, 504)
_URL = re.compile(r"https?://", re.IGNORECASE)


def is_catalogue(text: str) -> bool:
    """Return whether a text is the name of a known catalogue, the address of one, or the path of a JSON file."""
    return text in CATALOGUES or _URL.match(text) is not None or text.lower().endswith(".json")


class UnknownCollectionsError(ValueError):
    """A catalogue has no collection of which the bands are known."""


@dataclass(frozen=True, eq=False)
class StacCatalogue:
    """A `eo_data.catalog.scenes.scene.SceneSource` of the items of a STAC catalogue.

    Parameters
    ----------
    catalogue : str
        ``earth-search``, ``planetary-computer`` or ``copernicus``; the address of another API; or the path or address
        of the ``catalog.json`` or ``collection.json`` of a catalogue of files, which is read once as a whole.
    collections : tuple of str
        Which to search; by default those of a known catalogue that the encoders can read, or all that are known.
    orbit : {'ascending', 'descending'}, optional
        Of radar: the only passes that are found. Without, both are, and `eo_data.catalog.scenes.place_records` takes
        one of them for each place.
    tokens, store : str
        Who signs what is read of its files, as of `eo_data.catalog.scenes.catalogues.stac.presets.KnownCatalogue`; by
        default what is known of the catalogue. For files of items that were saved from one of these, state it.
    remote_cache : Path, optional
        Folder in which is kept what is fetched of files that are looked at before they are read.

    Raises
    ------
    ValueError
        For collections of which the bands are not known, or another orbit.
    """

    catalogue: str
    collections: tuple[str, ...] = ()
    orbit: Orbit | None = None
    tokens: str = ""
    store: str = ""
    remote_cache: Path | None = None

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        for name in self.collections:
            one_of("collections", name.lower(), tuple(COLLECTIONS))
        if self.orbit is not None:
            one_of("orbit", self.orbit, ORBITS)

    def search(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Return the scenes that intersect a geometry, by id; see `eo_data.catalog.scenes.scene.SceneSource`.

        Items that cannot be used are left out with a warning.

        Raises
        ------
        ValueError
            If pystac-client is not installed, or the catalogue has no known collection.
        OSError
            If the catalogue cannot be reached, or refuses.
        """
        with self._errors():
            scenes = self._files if self._is_file else self._answers(geometry, time, sensors)
        found = [
            scene
            for scene in scenes
            if (not sensors or scene.sensor in sensors)
            and (time is None or time[0] <= scene.day < time[1])
            and (self.orbit is None or scene.orbit in ("", self.orbit))
            and scene.footprint.intersects(geometry)
        ]
        return sorted(found, key=lambda scene: scene.id)

    def __str__(self) -> str:
        """Return what it covers."""
        names = self.collections or (self._known.collections if self._known else ())
        return f"{without_credentials(self._address)}{f' ({", ".join(names)})' if names else ''}"

    @property
    def _known(self) -> KnownCatalogue | None:
        """The known catalogue of this name or address."""
        address = self.catalogue.rstrip("/")
        return next((own for name, own in CATALOGUES.items() if address in (name, own.url)), None)

    @property
    def _address(self) -> str:
        return self._known.url if self._known else self.catalogue

    @property
    def _is_file(self) -> bool:
        return self._known is None and self.catalogue.partition("?")[0].lower().endswith(".json")

    @functools.cached_property
    def _files(self) -> list[Scene]:
        """All scenes of a catalogue of files."""
        io = _client_io()
        from pystac import Catalog  # noqa: PLC0415  (an extra)

        items = list(Catalog.from_file(self.catalogue, stac_io=io).get_items(recursive=True))
        there = sorted({item.collection_id or "" for item in items})
        wanted = {name.lower() for name in self.collections or COLLECTIONS}
        if items and not any(name.lower() in wanted for name in there):
            raise self._unknown_collections(there)
        return list(self._scenes(item for item in items if (item.collection_id or "").lower() in wanted))

    @functools.cached_property
    def _client(self) -> Client:
        io = _client_io()
        from pystac_client import Client  # noqa: PLC0415  (an extra)

        # Without, it would take the time-out away from `io`.
        return Client.open(self._address, stac_io=io, timeout=io.timeout)

    @functools.cached_property
    def _searched(self) -> tuple[str, ...]:
        """The collections that are searched."""
        if self.collections or self._known:
            return self.collections or (self._known.collections if self._known else ())
        there = [collection.id for collection in self._client.get_collections()]
        known = tuple(name for name in there if name.lower() in COLLECTIONS)
        if not known:
            raise self._unknown_collections(there)
        return known

    def _unknown_collections(self, there: Sequence[str]) -> UnknownCollectionsError:
        names = ", ".join(name or "items without one" for name in there[:20]) or "none"
        wanted = self.collections or (*COLLECTIONS,)
        what = "collection" if self.collections else "collection of which the bands are known"
        return UnknownCollectionsError(f"{self} has no {what} ({', '.join(wanted)}); it has {names}.")

    def _answers(self, geometry: BaseGeometry, time: TimeWindow | None, sensors: Collection[str]) -> list[Scene]:
        """Search the API around each part of a geometry: one across the date line has a part on each side."""
        names = [
            name
            for name in self._searched
            if not sensors or set(COLLECTIONS[name.lower()].sensors.values()) & {*sensors}
        ]
        if not names:
            return []
        days = None if time is None else f"{time[0]}T00:00:00Z/{time[1] - timedelta(days=1)}T23:59:59.999Z"
        found: dict[str, Scene] = {}
        for part in shapely.get_parts(geometry):
            query = self._client.search(collections=names, bbox=part.bounds, datetime=days, limit=_PAGE)
            found |= {scene.id: scene for scene in self._scenes(query.items())}
        return list(found.values())

    def _scenes(self, items: Iterable[Item]) -> Iterator[Scene]:
        known = self._known
        tokens, store = self.tokens or (known.tokens if known else ""), self.store or (known.store if known else "")
        for item in items:
            try:
                scene = scene_of_item(item, tokens=tokens, store=store, cache=self.remote_cache)
            except ValueError as error:
                warnings.warn(f"{without_credentials(str(error))} It is left out.", stacklevel=2)
                continue
            if scene is not None:
                yield scene

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what the client raises into errors that name the catalogue, without credentials."""
        _refuse_without_client()
        from pystac import STACError, STACTypeError  # noqa: PLC0415  (an extra)
        from pystac_client.errors import ClientTypeError  # noqa: PLC0415
        from pystac_client.exceptions import APIError  # noqa: PLC0415

        no_catalogue = (STACError, STACTypeError, ClientTypeError, ValueError, KeyError, TypeError, AttributeError)
        try:
            with logs_without_credentials("urllib3"), logs_without_credentials("pystac_client"):
                yield
        except UnknownCollectionsError:
            raise
        except (APIError, OSError, *no_catalogue) as error:
            status = getattr(error, "status_code", None)
            said = _without_connection(error) or without_credentials(" ".join(str(error).split()))[:300]
            reason = ": ".join(part for part in (f"status {status}" * bool(status), said.rstrip(". ")) if part)
            msg = f"{self} cannot be searched: {reason}. {_remedy(status, answers=isinstance(error, no_catalogue))}"
            raise OSError(msg) from cause_to_show(error)


def _without_connection(error: BaseException) -> str:
    """Return what is wrong if there was no answer; the client's own text names its inner parts."""
    fault = error.__context__
    if not isinstance(fault, requests.ConnectionError | requests.Timeout):
        return ""
    inner = fault.args[0] if fault.args else None
    silent = isinstance(inner.reason if isinstance(inner, MaxRetryError) else inner, ReadTimeoutError)
    return f"it gave no answer within {_WAIT:g} s" if silent else "it cannot be reached"


def _remedy(status: int | None, *, answers: bool) -> str:
    if status in (401, 403):
        return "It refuses: check the right to use it."
    if status == 429:
        return "It has had too many requests: wait some minutes, and go on with the same out=."
    if answers:
        return "What is there is no STAC catalogue that can be read: check the address."
    return "Check the address and the network, or try later."


class _Again(Retry):
    """Tries after faults that do not wait for longer than a run would: a server may ask for a day."""

    def get_retry_after(self, response: Any) -> float | None:  # noqa: ANN401
        """Return the seconds that a server asks for, if that can be understood."""
        return seconds_asked_for(response.headers.get("Retry-After")) or None

    def increment(self, method: Any = None, url: Any = None, response: Any = None, *others: Any, **more: Any) -> _Again:  # noqa: ANN401
        """Count a try; none follows after a request for a long wait."""
        if response is not None and (self.get_retry_after(response) or 0.0) > USUAL.longest_wait:
            raise MaxRetryError(more.get("_pool"), url)  # type: ignore[arg-type]
        return super().increment(method, url, response, *others, **more)


def _refuse_without_client() -> None:
    try:
        import pystac_client  # noqa: F401, PLC0415  (an extra)
    except ImportError as error:
        msg = 'STAC catalogues need pystac-client: pip install "thor-anysat-terratorch[stac]".'
        raise ValueError(msg) from error


def _client_io() -> StacApiIO:
    """Return what reads from catalogues: with a time-out, and tried again after faults."""
    from pystac_client.stac_api_io import StacApiIO  # noqa: PLC0415  (an extra)

    again = _Again(
        _TRIES, read=_SILENT, status_forcelist=_AGAIN, backoff_factor=0.5, allowed_methods=None, raise_on_status=False
    )
    return StacApiIO(timeout=(_CONNECT, _WAIT), max_retries=again)
