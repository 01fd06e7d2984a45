"""`eo_embed.embed`: from an array, files, a product or places to embeddings."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from eo_core.arguments import one_of
from eo_data.catalog.scenes.place_records import Merge
from eo_data.catalog.scenes.scene import Orbit
from eo_data.catalog.shards import Shard
from eo_data.readers.described.plan import Plan
from eo_data.readers.described.tile_plan import TilePlan, plan_of_tiles
from eo_data.sensors.tables import SENSORS
from eo_data.sensors.units import InputUnit
from eo_embed.export.opening import Export
from eo_embed.export.record.failures import OnError
from eo_embed.export.settings import ExportSettings, GroupMerge, Output, Pooling
from eo_embed.one_call.arrays import array_image, is_array, stated_of_array
from eo_embed.one_call.exports import embedded_one_by_one, exported
from eo_embed.one_call.files import prepared_files
from eo_embed.one_call.options import EncoderOptions, Frames, Request, TimeWindow
from eo_embed.one_call.places import are_places, is_one, planned_places, prepared_places, refuse_none, table_of_places
from eo_embed.one_call.prepared import IMAGE_FIELDS
from eo_embed.one_call.result import Embedded, EmbeddedPlaces
from eo_embed.one_call.run import Run
from eo_models.precision.matmul import Matmul
from eo_models.precision.numbers import Precision
from eo_models.preset import find_preset, refuse_unknown_options

type File = str | os.PathLike[str]


def embed(
    encoder: str,
    given: Any,  # noqa: ANN401  (a file, files, an array, a product, a place or places: see below)
    *,
    bands: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    sensor: str | Sequence[str] | Mapping[str, str] | None = None,
    unit: str | Mapping[str, str] | None = None,
    offset: float | Mapping[str, float] | None = None,
    pixel_size: float | Mapping[str, float] | None = None,
    dates: Sequence[str | date] | str | date | None = None,
    transform: Sequence[float] | None = None,
    clouds: bool = True,
    extra_bands: Sequence[str] = (),
    time: TimeWindow | None = None,
    source: Any = None,  # noqa: ANN401  (a folder, a catalogue, or an object that finds scenes)
    frames: Frames = None,
    merge: Merge = "day",
    max_cloud: float | None = None,
    orbit: Orbit | None = None,
    tile: int | None = None,
    halo: int | None = None,
    output: Output = "both",
    layers: Sequence[int] | int = (-1,),
    pooling: Pooling = "mean",
    group_merge: GroupMerge = "mean",
    l2_normalise: bool = False,
    pretrained: bool = True,
    ckpt: File | None = None,
    revision: str | None = None,
    device: str = "auto",
    precision: Precision | int = "32",
    matmul: Matmul = "highest",
    out: File | None = None,
    on_error: OnError = "skip",
    progress: bool = True,
    dry_run: bool = False,
    max_memory: int | str | None = None,
    remote_cache: File | None = None,
    id: str = "",  # noqa: A002  (the word of every export's column)
    id_column: str | None = None,
    buffer_m: float | None = None,
    shard: Shard | tuple[int, int] | None = None,
    **options: Any,  # noqa: ANN401
) -> Embedded | EmbeddedPlaces | Export | Plan | TilePlan:
    """Return the embedding of an image, a series or a place; of many places, one each.

    The numbers are those that ``terratorch predict`` exports with the same settings. The encoder is built once and
    used again by the next call that asks for the same one.

    Parameters
    ----------
    encoder : str
        One of `eo_embed.models`; `eo_embed.describe` says what it takes.
    given : path, sequence of path, mapping, array, PointBuffer, BBox, polygon, or many places
        What is encoded:

        - a file that GDAL, h5netcdf or zarr reads, or a product as its agency ships it (Sentinel-2 ``.SAFE``, ...);
        - a list of dated files or products: a series, or a composite for an encoder of single images;
        - a mapping of lists, for images of several sensors of one ground: ``{"s2": [...], "s1": [...]}``; what is
          stated of one of them is a mapping, too: ``unit={"s1": "decibel"}``;
        - an array of numpy, torch or xarray, ``(C, H, W)`` or ``(T, C, H, W)``, with ``bands`` and ``unit``;
        - a place (`PointBuffer`, `BBox`, a shapely polygon in longitude and latitude), with ``source`` and ``time``;
        - many places: a list, a GeoDataFrame, or the path of a GeoPackage, GeoJSON, GeoParquet or Shapefile.
    bands : sequence of str, optional
        Names of the bands in the order of the file or array, where it does not name them.
    sensor : str or sequence of str, optional
        Key of `eo_data.sensors.tables.SENSORS`, where neither names nor tags tell; of places, which sensors to take
        where the source has several.
    unit : str, optional
        ``digital_number``, ``reflectance``, ``decibel``, ``linear_power``, ``kelvin`` or ``native``, where the file
        does not say.
    offset : float, optional
        Added to digital numbers, where neither file nor product says: -1000 or 0 of Sentinel-2.
    pixel_size : float, optional
        In metres, of what has no place on the map.
    dates : date or sequence of date, optional
        One a file or frame, where names and tags tell none.
    transform : affine.Affine or six numbers, optional
        Of an array: from (column, row) of its pixels to map coordinates, with ``crs``.
    clouds : bool
        Whether pixels that the product's quality layer calls clouds count as missing.
    extra_bands : sequence of str
        Bands that the encoder can read but does not by default.
    time : (start, end), optional
        Window in which acquisitions count, the end excluded; needed for places.
    source : str, Path or SceneSource, optional
        Of places: a folder of products or files; a STAC catalogue (``earth-search``, ``planetary-computer``,
        ``copernicus``, the address of another, or the path of its ``catalog.json``; see
        `eo_data.catalog.scenes.catalogues.stac.source.StacCatalogue`); ``earth-engine`` (see
        `eo_data.catalog.scenes.catalogues.earth_engine.source.EarthEngine`, which can name a project); or anything that
        finds scenes (`eo_data.catalog.scenes.scene.SceneSource`).
    frames : FramePolicy, 'all', 'median', int or sequence of date, optional
        How acquisitions become frames: all, one median composite, so many equal parts of the window with a median
        composite each, or those nearest to dates. By default what the encoder is used with.
    merge : {'day', 'pass'}
        Of places: one frame is made of all scenes of a solar day, or of those that began within an hour of each other,
        so that an ascending and a descending pass of one day stay apart.
    max_cloud : float, optional
        Of places: scenes that state more clouds than these percents are left out before anything is read. Scenes that
        state none are taken, which the provenance says.
    orbit : {'ascending', 'descending'}, optional
        Of radar scenes of places: which passes are taken; by default those with the most dates, place by place. The
        provenance says which, and how many dates were left out.
    tile : int, optional
        Cut what is larger into tiles of this side in pixels, which are encoded one by one and put together again, in
        memory: an export by ``terratorch predict`` needs no more of it for a larger raster, and goes on after a crash.
    halo : int, optional
        Pixels that a tile sees on each side of the part that is kept of it, so that no seams are left; a sixth of the
        tile by default.
    output : {'both', 'pooled', 'grid'}
        A vector, a map of vectors, or both.
    layers : int or sequence of int
        Which layers of the encoder; -1 is the last.
    pooling : {'mean', 'max', 'cls'}
        How tokens become a vector. Of a polygon or box, the mean over its cells, weighted by the area that it covers.
    group_merge : {'mean', 'sum', 'concat'}
        How the grids of several groups of bands become one.
    l2_normalise : bool
        Scale vectors to length one.
    pretrained : bool
        Whether to load the published weights; without, and without ``ckpt``, weights are random.
    ckpt : path, optional
        File of weights.
    revision : str, optional
        Hugging Face revision of the published weights.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``mps``.
    precision : {'auto', '32', 'bf16', 'int8', 'bf16-mixed', '16-mixed'}
        In which numbers the encoder computes, see `eo_models.precision.numbers.Arithmetic`; ``auto`` is bf16 where the
        hardware multiplies it faster. The last two are Lightning's.
    matmul : {'highest', 'high', 'medium'}
        In which precision products of float32 matrices are computed. ``highest`` is float32 on every machine, whatever
        libraries have set for the process; see `eo_models.precision.matmul`.
    out : path, optional
        Folder to write an export to. A second call goes on where the first one stopped.
    on_error : {'skip', 'raise'}
        Of many places: go on after one that cannot be used, and list it with the reason; or stop.
    progress : bool
        Of many places: whether to show a progress bar.
    dry_run : bool
        Of places: return what would be read, before a pixel is, see `eo_data.readers.described.plan.Plan`: grids,
        dates, scenes, clouds, files, bytes, and places that would fail. Print it to have it as a table. Of files on
        servers not even headers are read, so that what only they tell (an offset that no item states, a file that is
        not there) is not known yet. Of files with ``tile``: the windows, see `eo_data.readers.described.tile_plan`.
    max_memory : int or str, optional
        Memory that one image may take, such as ``"4GB"``.
    remote_cache : path, optional
        Folder in which is kept what is fetched of ``https://`` files, as of `eo_data.datamodules.ChipDataModule`.
    id : str
        Name of the result; by default that of the first file, or of the place.
    id_column : str, optional
        Of many places in a table: the column that names them; the number of the row by default.
    buffer_m : float, optional
        Of points in a table: half the side of the squares around them, in metres.
    shard : Shard or (int, int), optional
        Of many places: embed only this part of them, such as ``(0, 3)``, the first of three, to ``out/shards/0-of-3``.
        `eo_embed.merge` makes the whole.
    **options
        Options of the encoder's preprocessing (``patch_size``, ``image_size``, ``resize_mode``, ``normalization`` ...,
        see `eo_embed.describe`), and fields of `eo_data.datamodules.ImageSource` for what files do not say (``scale``,
        ``nodata``, ``crs``, ``resample_to``, ``date_pattern``, ``cloud_band`` ...).

    Returns
    -------
    Embedded, EmbeddedPlaces, Export, Plan or TilePlan
        One embedding; or those of many places, with ``out`` as the export that was written. Under ``dry_run`` a plan.

    Raises
    ------
    ValueError
        If the input cannot be used or does not say what must be known of it: the message has the argument to add.
    TypeError
        For an option that the encoder does not have.
    """
    # Numbers of numpy are no values of a config.
    options = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    fields = {name: options.pop(name) for name in IMAGE_FIELDS if name in options}
    stated = {
        name: value
        for name, value in {
            "bands": bands,
            "sensor": sensor,
            "unit": unit,
            "offset": offset,
            "pixel_size": pixel_size,
            **fields,
        }.items()
        if value is not None
    } | {"clouds": clouds, "extra_bands": tuple(extra_bands)}
    _refuse_unknown_names(encoder, stated)
    cache = None if remote_cache is None else Path(remote_cache)
    weights = (pretrained, None if ckpt is None else os.fspath(ckpt), revision)
    settings = ExportSettings(_layers(layers), output, pooling, group_merge, l2_normalise, on_error=on_error)
    refuse_unknown_options(encoder, options, (*find_preset(encoder).options(encoder), *IMAGE_FIELDS))
    own = EncoderOptions(encoder, *weights, device, precision, matmul, options)
    part = shard if shard is None or isinstance(shard, Shard) else Shard(*shard)
    request = Request(own, settings, frames, time, tile, merge, max_cloud, orbit, halo, part)
    if part is not None and (out is None or not are_places(given) or is_one(given)):
        msg = "shard is a part of many places that are written to a folder. Give a table or list of places, and out."
        raise ValueError(msg)
    if are_places(given):
        if dates is not None:
            msg = "dates are of files and arrays; scenes have their own. Give time=(start, end), or frames=[...]."
            raise ValueError(msg)
        table = table_of_places(given, name=id, id_column=id_column, buffer_m=buffer_m)
        refuse_none(table)
        if dry_run:
            return planned_places(table, request, stated, source)
        prepared, failures = prepared_places(table, request, stated, source, cache)
        if not prepared.records:
            msg = f"{failures[0].id}: {failures[0].reason}"
            raise ValueError(msg)
        run = Run(prepared, request, max_memory=max_memory, remote_cache=cache)
        if is_one(given):
            return _saved(run.embedded(0), out)
        if out is None:
            return embedded_one_by_one(run, failures, progress=progress)
        return exported(run, Path(out), failures, progress=progress)
    of_places = {"source": source, "max_cloud": max_cloud, "orbit": orbit}
    if dry_run and (tile is None or is_array(given)):
        of_places["dry_run"] = True
    _refuse_for_files(given, **of_places, id_column=id_column, buffer_m=buffer_m)
    if transform is not None and not is_array(given):
        msg = "transform is for arrays: a file states its own place, or crs= of it."
        raise ValueError(msg)
    if is_array(given):
        found = _of_array(given, request, {**stated, "transform": transform}, dates, id, max_memory)
    else:
        days = [dates] if isinstance(dates, str | date) else dates
        prepared = prepared_files(_lists(given), request, stated, days, id, cache)
        run = Run(prepared, request, max_memory=max_memory)
        if dry_run and prepared.tiling is not None:
            return plan_of_tiles(run.dataset.records, prepared.tiling, run.dataset.reader.grid)
        found = run.embedded(0)
    return _saved(found, out)


def _layers(layers: Sequence[int] | int) -> tuple[int, ...]:
    return (layers,) if isinstance(layers, int) else tuple(layers)


def _refuse_unknown_names(encoder: str, stated: Mapping[str, Any]) -> None:
    """Refuse a sensor, a unit and further bands that nobody knows.

    Raises
    ------
    ValueError
        With the valid ones.
    """
    for name, valid in (("sensor", tuple(SENSORS)), ("unit", tuple(InputUnit))):
        asked = stated.get(name, ())
        for value in asked.values() if isinstance(asked, Mapping) else (asked,) if isinstance(asked, str) else asked:
            one_of(name, value, valid)
    kinds = find_preset(encoder).images(encoder).values()
    known = dict.fromkeys(band for kind in kinds for band in (*kind.optional, *kind.bands))
    for band in stated["extra_bands"]:
        if band not in known:
            optional = dict.fromkeys(band for kind in kinds for band in kind.optional)
            msg = f"{encoder} reads no band {band!r} on request. Valid: {', '.join(optional) or 'none'}."
            raise ValueError(msg)


def _saved(found: Embedded, out: File | None) -> Embedded:
    if out is not None:
        found.save(os.fspath(out))
    return found


def _of_array(
    given: Any,  # noqa: ANN401
    request: Request,
    stated: Mapping[str, Any],
    dates: Sequence[str | date] | str | date | None,
    name: str,
    max_memory: int | str | None,
) -> Embedded:
    image = array_image(given, stated.get("bands"), dates, stated.get("transform"), stated.get("crs"))
    own = stated_of_array(image, stated)
    with image.files() as files:
        try:
            prepared = prepared_files({"": files}, request, own, image.dates or None, name or "array")
            return Run(prepared, request, max_memory=max_memory).embedded(0, ("array",), {"sha256": image.sha256})
        except ValueError as error:
            text = str(error)
            for file in files:
                text = text.replace(file, "The array").replace(PurePosixPath(file).name, "the array")
            raise type(error)(text) from None  # the file in memory is nothing that a caller knows


def _lists(given: Any) -> dict[str, list[File]]:  # noqa: ANN401
    """Return the files of each image as lists.

    Raises
    ------
    TypeError
        If it is nothing that can be encoded.
    """
    images = given if isinstance(given, Mapping) else {"": given}
    lists = {}
    for name, files in images.items():
        own = [files] if isinstance(files, str | os.PathLike) else list(files) if isinstance(files, Sequence) else []
        if not own or not all(isinstance(file, str | os.PathLike) for file in own):
            msg = (
                f"embed takes files, an array with bands, or places; got {type(files).__name__} ({str(files)[:80]}). "
                "Of images that are no files, give an array (C, H, W) or (T, C, H, W)."
            )
            raise TypeError(msg)
        lists[str(name)] = own
    return lists


def _refuse_for_files(given: object, **of_places: object) -> None:
    shown = f"an array ({type(given).__name__})" if is_array(given) else repr(str(given)[:80])
    for name, value in of_places.items():
        if value is not None:
            msg = f"{name} is for places, and {shown} is none. Leave it out, or give a PointBuffer or BBox."
            raise ValueError(msg)
