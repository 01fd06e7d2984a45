"""How the scenes of places are read: by what one of them says, with which the others must agree."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import fields, replace
from typing import Any

from eo_data.catalog.records import SceneFiles
from eo_data.catalog.scenes.catalogues.earth_engine.images import is_engine_image
from eo_data.catalog.scenes.place_records import PlaceRecords
from eo_data.catalog.scenes.place_tables import PlaceFailure
from eo_data.catalog.scenes.scene import Scene
from eo_data.catalog.sources import ImageSource
from eo_data.readers.described.images import Description, Stated, UnknownFactsError, describe_image
from eo_data.sensors.quality_names import CloudKind, kind_of_name
from eo_data.sensors.sentinel2 import is_sentinel2
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit

#: Scenes that cannot be read are passed over, but not a whole archive one after the other.
TRIED = 3


def images_of_places(
    name: str, stated: Mapping[str, Any], scene: Scene | None, *, clouds: bool = True, opened: bool = True
) -> ImageSource:
    """Return how a modality of places is read: what is stated of it, and else what a scene says.

    Parameters
    ----------
    name : str
        Of the modality.
    stated : mapping
        Fields of `eo_data.catalog.sources.ImageSource`, of which ``bands`` and ``sensor`` are needed.
    scene : Scene or None
        One of its scenes, if there is any.
    clouds : bool
        Whether pixels that the scenes' quality layer calls clouds count as missing, where no ``cloud_band`` is stated.
    opened : bool
        As in `describe_scene_images`.

    Raises
    ------
    ValueError
        If something that is stated makes no sense, or is missing.
    UnknownFactsError
        If the scene does not say what must be known, with the line to add.
    """
    valid = [own.name for own in fields(ImageSource)]
    unknown = [key for key in stated if key not in valid]
    if unknown or not {"bands", "sensor"} <= {*stated}:
        msg = (
            f"The modality {name!r} of places needs bands and sensor, such as {{bands: [RED, NIR_BROAD], sensor: "
            f"sentinel2_l2a}}; got {', '.join(stated) or 'nothing'}. Valid: {', '.join(valid)}."
        )
        raise ValueError(msg)
    own: dict[str, Any] = {"dated": True, "resampling": "nearest"}
    if scene is None:
        return ImageSource(**{**own, **stated})
    found = describe_scene_images(scene, stated_of_images(stated), opened=opened)
    own |= {"unit": found.unit, "offset": found.offset, "pixel_size": found.pixel_size}
    own["file_bands"] = None if found.file_bands is None else list(found.file_bands)
    if clouds and found.quality_band is not None:
        own |= {"cloud_band": found.quality_band, "cloud_kind": found.quality_kind}
    return ImageSource(**{**own, **stated})


def stated_of_images(given: Mapping[str, Any]) -> Stated:
    """Return what fields of `eo_data.catalog.sources.ImageSource` state of images, as far as it describes them."""
    offset = given.get("offset")
    return Stated(
        tuple(given["file_bands"]) if given.get("file_bands") else None,
        given.get("sensor"),
        given.get("unit"),
        None if isinstance(offset, str) else offset,
        *(given.get(key) for key in ("scale", "date_pattern", "date_format")),
    )


def describe_scene_images(scene: Scene, own: Stated, *, opened: bool = True) -> Description:
    """Return what the images of a scene are: by its first file, and the size of its pixels by the finest of its bands.

    Parameters
    ----------
    scene : Scene
        The scene.
    own : Stated
        What the caller states of it.
    opened : bool
        Whether files on servers may be opened. If not, only what the catalogue tells is known of them, which has no
        unit: it serves to plan and not to read.

    Raises
    ------
    UnknownFactsError
        If something is not known, with the line to add, or it has no band of its sensor.
    SampleError
        If a file cannot be opened.
    """
    if not opened and is_on_servers(scene):
        return _listed_images(scene)
    if not scene.band_files:
        return describe_image(scene.files[0], own)
    usual = {band.name: band.gsd for band in SENSORS[scene.sensor].bands if band.name in scene.bands}
    files = zip(scene.bands, scene.band_files, scene.files, scene.said or (None,) * len(scene.files), strict=True)
    each = {
        name: describe_image(href, replace(own, bands=(written,)), said)
        for name, written, href, said in files
        if name in usual
    }
    if not each:
        msg = f"{scene.id} has none of the bands of {scene.sensor}, only {', '.join(scene.bands)}. Take it away."
        raise UnknownFactsError(msg)
    finest = min(found.pixel_size or usual[name] for name, found in each.items())
    quality = _quality_of(scene)
    return replace(
        next(iter(each.values())),
        bands=scene.bands,
        file_bands=None,
        pixel_size=None if finest == min(usual.values()) else finest,
        quality_band=quality[0],
        quality_kind=quality[1],
    )


def is_on_servers(scene: Scene) -> bool:
    """Whether files of a scene are on servers, so that headers cost requests; some addresses state what headers do."""
    return any(href.is_remote and not is_engine_image(href) for href in scene.files)


def listed_bands(scene: Scene) -> Iterator[tuple[str, float, str | None]]:
    """Yield each band of a scene, the side of its pixels in metres, and the type of its numbers, if that is said.

    Where its catalogue does not say the size, it is that of the sensor; of other layers, the finest of the sensor.
    """
    usual = {band.name: band.gsd for band in SENSORS[scene.sensor].bands}
    finest = min((usual[band] for band in scene.bands if band in usual), default=min(usual.values()))
    for i, band in enumerate(scene.bands):
        said = scene.said[i].bands[0] if i < len(scene.said) and scene.said[i].bands else None
        yield band, (said and said.gsd) or usual.get(band, finest), said.dtype if said else None


def _listed_images(scene: Scene) -> Description:
    usual = {band.name: band.gsd for band in SENSORS[scene.sensor].bands if band.name in scene.bands}
    finest = min((size for band, size, _ in listed_bands(scene) if band in usual), default=None)
    size = None if finest == min(usual.values(), default=None) else finest
    band, kind = _quality_of(scene)
    return Description(scene.sensor, scene.bands, None, InputUnit.NATIVE, None, size, band, kind, dates=(scene.day,))


def _quality_of(scene: Scene) -> tuple[str | None, CloudKind | None]:
    return next(((band, kind) for band in scene.bands if (kind := kind_of_name(band)) is not None), (None, None))


def with_known_scenes(
    placed: PlaceRecords,
    sources: Mapping[str, ImageSource],
    stated: Mapping[str, Stated],
    masked: Collection[str] = (),
) -> PlaceRecords:
    """Leave out places of which a scene does not say what it must: an offset, or clouds.

    Parameters
    ----------
    placed : PlaceRecords
        The records, of which those that cannot be used become failures.
    sources : mapping of str to ImageSource
        How each modality is read.
    stated : mapping of str to Stated
        What the caller states of each.
    masked : collection of str
        Modalities whose clouds are hidden by a layer that was found in one of their scenes, not stated.
    """
    # Digital numbers of other sensors have one scale, and other units need none.
    asked = [
        name
        for name, source in sources.items()
        if source.unit is InputUnit.DIGITAL_NUMBER and is_sentinel2(source.sensor) and source.offset is None
    ]
    faults: dict[SceneFiles, str] = {}
    records, failures = [], list(placed.failures)
    for record in placed.records:
        scenes = [(name, scene) for name in asked for day in record.frames.get(name, ()) for scene in day]
        for name, scene in scenes:
            if scene not in faults:
                faults[scene] = _fault_of(scene, sources[name], stated[name], masked=name in masked)
        reason = next((faults[scene] for _, scene in scenes if faults[scene]), "")
        if reason:
            failures.append(PlaceFailure(record.id, reason))
        else:
            records.append(record)
    return replace(placed, records=tuple(records), failures=tuple(failures))


def _fault_of(scene: SceneFiles, source: ImageSource, own: Stated, *, masked: bool) -> str:
    stated = replace(own, sensor=source.sensor)
    try:
        first = replace(stated, bands=(scene.bands[0],)) if scene.bands else stated
        found = describe_image(scene.files[0], first, scene.said[0] if scene.said else None)
    except ValueError as error:
        return str(error)
    quality = next(filter(kind_of_name, scene.bands), None) if scene.bands else found.quality_band
    if not masked or quality == source.cloud_band:
        return ""
    has, others = (f"the quality layer {band}" if band else "no quality layer" for band in (quality, source.cloud_band))
    return (
        f"{scene.files[0]} has {has}, another scene {others}: clouds would be left in some of them. Add clouds=False "
        "to leave them in all, or narrow time to scenes of one kind."
    )
