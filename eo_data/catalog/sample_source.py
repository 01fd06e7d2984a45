"""Which source tells the samples of a data set."""

from __future__ import annotations

from eo_data.catalog.folder_patterns import FolderPatterns
from eo_data.catalog.index_table import IndexTable
from eo_data.catalog.records import SampleSource


def choose_source(index: str | None = None, samples: SampleSource | None = None) -> SampleSource:
    """Return what was given, an index table, or the file patterns of the modalities.

    Parameters
    ----------
    index : str, optional
        Index table below the root folder.
    samples : SampleSource, optional
        Any other source.

    Raises
    ------
    ValueError
        If both are given.
    """
    if samples is not None and index is not None:
        msg = f"Both index ({index}) and samples ({type(samples).__name__}) tell which samples there are. Set only one."
        raise ValueError(msg)
    if samples is not None:
        return samples
    return FolderPatterns() if index is None else IndexTable(index)
