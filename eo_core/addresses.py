"""Addresses of files as they may be shown: without passwords, tokens and signatures.

What is left of an address stays the same when it is signed anew.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote

#: What texts hold that may have credentials: a URL (also encoded), a virtual file system, a connection to a database,
#: and what clients of HTTP call the url of a request: its path and query.
_ADDRESS = re.compile(r"://|%3A%2F%2F|/vsi[a-z0-9_]+[/?]|\bPG:|[\s='\"]/[^\s?'\"]*\?", re.IGNORECASE)
#: ``user:password@`` before the name of a host.
_USER = re.compile(r"(?<=://)[^/\s\"'<>]*@")
_QUERY = re.compile(r"[?#][^\s\"'<>{}]*")
_SEPARATOR = re.compile(r"[&;#]")
#: Parameters that hold a secret, or what is only good with one. Azure, Amazon, Google and Akamai have prefixes or
#: words of their own; the rest are common names.
_SECRET = re.compile(
    r"signature|token|secret|passw|passphrase|pwd|credential|auth(?!ors?$)|api[-_]?key|access[-_]?key|key-pair-id|session"
    r"|cookie|jwt|bearer|hmac|hdnea|hdnts|policy|expires|x-amz-|x-goog-|x-ms-|x-oss-"
    r"|(?:^|[^a-z])(?:sig|sas|key|pass)(?:$|[^a-z])",
    re.IGNORECASE,
)
#: The parameter by which an address is signed: the others then state who signed what until when.
_SIGNED = re.compile(r"(?:^|[?&;#])(?:sig|[\w.-]*signature)=", re.IGNORECASE)
#: Of a signed address these say which file is meant.
_VERSIONS = frozenset({"versionid", "generation", "snapshot"})
#: ``name=value`` outside of a query, as databases and messages have it, and headers.
_NAMED = re.compile(
    r"\b((?:password|passwd|pwd|secret|token|sig|signature|api_?key)=|authorization\W+(?:basic|bearer)\s+)[^\s&\"'}]+",
    re.IGNORECASE,
)
#: A value with this many characters of three kinds, and no point or slash, may be a key of a service.
_LONG = 24
_KEY_LIKE = re.compile(rf"(?=.*[a-z])(?=.*[A-Z])(?=.*\d)[\w+=%~-]{{{_LONG},}}|eyJ[\w.+=%~-]+")


def without_credentials(text: str) -> str:
    """Return a text without the credentials and signatures in its addresses; other texts as they are.

    Users and passwords before a host are left out, and parameters whose names say that they are secret; of a signed
    address all but the version of the file. A value that looks like a key becomes a short digest of it.

    Parameters
    ----------
    text : str
        An address, or a message that holds some.
    """
    if not _ADDRESS.search(text):
        return text
    shown = _QUERY.sub(lambda query: _shown_query(query.group()), _USER.sub("", text))
    return _NAMED.sub(r"\1...", shown)


@contextmanager
def logs_without_credentials(package: str) -> Iterator[None]:
    """Take the credentials out of what the loggers of a package write meanwhile.

    Parameters
    ----------
    package : str
        Name of the package that opens addresses and logs what servers answer.
    """
    known = list(logging.root.manager.loggerDict)  # at once, as another thread may add one
    names = [name for name in known if f"{name}.".startswith(f"{package}.")]
    loggers = [logging.getLogger(name) for name in names]
    clean = _Clean()
    for logger in loggers:
        logger.addFilter(clean)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(clean)


class _Clean(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, without credentials."""
        record.msg, record.args = without_credentials(record.getMessage()), ()
        return True


def _shown_query(query: str) -> str:
    """Return what may be shown from a ``?`` or ``#`` on."""
    signed = _SIGNED.search(query) is not None
    given = _SEPARATOR.split(query[1:])
    kept = [_shown_parameter(parameter) for parameter in given if _is_public(parameter, signed=signed)]
    if kept == given:
        return query
    return query[0] + "&".join(kept) if kept else ""


def _is_public(parameter: str, *, signed: bool) -> bool:
    name, equals, value = parameter.partition("=")
    name = unquote(name)
    if equals and _SECRET.search(name):
        return False
    return not signed or name.lower() in _VERSIONS or "://" in unquote(value)


def _shown_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=") if "=" in parameter else ("", "", parameter)
    inner = unquote(value)
    if "://" in inner:
        safe = without_credentials(inner)
        value = value if safe == inner else quote(safe, safe=":/?=&," if inner == value else "")
    elif _KEY_LIKE.fullmatch(value):
        value = "~" + hashlib.sha256(value.encode()).hexdigest()[:8]
    return f"{name}{equals}{value}"
