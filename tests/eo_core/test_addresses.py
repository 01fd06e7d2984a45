"""A password or signature never reaches a manifest, a log or a message; a new signature is no new address."""

from __future__ import annotations

import logging

import pytest

from eo_core.addresses import logs_without_credentials, without_credentials

H = "https://host.org/a/x.tif"
E = "https%3A%2F%2Fh.org%2Fx.tif"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"{H}?sv=2022&se=2030-01-01&sr=b&sp=r&sig=SECRET%2Ba%3D", H),  # Azure
        (f"{H}?X-Amz-Algorithm=A&X-Amz-Credential=SECRET&X-Amz-Signature=SECRET&versionId=7", f"{H}?versionId=7"),
        (f"{H}?AWSAccessKeyId=SECRET&Signature=SECRET&Expires=1", H),
        (f"{H}?GoogleAccessId=SECRET&X-Goog-Signature=SECRET", H),
        (f"{H}?Policy=SECRET&Signature=SECRET&Key-Pair-Id=SECRET", H),
        (f"{H}?id=7&token=SECRET", f"{H}?id=7"),
        (f"{H}?access_token=SECRET;id=7", f"{H}?id=7"),
        (f"{H}?API-Key=SECRET", H),
        (f"{H}#token=SECRET", H),
        ("https://user:SECRET@host.org/a/x.tif", H),
        ("https://user:SE@CRET#1@host.org/a/x.tif", H),
        ("s3://SECRET@bucket/x.tif", "s3://bucket/x.tif"),
        (f"/vsicurl/{H}?sig=SECRET", f"/vsicurl/{H}"),
        (
            "/vsizip/{/vsicurl/https://host.org/a.zip?sig=SECRET}/in/x.tif",
            "/vsizip/{/vsicurl/https://host.org/a.zip}/in/x.tif",
        ),
        (f'NETCDF:"/vsicurl/{H}?sig=SECRET":v', f'NETCDF:"/vsicurl/{H}":v'),
        (
            f"/vsicurl?use_head=no&url={E}%3Fsig%3DSECRET",
            f"/vsicurl?use_head=no&url={E}",
        ),
        (
            f"/vsicurl?header.Authorization=Bearer%20SECRET&url={E}",
            f"/vsicurl?url={E}",
        ),
        (
            "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /a?api_key=SECRET (Caused by X)",
            "HTTPConnectionPool(host='h', port=80): Max retries exceeded with url: /a (Caused by X)",
        ),
        ("Incremented Retry for (url='/a?token=SECRET'): Retry()", "Incremented Retry for (url='/a'): Retry()"),
        (f"GET {H} Headers: {{'Authorization': 'Basic SECRET'}}", f"GET {H} Headers: {{'Authorization': 'Basic ...'}}"),
        ("PG:host=h dbname=d password=SECRET", "PG:host=h dbname=d password=..."),
        (
            f"'{H}?sig=SECRET' does not exist. Or https://u:SECRET@h.org/y.tif?token=SECRET.",
            f"'{H}' does not exist. Or https://h.org/y.tif",
        ),
    ],
)
def test_what_is_secret_is_not_shown(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
    assert without_credentials(shown) == shown
    assert "SECRET" not in without_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        H,
        f"{H}?id=S2A_MSIL2A_20230409T002611_N0509_R102_T33TWN&bands=B02,B03&author=me",
        "https://host.org:8080/a@2x/x.tif",
        "/vsizip//data/a.zip/in/x.tif",
        "/data/why?sig=1.tif",
        "token=1 of a text without an address",
        'NETCDF:"/data/x.nc":v',
    ],
)
def test_what_is_not_secret_stays_as_it_is_written(text: str) -> None:
    assert without_credentials(text) == text


def test_a_value_that_looks_like_a_key_is_told_apart_but_not_shown() -> None:
    one, other = (without_credentials(f"{H}?k=aB3dE6gH9jK2mN5pQ8sT1v{last}WxYz") for last in "12")
    assert one != other
    assert "aB3dE6" not in one + other


def test_logs_of_a_package_lose_credentials_while_it_opens_and_not_after(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("some_reader._env")
    with caplog.at_level("DEBUG"):
        with logs_without_credentials("some_reader"):
            logger.warning("%s answers %d", f"{H}?sig=SECRET", 403)
            logging.getLogger("some_reader_of_another").warning("%s", "https://h/?sig=mine")
        logger.warning("%s", "after")
    assert [record.getMessage() for record in caplog.records] == [f"{H} answers 403", "https://h/?sig=mine", "after"]
    assert not logger.filters
