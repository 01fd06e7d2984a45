"""Signatures of addresses by the keys of a user."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from eo_data.raster.remote.keys import Keys, keys_for, presigned

#: Of AWS's documentation ("Authenticating Requests: Using Query Parameters", the example with its signature).
EXAMPLE = Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")


def test_the_signature_is_that_of_the_documented_example() -> None:
    url = "https://examplebucket.s3.amazonaws.com/test.txt"
    assert presigned(url, EXAMPLE, "us-east-1", datetime(2013, 5, 24, tzinfo=UTC), 86400) == (
        f"{url}?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_keys_are_those_of_the_named_profile_and_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "credentials"
    path.write_text("[default]\n[cdse]\naws_access_key_id=NAME\naws_secret_access_key=SEC%RET\naws_session_token=T\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    with pytest.raises(ValueError, match="example.org gives files only to those who have keys"):
        keys_for("https://example.org")
    monkeypatch.setenv("AWS_PROFILE", "cdse")
    found = keys_for("https://example.org")
    assert found == Keys("NAME", "SEC%RET", "T")
    assert "SEC" not in f"{found!r} {found}"
    path.write_text("SECRET\n")
    with pytest.raises(ValueError, match="no file of profiles") as raised:
        keys_for("https://example.org")
    assert "SECRET" not in str(raised.value)
    assert raised.value.__suppress_context__
