"""Samples that cannot be used are left out, and listed with the reason."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from eo_core.addresses import without_credentials
from eo_core.files import write_text
from eo_data.catalog.records import Record
from eo_data.dataset.dataset import EoDataset
from eo_data.raster.sample import SampleError

#: Split, id and reason of a sample that was left out.
type Skipped = tuple[str, str, str]


def usable_records(dataset: EoDataset, split: str) -> tuple[list[Record], list[Skipped]]:
    """Read every sample once, and split them into those that can be used and those that cannot.

    Parameters
    ----------
    dataset : EoDataset
        The samples.
    split : str
        Name of their split, which the list states.

    Returns
    -------
    list of Record, list of Skipped
        Samples that can be used; samples that cannot, each with the reason, without credentials of addresses.
    """
    good: list[Record] = []
    lost: list[Skipped] = []
    for i, record in enumerate(dataset.records):
        try:
            dataset.check(i)
        except SampleError as error:
            lost.append((split, record.id, without_credentials(str(error))))
        else:
            good.append(record)
    return good, lost


def write_skipped(path: Path, skipped: Sequence[Skipped]) -> None:
    """Write the list of skipped samples as CSV, whole or not at all."""
    table = io.StringIO()
    csv.writer(table).writerows([("split", "id", "reason"), *skipped])
    write_text(path, table.getvalue())
