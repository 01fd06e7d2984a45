"""Earth Engine's client, signed in once per process; and what its errors mean.

The client tries again by itself, with growing waits: after 429, faults of the server and lost connections. It does not
honour ``Retry-After``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from eo_core.addresses import without_credentials
from eo_data.catalog.hrefs import cause_to_show

#: The service for many requests at a time. Source: Earth Engine, processing environments.
HIGH_VOLUME = "https://earthengine-highvolume.googleapis.com"
#: Tries after the first, which wait up to 2, 4, 8, ... s, and seconds to wait for an answer.
_TRIES, _WAIT = 5, 120.0


@dataclass(frozen=True)
class Session:
    """Who asks where.

    Parameters
    ----------
    project : str
        Id of a Google Cloud project that may use Earth Engine; empty for that of the stored credentials.
    url : str
        The service: scheme and host.

    Raises
    ------
    ValueError
        For another address.
    """

    project: str = ""
    url: str = HIGH_VOLUME

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.path or parts.query:
            msg = f"url must be scheme and host of a service, such as {HIGH_VOLUME}, got {self.shown_url!r}."
            raise ValueError(msg)

    @property
    def shown_url(self) -> str:
        """The address without credentials."""
        return without_credentials(self.url)


def client(session: Session) -> Any:  # noqa: ANN401  (the module has no types)
    """Return the module ``ee``, signed in; in a process, only the first call for a session takes time.

    Whatever the process had signed in to before is replaced. Call it within `engine_errors`.

    Raises
    ------
    ValueError
        If ``ee`` is not installed, or there are no credentials or no project.
    """
    return _signed_in(os.getpid(), session)


# A forked process must not share connections, hence its id.
@functools.lru_cache(maxsize=1)
def _signed_in(process: int, session: Session) -> Any:  # noqa: ANN401
    ee = _module()
    ee.Reset()
    credentials = _credentials(ee)
    ee.data.setMaxRetries(_TRIES)
    try:
        ee.Initialize(credentials, url=session.url, project=session.project or None)
    except ee.EEException as error:
        if str(error) != ee.NO_PROJECT_EXCEPTION:
            raise
        msg = (
            "Earth Engine needs a Google Cloud project that may use it, and the credentials name none. State it: "
            'EarthEngine(project="my-project"), or run `earthengine set_project my-project` once.'
        )
        raise ValueError(msg) from None
    ee.data.setDeadline(1000 * _WAIT)
    return ee


def _credentials(ee: Any) -> Any:  # noqa: ANN401
    """Return the stored credentials of a user, or those of Google's libraries."""
    import google.auth  # noqa: PLC0415  (an extra)
    from google.auth.exceptions import DefaultCredentialsError  # noqa: PLC0415

    try:
        return ee.data.get_persistent_credentials()
    except ee.EEException:
        pass
    except (ValueError, AttributeError, TypeError, KeyError):  # its text may hold them
        msg = "The stored credentials of Earth Engine cannot be read. Run `earthengine authenticate` again."
        raise ValueError(msg) from None
    try:
        # The client asks for no scopes, without which a service account gets no token.
        return google.auth.default(scopes=ee.oauth.SCOPES)[0]
    except DefaultCredentialsError:
        pass
    msg = (
        "Earth Engine needs credentials, and there are none on this machine, or they are no longer valid. Run "
        "`earthengine authenticate` once, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account; and "
        'state the project: EarthEngine(project="my-project").'
    )
    raise ValueError(msg)


def _module() -> Any:  # noqa: ANN401
    try:
        import ee  # noqa: PLC0415  (an extra)
    except ImportError as error:
        msg = 'Earth Engine needs its client: pip install "thor-anysat-terratorch[gee]".'
        raise ValueError(msg) from error
    return ee


@contextmanager
def engine_errors(what: str) -> Iterator[None]:
    """Turn what the client raises into an error that says what failed, and what to do, without credentials.

    Parameters
    ----------
    what : str
        Beginning of the message, up to ``cannot be``.

    Raises
    ------
    OSError
        If Earth Engine cannot be reached, or refuses.
    """
    ee = _module()
    from google.auth.exceptions import GoogleAuthError, RefreshError  # noqa: PLC0415  (an extra)
    from googleapiclient.errors import Error as ClientError  # type: ignore[import-untyped]  # noqa: PLC0415

    try:
        yield
    except (ee.EEException, ClientError, GoogleAuthError, OSError) as error:
        # The client's own error has lost the status, which is in the one that it was made of.
        asked = getattr(error, "status_code", None) or getattr(error.__context__, "status_code", None)
        said = without_credentials(" ".join(str(error).split()))[:300]
        status = f"status {asked}: " if asked else ""
        msg = f"{what}: {status}{said.rstrip('.')}. {_remedy(asked, refused=isinstance(error, RefreshError))}"
        raise OSError(msg) from cause_to_show(error)


def _remedy(status: int | None, *, refused: bool) -> str:
    if status == 401 or refused:
        return "The credentials are not accepted: run `earthengine authenticate` again."
    if status == 403:
        return (
            "The project or the account may not use Earth Engine: register the project, and state one that may be "
            'used: EarthEngine(project="my-project").'
        )
    if status == 429:
        return (
            f"It had too many requests, also after {_TRIES} more tries: wait, use fewer workers, and go on with the "
            "same out=."
        )
    return "Check the network and the project, or try later."
