"""A stand-in for a store with S3's interface: it checks every signature by itself, lists, and knows regions.

Source: AWS, Signature Version 4, "Authenticating Requests: Using Query Parameters"; ListObjectsV2; error responses.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from range_server import Instead, RangeServer, range_server

ACCESS, SECRET = "AKIDSECRETNAME", "SECRETKEY/+x"


@dataclass
class Store:
    """A store; buckets are folders of ``server.folder``."""

    server: RangeServer
    region: str = "eu-north-1"
    #: Buckets of which the reader pays, and that anyone may read.
    payers: set[str] = field(default_factory=set)
    public: set[str] = field(default_factory=set)
    #: Entries of one page of a list.
    page: int = 3
    listed: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://{self.server.host}"

    def answer(self, target: str, host: str) -> Instead | None:
        """Refuse, list, or leave it to the server of files."""
        url = urlsplit(target)
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        bucket, _, key = unquote(url.path).lstrip("/").partition("/")
        if fault := self._fault(url.path, query, host, bucket):
            return fault
        if not (self.server.folder / bucket).is_dir():
            return _error(404, "NoSuchBucket")
        if query.get("list-type") == "2":
            return self._list(bucket, query)
        return None if (self.server.folder / bucket / key).is_file() else _error(404, "NoSuchKey")

    def _fault(self, path: str, query: dict[str, str], host: str, bucket: str) -> Instead | None:
        if "X-Amz-Signature" not in query:
            return None if bucket in self.public else _error(403, "AccessDenied")
        name, day, region, *_ = query["X-Amz-Credential"].split("/")
        if name != ACCESS:
            return _error(403, "InvalidAccessKeyId")
        if region != self.region:
            return _error(400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": self.region})
        if query["X-Amz-Signature"] != _signature(path, query, host, day, region):
            return _error(403, "SignatureDoesNotMatch")
        pays = query.get("x-amz-request-payer") == "requester"
        return _error(403, "AccessDenied") if bucket in self.payers and not pays else None

    def _list(self, bucket: str, query: dict[str, str]) -> Instead:
        root, prefix = self.server.folder / bucket, query.get("prefix", "")
        self.listed.append(prefix)
        keys = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        found = sorted({self._entry(key, prefix, query.get("delimiter", "")) for key in keys if key.startswith(prefix)})
        rest = [entry for entry in found if entry > query.get("continuation-token", "")]
        page, more = rest[: self.page], len(rest) > self.page
        token = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if more else ""
        entries = "".join(
            f"<CommonPrefixes><Prefix>{entry}</Prefix></CommonPrefixes>"
            if entry.endswith("/")
            else f"<Contents><Key>{entry}</Key></Contents>"
            for entry in page
        )
        text = (
            f"<ListBucketResult><Prefix>{prefix}</Prefix><IsTruncated>{str(more).lower()}</IsTruncated>{entries}{token}"
        )
        return Instead(200, f"{text}</ListBucketResult>".encode(), {"Content-Type": "application/xml"})

    @staticmethod
    def _entry(key: str, prefix: str, delimiter: str) -> str:
        head, found, _ = key[len(prefix) :].partition(delimiter) if delimiter else (key[len(prefix) :], "", "")
        return f"{prefix}{head}{found}"


def _signature(path: str, query: dict[str, str], host: str, day: str, region: str) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(text, safe="-_.~")) for name, text in query.items())
    told = "&".join(f"{name}={text}" for name, text in pairs if name != "X-Amz-Signature")
    request = f"GET\n{path}\n{told}\nhost:{host}\n\nhost\nUNSIGNED-PAYLOAD"
    scope = f"{day}/{region}/s3/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4" + SECRET.encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Instead:
    content = f"<Error><Code>{code}</Code><AWSAccessKeyId>{ACCESS}</AWSAccessKeyId></Error>".encode()
    return Instead(status, content, {"Content-Type": "application/xml"} | (headers or {}))


@contextmanager
def s3_server(folder: Path) -> Iterator[Store]:
    """Serve a folder of buckets."""
    with range_server(folder) as server:
        store = Store(server)
        server.instead = store.answer
        yield store
