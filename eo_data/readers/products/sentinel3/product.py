"""Products of Sentinel-3 (``.SEN3``): a folder, an archive of one, or its manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from eo_data.catalog.hrefs import Href
from eo_data.catalog.sources import ImageSource
from eo_data.readers.formats.facts import OpenLayer
from eo_data.readers.products.sentinel3.files import MANIFEST, opened_sen3
from eo_data.readers.products.sentinel3.olci import OLCI_KINDS, open_olci
from eo_data.readers.products.sentinel3.slstr import SLSTR_KINDS, open_slstr

_NAME = re.compile(r".*\.SEN3(\.zip)?|S3[A-D]_(OL|SL)_\d_.*\.zip", re.IGNORECASE)


def is_sen3(href: Href) -> bool:
    """Whether a name is that of a product of Sentinel-3, or of the manifest in its folder."""
    name = href.path.parent.name if href.is_local and href.name == MANIFEST else href.name
    return href.is_local and _NAME.fullmatch(name) is not None


@contextmanager
def open_sentinel3(href: Href, source: ImageSource | None = None) -> Iterator[Sequence[OpenLayer]]:
    """Open a product of OLCI (EFR, ERR) or SLSTR (RBT).

    Parameters
    ----------
    href : Href
        The folder, an archive (zip) of one product, or the manifest in the folder.
    source : ImageSource, optional
        ``crs`` and ``resample_to`` choose the grid that the swath comes to, see
        `eo_data.readers.products.sentinel3.swath.swath_grids`.

    Raises
    ------
    ValueError
        If it is another product, a file is missing or cannot be read.
    OSError
        If the folder or archive cannot be read.
    """
    with opened_sen3(href) as product:
        if product.kind in OLCI_KINDS:
            yield open_olci(product, source)
        elif product.kind in SLSTR_KINDS:
            yield open_slstr(product, source)
        else:
            known = ", ".join((*OLCI_KINDS, *SLSTR_KINDS))
            msg = f"it is a product {product.kind}, and those of Sentinel-3 that are read are {known} (level 1)."
            raise ValueError(msg)
