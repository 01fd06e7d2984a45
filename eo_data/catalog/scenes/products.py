"""Samples from a folder of products as the agencies ship them, grouped by tile and date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from eo_core.text import composed
from eo_data.catalog.hrefs import Href
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.catalog.patterns.folder_walk import files_below
from eo_data.catalog.records import Record, SampleRequest
from eo_data.catalog.scenes.product_names import EXAMPLES, ProductName, product_of_name
from eo_data.catalog.sources import ImageSource, LabelSource

_ARCHIVES = (".zip", ".tar")


@dataclass(frozen=True)
class FoundProduct:
    """A product below a folder.

    Parameters
    ----------
    place : str
        Path of its folder or archive from there on, with forward slashes.
    name : ProductName
        What its name says.
    """

    place: str
    name: ProductName


@dataclass(frozen=True)
class Products:
    """A `eo_data.catalog.records.SampleSource` that finds products below the root by their names.

    A modality takes the products of its ``sensor``; its ``files``, if it states them, narrow these to the paths that
    match (``**/*_L2SP_*``). A sample is a tile on a day (UTC), with the id ``T32UQV/2022-06-01``: products of one tile
    and day belong together, whatever their sensor. Of a product that was processed several times, the newest counts; of
    a folder and its archive, the folder.

    Where a modality was acquired several times that day, each is a sample of its own, with the time in its id
    (``T32UQV/2022-06-01T102031``). Of the other modalities it has what began at the same time, or else the only
    acquisition of that day.

    Parameters
    ----------
    series : bool
        Whether a sample is a tile with all its dates, with the id ``T32UQV``, as a data module of series needs it.
        It is for products on the grid of a tile: swaths lie elsewhere on each date, and are read on a place instead
        (`eo_data.catalog.scenes`).

    Examples
    --------
    .. code-block:: yaml

        samples:
          class_path: eo_data.catalog.scenes.products.Products
          init_args: {series: true}
    """

    series: bool = False

    def records(self, request: SampleRequest) -> list[Record]:
        """Return the samples in the order of their ids.

        Raises
        ------
        ValueError
            If there is no root folder, no product of a modality, a modality without a sensor or with products of
            several kinds, or if it is not clear which product of an acquisition is the newest.
        """
        if not request.root.is_dir():
            msg = f"There is no folder {request.root}. Set root to the folder of the products."
            raise ValueError(msg)
        there = products_below(request.root)
        chosen = {name: _of_modality(name, source, there, request) for name, source in request.modalities.items()}
        labels = _labels(request)
        of_tiles: dict[str, dict[str, list[FoundProduct]]] = {}
        for modality, products in chosen.items():
            for product in products:
                of_tiles.setdefault(product.name.tile, {}).setdefault(modality, []).append(product)
        grouped = _by_tile(of_tiles, request.modalities) if self.series else _by_day(of_tiles)
        return [
            Record(
                sample,
                {
                    name: tuple(Href(str(request.root / product.place)) for product in products)
                    for name, products in grouped[sample].items()
                },
                label=labels.get(sample),
            )
            for sample in sorted(grouped)
        ]


def products_below(root: Path) -> list[FoundProduct]:
    """Return the products below a folder in the order of their paths, of each acquisition the newest.

    Parameters
    ----------
    root : Path
        Folders are known by their names, and so are archives (``.zip``, ``.tar``). What lies within a product does not
        count.

    Raises
    ------
    ValueError
        If an acquisition is there several times, and no name tells which is the newest.
    """
    found: dict[str, FoundProduct] = {}
    within: set[str] = set()
    for entry in files_below(root):
        path = PurePosixPath(entry.name)
        if any(str(folder) in within for folder in path.parents):
            continue
        name = product_of_name(path.name)
        is_archive = path.suffix.lower() in _ARCHIVES
        if name is None or not (is_archive or (root / entry.name).is_dir()):
            continue
        if not is_archive:
            within.add(entry.name)
        known = found.get(name.name)
        if known is None or (known.place.lower().endswith(_ARCHIVES) and not is_archive):
            found[name.name] = FoundProduct(entry.name, name)
    return sorted(_newest(found.values()), key=lambda product: product.place)


def _newest(products: Iterable[FoundProduct]) -> list[FoundProduct]:
    by_acquisition: dict[tuple[str, ...], list[FoundProduct]] = {}
    for product in products:
        by_acquisition.setdefault(product.name.acquisition, []).append(product)
    return [_newest_of(same) for same in by_acquisition.values()]


def _newest_of(same: Sequence[FoundProduct]) -> FoundProduct:
    if len(same) == 1:
        return same[0]
    versions = [product.name.version or () for product in same]
    newest = max(versions)
    if versions.count(newest) > 1:
        places = ", ".join(product.place for product in same)
        msg = (
            f"{len(same)} products are of one acquisition, and their names do not tell which is the newest: {places}. "
            "Keep one of them."
        )
        raise ValueError(msg)
    return same[versions.index(newest)]


def _of_modality(
    name: str, source: ImageSource, there: Sequence[FoundProduct], request: SampleRequest
) -> list[FoundProduct]:
    """Return the products of a modality: those of its sensor, as far as its pattern lets them in."""
    if source.sensor is None:
        msg = (
            f"The modality {name!r} states no sensor, by which its products are found. Set sensor; those of the "
            f"products below {request.root}: {_counted(product.name.sensor for product in there)}."
        )
        raise ValueError(msg)
    regex = FilePattern(source.files).regex(source.spellings) if source.files else None
    own = [
        product
        for product in there
        if product.name.sensor == source.sensor and (regex is None or regex.fullmatch(composed(product.place)))
    ]
    kinds = {product.name.kind for product in own}
    if len(kinds) > 1:
        msg = (
            f"The modality {name!r} has products of {len(kinds)} kinds, which are not mixed: "
            f"{_counted(product.name.kind for product in own)}. Narrow it to one by a pattern, such as "
            "files: '**/*_L2SP_*'."
        )
        raise ValueError(msg)
    if not own and not source.optional:
        narrowed = f" whose path matches {source.files!r}" if source.files else ""
        msg = (
            f"No product of the sensor {source.sensor} for {name!r} lies below {request.root}{narrowed}. There are "
            f"{_counted(product.name.kind for product in there)}. Products are folders and archives with names such as "
            f"{', '.join(EXAMPLES)}."
        )
        raise ValueError(msg)
    return own


def _counted(names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return ", ".join(f"{count} of {name}" for name, count in sorted(counts.items())) or "none that are known"


def _labels(request: SampleRequest) -> dict[str, Href]:
    """Label files by the id that their pattern holds; to predict, their folder need not be there."""
    label: LabelSource | None = request.label
    if label is None or not label.files:
        return {}
    pattern = FilePattern(label.files)
    if not request.labelled and not pattern.folder(request.root).is_dir():
        return {}
    return {match["id"]: Href(str(path)) for match, path in pattern.find(request.root)}


#: The products of a sample by modality.
type _Sample = dict[str, list[FoundProduct]]


def _by_tile(tiles: Mapping[str, _Sample], sources: Mapping[str, ImageSource]) -> dict[str, _Sample]:
    """Samples of all dates of a tile, in their order."""
    for tile, own in tiles.items():
        for name, products in own.items():
            if sources[name].static and len(products) > 1:
                msg = (
                    f"The modality {name!r} is static, one image of each tile, but {tile} has {len(products)} "
                    f"products: {', '.join(product.place for product in products[:3])}. Narrow it to one by files."
                )
                raise ValueError(msg)
    return {
        tile: {name: sorted(products, key=lambda product: product.name.started) for name, products in own.items()}
        for tile, own in tiles.items()
    }


def _by_day(tiles: Mapping[str, _Sample]) -> dict[str, _Sample]:
    """Samples of one date, or of one acquisition where a date has several."""
    samples: dict[str, _Sample] = {}
    for tile, own in tiles.items():
        days: dict[str, _Sample] = {}
        for modality, products in own.items():
            for product in products:
                day = product.name.started.date().isoformat()
                days.setdefault(day, {}).setdefault(modality, []).append(product)
        for day, of_day in days.items():
            samples |= _of_day(f"{tile}/{day}", of_day)
    return samples


def _of_day(sample: str, own: _Sample) -> dict[str, _Sample]:
    several = [product for products in own.values() if len(products) > 1 for product in products]
    if not several:
        return {sample: own}
    split: dict[str, _Sample] = {}
    for started in sorted({product.name.started for product in several}):
        part = {
            modality: [product for product in products if len(products) == 1 or product.name.started == started]
            for modality, products in own.items()
        }
        split[f"{sample}T{started:%H%M%S}"] = {name: products for name, products in part.items() if products}
    for name, part in split.items():
        twice = next((products for products in part.values() if len(products) > 1), None)
        if twice is not None:
            places = ", ".join(product.place for product in twice)
            msg = f"{name} has {len(twice)} products of one modality: {places}. Keep one of them, or narrow files."
            raise ValueError(msg)
    return split
