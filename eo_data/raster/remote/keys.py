"""Addresses of object stores with S3's interface, signed by the user's own keys.

Sources: AWS, Signature Version 4, "Authenticating Requests: Using Query Parameters"; AWS, "Configuration and credential
file settings" (where keys are looked for). Roles are left to GDAL.
"""

from __future__ import annotations

import configparser
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from urllib.parse import quote, urlsplit

#: Seconds that a signature is good for: all tries of one request.
_GOOD_FOR = 3600
#: What stores that are no part of Amazon call theirs, if they look at it at all.
_REGION = "default"
_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True)
class Keys:
    """The keys of a user; the text of it does not show them.

    Parameters
    ----------
    access, secret : str
        Access key and secret key.
    session : str
        Session token of temporary keys, or empty.
    """

    access: str
    secret: str
    session: str = ""

    def __repr__(self) -> str:
        """Return the class alone."""
        return "Keys(...)"


def keys_for(store: str) -> Keys:
    """Return the keys that the user has set, where all tools for S3 look for them.

    Parameters
    ----------
    store : str
        Address of the store, for the message.

    Raises
    ------
    ValueError
        If there are none.
    """
    found = own_keys()
    if found is None:
        msg = (
            f"{urlsplit(store).hostname} gives files only to those who have keys for it, and none are set. Make an "
            "access key and a secret key with your account there (Copernicus Data Space: "
            "https://eodata-s3keysmanager.dataspace.copernicus.eu), and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment, or aws_access_key_id and aws_secret_access_key in "
            "~/.aws/credentials (AWS_PROFILE names the profile)."
        )
        raise ValueError(msg)
    return found


def own_keys() -> Keys | None:
    """Return the keys that the user has set, or nothing.

    Raises
    ------
    ValueError
        If the file of profiles cannot be read.
    """
    return _of_environment() or _of_file()


def _of_environment() -> Keys | None:
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID", ""), os.environ.get("AWS_SECRET_ACCESS_KEY", "")
    return Keys(access, secret, os.environ.get("AWS_SESSION_TOKEN", "")) if access and secret else None


def _of_file() -> Keys | None:
    own = profile("AWS_SHARED_CREDENTIALS_FILE", "credentials")
    access, secret = own.get("aws_access_key_id", ""), own.get("aws_secret_access_key", "")
    return Keys(access, secret, own.get("aws_session_token", "")) if access and secret else None


def profile(variable: str, usual: str, prefix: str = "") -> dict[str, str]:
    """Return what a file of profiles says of the one that the user has chosen (``AWS_PROFILE``).

    Parameters
    ----------
    variable, usual : str
        Variable of the environment that names the file, and its usual name below ``~/.aws``.
    prefix : str
        What stands before the names of profiles but that of the default one.

    Raises
    ------
    ValueError
        If it cannot be read.
    """
    path = Path(os.environ.get(variable) or Path.home() / ".aws" / usual)
    profiles = configparser.RawConfigParser()
    try:
        profiles.read(path, encoding="utf-8")
    except configparser.Error:
        fault = f"{path} cannot be read: it is no file of profiles ([name], then lines of name = value)."
        raise ValueError(fault) from None  # its text may hold a key
    name = os.environ.get("AWS_PROFILE", "default")
    section = name if name == "default" else f"{prefix}{name}"
    return dict(profiles.items(section)) if profiles.has_section(section) else {}


def presigned(
    url: str,
    keys: Keys,
    region: str = _REGION,
    when: datetime | None = None,
    good_for: int = _GOOD_FOR,
    query: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return an address with a signature for one ``GET``, also of a range.

    Parameters
    ----------
    url : str
        Without a query, its path quoted.
    keys : Keys
        Of the user.
    region : str
        Of the store.
    when : datetime, optional
        From when on the signature counts; by default now.
    good_for : int
        Seconds that it counts.
    query : mapping of str to str
        What else the query says; it is signed, too.
    """
    parts = urlsplit(url)
    moment = f"{(when or datetime.now(UTC)).astimezone(UTC):%Y%m%dT%H%M%SZ}"
    scope = (moment[:8], region, "s3", "aws4_request")
    stated = {
        "X-Amz-Algorithm": _ALGORITHM,
        "X-Amz-Credential": "/".join((keys.access, *scope)),
        "X-Amz-Date": moment,
        "X-Amz-Expires": str(good_for),
        **({"X-Amz-Security-Token": keys.session} if keys.session else {}),
        "X-Amz-SignedHeaders": "host",
        **query,
    }
    written = "&".join(f"{name}={quote(value, safe='')}" for name, value in sorted(stated.items()))
    request = "\n".join(("GET", parts.path, written, f"host:{parts.netloc}", "", "host", "UNSIGNED-PAYLOAD"))
    text = "\n".join((_ALGORITHM, moment, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()))
    key = f"AWS4{keys.secret}".encode()
    for part in (*scope, text):
        key = hmac.digest(key, part.encode(), "sha256")
    return f"{url}?{written}&X-Amz-Signature={key.hex()}"
