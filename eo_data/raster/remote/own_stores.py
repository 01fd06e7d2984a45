"""``s3://`` addresses of the user's own: the store, region and keys that all tools for S3 take from the environment.

Source: AWS, "Configuration and credential file settings" (``AWS_ENDPOINT_URL``, ``AWS_REGION``, ``AWS_PROFILE`` ...),
"Requester Pays buckets" and "Virtual hosting of buckets"; GDAL, ``/vsis3/`` (``AWS_NO_SIGN_REQUEST``,
``AWS_REQUEST_PAYER``).
"""

from __future__ import annotations

import functools
import html
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

from eo_data.raster.remote.keys import Keys, own_keys, presigned, profile
from eo_data.raster.remote.ranges import USUAL, Patience, RemoteError, fetch_content

#: Region of Amazon where none is set.
_USUAL_REGION = "us-east-1"
_AMAZON = "amazonaws.com"
#: What a list of a bucket holds: files, and folders.
_ENTRY = re.compile(r"<Contents>.*?<Key>([^<]+)</Key>|<CommonPrefixes><Prefix>([^<]+)</Prefix>")
_NEXT = re.compile(r"<NextContinuationToken>([^<]+)<")
_YES = ("yes", "true", "1", "on")
_PAYER = "requester"


@dataclass(frozen=True)
class OwnStore:
    """What the environment says of the user's store.

    Parameters
    ----------
    endpoint : str
        Its address, or nothing for Amazon's.
    region : str
        By which requests are signed.
    keys : Keys, optional
        Without, requests are not signed.
    pays : bool
        Whether the user pays for what is read, as some buckets ask.
    """

    endpoint: str
    region: str
    keys: Keys | None
    pays: bool

    def asked[T](self, url: str, ask: Callable[[str], T], query: dict[str, str] | None = None) -> T:
        """Ask for a file, or for what a bucket holds; again in the region that the store names.

        Parameters
        ----------
        url : str
            As `address` gives it.
        ask : callable
            Takes the address with its signature.
        query : dict, optional
            What the address asks for.

        Raises
        ------
        RemoteError
            As ``ask`` does, with what to set.
        """
        name = url if self.endpoint else urlsplit(url).netloc
        known = _regions(os.getpid())
        region = known.get(name, self.region)
        try:
            return ask(self._signed(url, region, query or {}))
        except RemoteError as error:
            fault = error
        if fault.region in ("", region):
            raise self._explained(fault) from None
        known[name] = fault.region
        try:
            return ask(self._signed(url, fault.region, query or {}))
        except RemoteError as error:
            fault = error
        raise self._explained(fault)

    def _signed(self, url: str, region: str, query: dict[str, str]) -> str:
        parts = urlsplit(url)
        if not self.endpoint:
            host = parts.netloc.removesuffix(f"s3.{_AMAZON}")
            ending = f"{_AMAZON}.cn" if region.startswith("cn-") else _AMAZON
            parts = parts._replace(netloc=f"{host}s3.{region}.{ending}")
        query = query | ({"x-amz-request-payer": _PAYER} if self.pays else {})
        if self.keys is not None:
            return presigned(urlunsplit(parts), self.keys, region, query=query)
        return urlunsplit(
            parts._replace(query="&".join(f"{name}={quote(text, safe='')}" for name, text in query.items()))
        )

    def _explained(self, error: RemoteError) -> RemoteError:
        """Add what may be set otherwise; of an error that has a region, too, it does not help to sign anew."""
        where = (
            f"the store {urlsplit(self.endpoint).netloc or self.endpoint} (AWS_ENDPOINT_URL)"
            if self.endpoint
            else "Amazon"
        )
        signed = "not signed (AWS_NO_SIGN_REQUEST)" if self.keys is None else f"signed for the region {self.region}"
        hint = (
            ""
            if error.status == 404
            else "; AWS_PROFILE, AWS_REGION and AWS_ENDPOINT_URL say which keys, region and store"
        )
        payer = (
            "" if self.pays or error.status != 403 else ", AWS_REQUEST_PAYER=requester that you pay for what is read"
        )
        msg = f"{error} (asked of {where}, {signed}{hint}{payer})"
        return RemoteError(msg, error.status)


def own_store() -> OwnStore | None:
    """Return what the environment says, or nothing if it has neither keys nor says that none are needed.

    Raises
    ------
    ValueError
        If a file of profiles cannot be read, the endpoint is no address, or who pays is not understood.
    """
    # Keys count where there are some: TerraTorch's command line asks for unsigned requests, whatever the user said.
    keys = own_keys()
    if keys is None and os.environ.get("AWS_NO_SIGN_REQUEST", "").lower() not in _YES:
        return None
    config = profile("AWS_CONFIG_FILE", "config", "profile ")
    return OwnStore(_endpoint(config), _region(config), keys, _pays())


def needed_store(shown: str) -> OwnStore:
    """Return `own_store`, for a file that cannot be read without.

    Parameters
    ----------
    shown : str
        The file, for the message.

    Raises
    ------
    ValueError
        If there is none.
    """
    found = own_store()
    if found is None:
        msg = (
            f"{shown} is read with keys, and none are set. Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
            "environment (of a role: aws configure export-credentials --format env), or aws_access_key_id and "
            "aws_secret_access_key in ~/.aws/credentials (AWS_PROFILE names the profile); for a public bucket, "
            "AWS_NO_SIGN_REQUEST=YES."
        )
        raise ValueError(msg)
    return found


def address(bucket: str, key: str) -> str:
    """Return the address of a file by which it is known here, not signed: the same in whatever region it is.

    Parameters
    ----------
    bucket, key : str
        Of ``s3://bucket/key``.

    Raises
    ------
    ValueError
        As of `own_store`.
    """
    endpoint = _endpoint(profile("AWS_CONFIG_FILE", "config", "profile "))
    if endpoint:
        return f"{endpoint}/{bucket}/{quote(key)}"
    if "." in bucket:  # which the certificate for names below that of the store does not cover
        return f"https://s3.{_AMAZON}/{bucket}/{quote(key)}"
    return f"https://{bucket}.s3.{_AMAZON}/{quote(key)}"


def listed(bucket: str, folder: str, patience: Patience = USUAL) -> Iterator[str]:
    """Yield the names of what is in a folder of a bucket.

    Parameters
    ----------
    bucket, folder : str
        The folder without slashes at its ends.
    patience : Patience
        How often the store is asked.

    Raises
    ------
    RemoteError
        If it does not give the list.
    ValueError
        As of `needed_store`.
    """
    prefix = f"{folder}/" if folder else ""
    query = {"delimiter": "/", "list-type": "2", "prefix": prefix}
    store, url = needed_store(f"s3://{bucket}/{folder}"), address(bucket, "")
    while True:
        text = store.asked(url, lambda signed: fetch_content(signed, patience), query).decode()
        for found in _ENTRY.finditer(text):
            name = html.unescape(found[1] or found[2]).removeprefix(prefix).strip("/")
            if name:
                yield name
        more = _NEXT.search(text)
        if more is None:
            return
        query = query | {"continuation-token": html.unescape(more[1])}


def _endpoint(config: dict[str, str]) -> str:
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    stated = next((os.environ[name] for name in names if os.environ.get(name)), config.get("endpoint_url", ""))
    parts = urlsplit(stated)
    if stated and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
        msg = (
            "AWS_ENDPOINT_URL (or endpoint_url in ~/.aws/config) is no address of a store, or has a user in it. Write "
            "https://host or http://host:port."
        )
        raise ValueError(msg)
    return stated.rstrip("/")


def _region(config: dict[str, str]) -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or config.get("region") or _USUAL_REGION


def _pays() -> bool:
    stated = os.environ.get("AWS_REQUEST_PAYER", "")
    if stated not in ("", _PAYER):
        msg = f"AWS_REQUEST_PAYER is {stated!r}, and only {_PAYER!r} means something. Correct or unset it."
        raise ValueError(msg)
    return bool(stated)


@functools.lru_cache(maxsize=1)
def _regions(process: int) -> dict[str, str]:
    """Return the regions that stores have named, by bucket; of one process."""
    return {}
