"""A name that macOS wrote is the name that an editor wrote."""

from __future__ import annotations

import unicodedata

from eo_core.text import composed


def test_two_spellings_of_an_accent_are_one_name() -> None:
    both = [unicodedata.normalize(form, "Köln/Åre") for form in ("NFC", "NFD")]
    assert both[0] != both[1]
    assert {composed(text) for text in both} == {both[0]}
    assert composed("plain_1") == "plain_1"
