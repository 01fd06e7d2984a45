"""One spelling of a name: Unicode writes an accented letter in two ways that look the same."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """Return a text in Unicode's composed form (NFC), by which names are compared.

    macOS decomposes the names of files (NFD), editors and other systems do not. Files are opened by their own bytes.
    """
    return text if text.isascii() else unicodedata.normalize("NFC", text)
