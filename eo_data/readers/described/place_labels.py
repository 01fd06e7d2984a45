"""Labels and splits of places: from their table, from a map, or from a file for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from eo_data.catalog.folder_patterns import labels_by_id, one_label
from eo_data.catalog.hrefs import Href
from eo_data.catalog.records import SPLITS, Record, SampleRequest
from eo_data.catalog.scenes.place_tables import PlaceTable

#: How many names of classes a message lists.
_SHOWN = 20


@dataclass(frozen=True)
class PlaceLabels:
    """Where the labels and splits of places are; without any of it, label files are found by the label source.

    Parameters
    ----------
    column : str, optional
        Column of the places that holds the label of each: a class or a value. An empty cell is a place without one.
    names : sequence of str
        Names of the classes in the order of their numbers, from 0, where the column has names.
    map : str, optional
        A raster below the root folder, or at an address, that holds the labels of all places.
    split : str, optional
        Column of the places that holds the split of each: ``train``, ``val``, ``test`` or ``predict``. Places without
        one are in none.
    """

    column: str | None = None
    names: Sequence[str] = ()
    map: str | None = None
    split: str | None = None

    def columns(self, *, labelled: bool) -> list[str]:
        """Return the columns of the places that are needed."""
        return [name for name in (self.column if labelled else None, self.split) if name is not None]

    def of(self, records: Sequence[Record], table: PlaceTable, request: SampleRequest) -> list[Record]:
        """Return records with their labels, if these will be used, and splits.

        Parameters
        ----------
        records : sequence of Record
            One for each place.
        table : PlaceTable
            The places, with the values of `columns`.
        request : SampleRequest
            What is asked for.

        Raises
        ------
        ValueError
            If a split or a class is not known, several things say what the labels are, or the map is not there.
        """
        with_split = [replace(record, split=self._split(record.id, table)) for record in records]
        if not request.labelled:
            return with_split
        pattern = request.label.files if request.label else ""
        given = {"label_column": self.column, "label_map": self.map, "label.files": pattern}
        if len(named := [f"{key} ({value})" for key, value in given.items() if value]) > 1:
            msg = f"Several things say what the labels of places are: {', '.join(named)}. Set only one."
            raise ValueError(msg)
        if self.map is not None:
            href = Href.from_root(self.map, request.root)
            if href.is_missing:
                msg = f"There is no label map {href}. label_map is a raster below {request.root}, or an address."
                raise ValueError(msg)
            return [replace(record, label=href) for record in with_split]
        if self.column is None:
            files = labels_by_id(request.root, request.label)
            return [replace(record, label=one_label(record.id, files)) for record in with_split]
        return [self._labelled(record, table, incomplete=request.incomplete) for record in with_split]

    def _split(self, place: str, table: PlaceTable) -> str | None:
        found = None if self.split is None else table.values[self.split].get(place)
        if found is not None and found not in SPLITS:
            msg = f"The place {place!r} has the split {found!r} in {self.split!r}. Valid: {', '.join(SPLITS)}."
            raise ValueError(msg)
        return None if found is None else str(found)

    def _labelled(self, record: Record, table: PlaceTable, *, incomplete: bool) -> Record:
        values = table.values[self.column or ""]
        try:
            return replace(record, label=self._label(values.get(record.id)))
        except ValueError as error:
            msg = f"The place {record.id!r} has the label {values[record.id]!r} in {self.column!r}, {error}"
            if not self.names:
                texts = sorted({str(value) for value in values.values()})[:_SHOWN]
                msg = (
                    f"{msg} Name the classes in the order of their numbers, such as class_names: [{', '.join(texts)}]."
                )
            elif incomplete:
                return replace(record, fault=record.fault or msg)
            raise ValueError(msg) from None

    def _label(self, value: object) -> float | int | None:
        """Return a class or value.

        Raises
        ------
        ValueError
            With the end of a sentence.
        """
        if value is None:
            return None
        if self.names:
            if value in self.names:
                return list(self.names).index(str(value))
            msg = f"which is none of class_names: {', '.join(self.names)}."
            raise ValueError(msg)
        try:
            number = float(value.item() if isinstance(value, np.generic) else value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            msg = "which is no number."
            raise ValueError(msg) from None
        return int(number) if number.is_integer() and not isinstance(value, float) else number
