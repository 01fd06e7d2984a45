"""From places and times in a config to one data set per split, without Lightning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from eo_data.catalog.records import Record, Split
from eo_data.catalog.scenes.place_records import Merge
from eo_data.catalog.scenes.scene import Orbit, SceneSource
from eo_data.catalog.sources import LabelSource
from eo_data.dataset.chip_splits import SeriesSplits
from eo_data.dataset.dataset import EoDataset
from eo_data.readers.described.place_images import images_of_places, stated_of_images
from eo_data.readers.described.place_labels import PlaceLabels
from eo_data.readers.described.places import Places
from eo_data.readers.described.plan import Plan
from eo_data.temporal.frame_policy import FramePolicy


class PlaceSplits(SeriesSplits):
    """Places and times: each place is a sample, read from the scenes that a folder or a catalogue has of it.

    What is read is what `eo_embed.embed` reads of the same places: scenes of a solar day are one frame, on the grid of
    the place; scale, offset, unit and no-data are those that the catalogue or the file states; clouds are hidden.

    Parameters
    ----------
    places : str or list
        A GeoPackage, GeoJSON or GeoParquet file below ``root``; or a row for each place, see
        `eo_data.readers.described.places.Places`.
    time : (str, str)
        First day, and the day after the last one.
    source : str or SceneSource
        Where scenes are looked for: ``earth-search``, ``planetary-computer``, ``copernicus``, ``earth-engine``, the
        address of another STAC API, a ``catalog.json`` or a folder of products or images below ``root``, or an object
        that finds scenes.
    modalities : mapping of str to mapping
        Modalities in the order of the batch, under the names that the backbone knows. Of each, ``bands`` and ``sensor``
        are needed; the other fields of `eo_data.catalog.sources.ImageSource` are for what its files do not say, or to
        read them otherwise (``unit: native``, ``cloud_band``, ``resampling``, which is ``nearest`` here by default).
    root : str
        Folder that relative paths start from.
    collections : sequence of str, optional
        Of a catalogue: which to search, see `eo_data.catalog.scenes.catalogues.stac.source.StacCatalogue`.
    max_cloud, orbit
        Which scenes count, see `eo_data.catalog.scenes.place_scenes.Limits`.
    merge : {'day', 'pass'}
        What one frame is made of, see `eo_data.catalog.scenes.place_records.PlaceOptions`.
    multiple : int
        Side of a patch of the encoder in pixels of the first modality: the sides of the squares are multiples of it.
    pixel_size : float, optional
        Of the first modality in metres; that of its scenes by default.
    id_column, buffer_m
        As in `eo_data.catalog.scenes.place_tables.places_from`; ids of rows are under ``id`` by default.
    clouds : bool
        Whether pixels that the scenes' quality layer calls clouds count as missing.
    label_column : str, optional
        Column of the places that holds the label of each: a class or a value.
    class_names : sequence of str
        Names of the classes in the order of their numbers, from 0, where that column has names.
    label_map : str, optional
        A raster below ``root`` with the labels of all places. For a file each, state ``label: {files:
        labels/{id}.tif}``. Both are brought to the pixels of the place by nearest neighbour; outside of the raster
        there is no label.
    split_column : str, optional
        Column of the places that holds ``train``, ``val``, ``test`` or ``predict``, instead of split files.
    scene_index : str, optional
        Of a folder: where its index is, if not in it; below ``root``.
    frames : FramePolicy, optional
        How acquisitions become frames; all of them by default.
    label : LabelSource, optional
        What labels mean; not needed to predict, nor with ``label_column``.
    **arguments
        As for `eo_data.dataset.chip_splits.ChipSplits`.

    Raises
    ------
    ValueError
        For arguments that make no sense; the message names the valid ones.
    """

    def __init__(
        self,
        places: str | list[list[float] | dict[str, Any]],
        time: tuple[str, str],
        source: str | SceneSource,
        modalities: dict[str, dict[str, Any]],
        root: str = ".",
        collections: list[str] | None = None,
        max_cloud: float | None = None,
        orbit: Orbit | None = None,
        merge: Merge = "day",
        multiple: int = 1,
        pixel_size: float | None = None,
        id_column: str | None = None,
        buffer_m: float | None = None,
        clouds: bool = True,  # noqa: FBT001, FBT002
        label_column: str | None = None,
        class_names: Sequence[str] = (),
        label_map: str | None = None,
        split_column: str | None = None,
        scene_index: str | None = None,
        frames: FramePolicy | None = None,
        label: LabelSource | None = None,
        **arguments: Any,  # noqa: ANN401
    ) -> None:
        for name in ("index", "samples"):  # lowest versions of jsonargparse hand on what is set below
            if arguments.pop(name, None) is not None:
                msg = f"{name} names samples by files, and places are the samples here. Leave it out."
                raise ValueError(msg)
        self._stated = {name: dict(own) for name, own in modalities.items()}
        if pixel_size is not None and self._stated:
            next(iter(self._stated.values())).setdefault("pixel_size", pixel_size)
        labels = PlaceLabels(label_column, tuple(class_names), label_map, split_column)
        self._places = Places(
            places,
            time=time,
            multiple=multiple,
            id_column=id_column,
            buffer_m=buffer_m,
            merge=merge,
            index=scene_index,
            source=source,
            collections=collections,
            max_cloud=max_cloud,
            orbit=orbit,
            labels=labels,
        )
        super().__init__(
            frames=frames,
            root=root,
            modalities={name: images_of_places(name, own, None) for name, own in self._stated.items()},
            label=_label(label, labels),
            samples=self._places,
            **arguments,
        )
        self.clouds = clouds
        self._placed: list[Record] | None = None
        _check_task(self.task, labels)

    def plan(self) -> Plan:
        """Return what reading the places would read, before a pixel is; of files on servers nothing is opened.

        Raises
        ------
        ValueError, OSError
            If the places or their source cannot be read, or no place has a scene.
        """
        places = self._places.opened(self.root, self.limits.remote_cache)
        modalities = places.images(self.root, self._stated, clouds=self.clouds, opened=False)
        return places.plan(replace(self._request(labelled=False), modalities=modalities))

    def _leave_out_unusable(self, dataset: EoDataset, split: Split) -> None:
        """Leave out what cannot be used; for a run that lists failures, when it comes to it, as pixels are fetched."""
        if split != "predict" or not self.lists_faults:
            super()._leave_out_unusable(dataset, split)
            return
        dataset.faults_pass = True

    def _records(self, *, labelled: bool) -> list[Record]:
        if self._placed is None:  # by the first stage of a run: others do not search again
            self._places = self._places.opened(self.root, self.limits.remote_cache)
            self.modalities = self._places.images(self.root, self._stated, clouds=self.clouds)
            stated = {name: stated_of_images(own) for name, own in self._stated.items()}
            masked = [name for name, own in self._stated.items() if self.clouds and own.get("cloud_band") is None]
            self._placed = self._places.placed(self._request(labelled=labelled), stated, masked)
        return self._places.labelled(self._placed, self._request(labelled=labelled))


def _label(label: LabelSource | None, labels: PlaceLabels) -> LabelSource | None:
    """Return what labels mean: the number of classes is that of their names, if they are stated."""
    if labels.column is None and labels.map is None:
        return label
    given, count = label or LabelSource(), len(labels.names) or None
    if count and given.classes not in (None, count):
        msg = f"label.classes is {given.classes}, but there are {count} class_names. Leave label.classes out."
        raise ValueError(msg)
    return replace(given, classes=given.classes or count)


def _check_task(task: str, labels: PlaceLabels) -> None:
    if labels.column is not None and task == "segmentation":
        msg = (
            "label_column has one label for each place, and segmentation learns one for each pixel. Set task: "
            "classification or regression, or give label_map or label: {files: labels/{id}.tif}."
        )
        raise ValueError(msg)
    if labels.map is not None and task == "classification":
        msg = "label_map has a label for each pixel, and classification learns one for each place. Set label_column."
        raise ValueError(msg)
