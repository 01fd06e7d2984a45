"""The public data sets that the project knows."""

from __future__ import annotations

from eo_data.catalog.date_index import KnownDates
from eo_data.catalog.known.biomassters import BIOMASSTERS
from eo_data.catalog.known.class_folders import CLASS_FOLDERS
from eo_data.catalog.known.kinds import KnownIndex
from eo_data.catalog.known.pastis import PASTIS
from eo_data.catalog.known.sen1floods11 import EVENT_DATES

#: Data sets whose index ``python -m eo_data.index`` writes, in the order of its help.
KNOWN_INDICES: tuple[KnownIndex, ...] = (PASTIS, BIOMASSTERS, CLASS_FOLDERS)

#: Files of dates that have a form of their own.
KNOWN_DATES: tuple[KnownDates, ...] = (EVENT_DATES,)
