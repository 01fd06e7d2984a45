"""What reading a file may touch: which other files, no server that nobody named, and how much memory.

Checked before a reader opens the file, because opening is enough to do harm: GDAL asks a server, HDF5 opens whatever
file holds the numbers, a named pipe is waited for without an end.

Sources: GDAL's VRT driver (``SourceFilename``, ``SourceDataset``, ``relativeToVRT``, which a link does not change).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from xml.parsers import expat

from eo_core.hdf5 import Contents, contents_of, look_through
from eo_core.memory import as_amount, memory_of_machine
from eo_core.paths import Roots, fault_of_file
from eo_data.catalog.hrefs import Href
from eo_data.raster.remote.stream import RemoteStream, open_stream
from eo_data.raster.zarr_chunks import check_axes

#: What stands at the beginning of files that have their pixels from other files or servers, by which GDAL knows them
#: whatever their name. Its drivers VRT, WMS, WMTS, WCS, GTI, MRF, KMLSUPEROVERLAY, STACIT, GDALG, ECRGTOC, TIL and PDF.
_REACHING_TEXTS: Mapping[bytes, str] = MappingProxyType(
    {
        b"<VRTDataset": "a VRT",
        b"<GDAL_WM": "a WMS",
        b"<WMS_": "a WMS",
        b"<Capabilities": "a WMTS",
        b"<WCS_GDAL": "a WCS",
        b"<GDALTileIndexDataset": "a GTI",
        b"<MRF_META": "an MRF",
        b"<kml": "a KML overlay",
        b"stac_version": "a list of STAC",
        b"gdal_streamed_alg": "a GDALG pipeline",
        b"<Table_of_Contents": "a table of contents of ECRG",
        b"numTiles =": "a TIL",
        b"%PDF": "a PDF",
    }
)
_REACHING_NAMES = (".gti.gpkg", ".gti.fgb")
_HEAD = 2048
#: Suffixes of files that may be HDF5.
_HDF5_SUFFIXES = (".h5", ".hdf5", ".he5", ".nc", ".nc4", ".cdf", ".netcdf")
_NETCDF_SUFFIXES = (".nc", ".nc4", ".cdf", ".netcdf")
#: Schemes of addresses that we read ourselves.
_STREAMED = ("http", "https", "s3")
_HDF5_HEAD = b"\x89HDF\r\n\x1a\n"
_LARGEST_VRT = 64_000_000
#: Files beside a raster that GDAL opens, too.
_BESIDE = (".aux.xml", ".msk", ".ovr")
#: GDAL's network is switched off by a name that no file has, where nobody named a server.
NO_NETWORK: Mapping[str, str] = MappingProxyType({"CPL_VSIL_CURL_ALLOWED_FILENAME": "/nothing"})
_SHARE_OF_MEMORY = 4
_SMALLER = "Predict by tiles (tile), cut the file into smaller ones"


@dataclass(frozen=True)
class Limits:
    """What reading may touch.

    Parameters
    ----------
    roots : Roots
        Folders below which the sources of a file must lie, and addresses that they may have. Without, any folder of
        this machine will do, but no server.
    max_bytes : int, optional
        Memory that one image, label or block of a file may take; a quarter of the machine's by default.
    remote_cache : Path, optional
        Folder in which is kept what was fetched of files on servers; without, nothing is.
    """

    roots: Roots = field(default_factory=Roots)
    max_bytes: int | None = None
    remote_cache: Path | None = None

    @property
    def memory(self) -> int:
        """The limit in bytes."""
        return self.max_bytes or memory_of_machine() // _SHARE_OF_MEMORY

    def refuse_large(self, wanted: int, what: str, remedy: str = _SMALLER) -> None:
        """Refuse to read what takes more memory than the limit.

        Parameters
        ----------
        wanted : int
            Bytes.
        what : str
            What takes them, for the message.
        remedy : str
            What makes it smaller.

        Raises
        ------
        ValueError
            If it is more.
        """
        if wanted > self.memory:
            msg = (
                f"{what} takes {as_amount(wanted)} of memory, and the limit is {as_amount(self.memory)}. "
                f"{remedy}, or raise max_memory if the size is right and there is as much memory."
            )
            raise ValueError(msg)


#: Any folder, no server that nobody named, a quarter of the memory.
USUAL = Limits()


def check_file(href: Href, limits: Limits = USUAL) -> None:
    """Refuse a file that must not be opened, or that would read elsewhere than it may.

    Raises
    ------
    ValueError
        Without the name of the file: if it is no regular file, or has its numbers from elsewhere.
    """
    if not href.is_local:
        for path in href.containers:
            _refuse_irregular(path)
        if "/vsistdin" in href.text:
            msg = "it is what comes in by a pipe (/vsistdin/), and a file is needed."
            raise ValueError(msg)
        if is_streamed(href):
            _check_streamed(href, limits)
        elif "://" in href.text and href.is_remote and href.suffix in (".zarr", *_NETCDF_SUFFIXES):
            msg = (
                "NetCDF and Zarr are read from http://, https:// and s3:// only. Give its https:// address (of Google "
                "https://storage.googleapis.com/bucket/key, of Azure https://account.blob.core.windows.net/container/"
                "key, with a signature where it needs one), or download it."
            )
            raise ValueError(msg)
        return
    path = href.path
    if fault := fault_of_file(path):
        msg = f"{fault}."
        raise ValueError(msg)
    if href.suffix in _HDF5_SUFFIXES:
        _refuse_foreign_numbers(path, limits, ())
    elif href.suffix == ".vrt":
        _refuse_foreign_sources(path, limits, ())
    elif href.suffix == ".zarr":
        limits.refuse_large(check_axes(path), "its longest axis", "Cut the cube into smaller ones")
    else:
        for end in _BESIDE:
            _refuse_irregular(f"{path}{end}")


def is_streamed(href: Href) -> bool:
    """Whether this is the address of a file, or of a Zarr, that our own ranges are fetched of."""
    return href.text.partition("://")[0].lower() in _STREAMED and "://" in href.text


def _check_streamed(href: Href, limits: Limits) -> None:
    """Look at a cube on a server as at one on this machine; and at the address of what is no file."""
    if href.suffix in _NETCDF_SUFFIXES:
        with open_stream(href) as stream:
            _refuse_streamed_numbers(stream, limits)
    elif href.suffix == ".zarr":
        from eo_data.raster.remote.zarr_store import RemoteZarr  # noqa: PLC0415  (Zarr may not be installed)

        limits.refuse_large(RemoteZarr(href).longest_axis, "its longest axis", "Cut the cube into smaller ones")
    elif href.text.partition("?")[0].endswith("/"):
        msg = (
            "it is the address of a folder, and a file is needed. Give the addresses of its files (of several bands, "
            "a list or an index table), or of a Zarr: .../x.zarr."
        )
        raise ValueError(msg)


def _refuse_streamed_numbers(stream: RemoteStream, limits: Limits) -> None:
    """Refuse NetCDF of which no parts are read, and HDF5 whose numbers lie elsewhere."""
    head = stream[:8]
    if head != _HDF5_HEAD:
        kind = "NetCDF 3, of which no parts are read" if head.startswith(b"CDF") else "no NetCDF"
        msg = f"it is {kind}. Write it as NetCDF 4 (nccopy -k netCDF-4 -c ...), or as Zarr, or download it."
        raise ValueError(msg)
    known = stream.file.known
    if not isinstance(known.looked_through, Contents):
        known.looked_through = look_through(stream, stream)
    _refuse_contents(known.looked_through, limits)
    if known.looked_through.elsewhere:
        name, kind, place = known.looked_through.elsewhere[0]
        raise ValueError(_elsewhere(name, kind, place))


def _refuse_irregular(path: str | Path) -> None:
    if fault := fault_of_file(path):
        msg = f"{path} cannot be opened: {fault}."
        raise ValueError(msg)


def disguise_of(path: Path) -> str:
    """Return what a file is that has its pixels from elsewhere (``a VRT``), whatever its name, or nothing."""
    if path.name.lower().endswith(_REACHING_NAMES):
        return "a GTI"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return ""
    return next((kind for text, kind in _REACHING_TEXTS.items() if text in head), "")


def _refuse_foreign_sources(path: Path, limits: Limits, above: tuple[Path, ...]) -> None:
    """Refuse a VRT of which a source, or a source of a source, lies where nothing may be read."""
    if path in above:
        msg = f"its source {path} has itself as a source."
        raise ValueError(msg)
    home = Path(path).resolve().parent
    for source, text in sources_of_vrt(path):
        if source.is_remote or text.lstrip().startswith("<"):
            if not limits.roots.allow(text):
                msg = (
                    f"its source {source.shown[:200]} is on a server, which this file may not ask. Download "
                    "it, or list the beginning of its address in other_roots."
                )
                raise ValueError(msg)
            continue
        for file in source.containers:
            _refuse_irregular(file)
            if limits.roots and not (limits.roots.hold(file) or Roots((str(home),)).hold(file)):
                msg = (
                    f"its source {source} lies outside of {limits.roots.shown}. Move it there, or list its folder in "
                    "other_roots."
                )
                raise ValueError(msg)
        if source.is_local_file:
            _check_source(source, limits, (*above, path))


def _check_source(source: Href, limits: Limits, above: tuple[Path, ...]) -> None:
    if source.suffix == ".vrt":
        _refuse_foreign_sources(source.path, limits, above)
    elif kind := disguise_of(source.path):
        msg = (
            f"its source {source} is {kind} under another name: its pixels may come from other files or servers. Name "
            "a VRT x.vrt."
        )
        raise ValueError(msg)


def sources_of_vrt(path: Path) -> Iterator[tuple[Href, str]]:
    """Yield the sources that a VRT names, where they are and as it writes them.

    Raises
    ------
    ValueError
        If it is no XML, very large, or has a document type (entities).
    """
    if path.stat().st_size > _LARGEST_VRT:
        msg = f"a VRT of more than {_LARGEST_VRT} bytes is not read."
        raise ValueError(msg)
    home = Path(path).resolve().parent
    for text, is_relative in _parsed_sources(path.read_bytes()):
        yield (Href.from_root(text, home) if is_relative else Href(text)), text


def _parsed_sources(data: bytes) -> list[tuple[str, bool]]:
    found: list[tuple[str, bool]] = []
    inside: list[bool | None] = []
    text: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        is_source = name in ("SourceFilename", "SourceDataset")
        inside.append(attributes.get("relativeToVRT") == "1" if is_source else None)
        text.clear()

    def end(_: str) -> None:
        relative = inside.pop()
        if relative is not None:
            found.append(("".join(text).strip(), relative))
        text.clear()

    def refuse(*_: object) -> None:
        msg = "it has a document type (entities), which a VRT needs not have. Remove it."
        raise ValueError(msg)

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text.append, refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        msg = f"it is no XML: {error}. Copy it again."
        raise ValueError(msg) from error
    return found


def _refuse_foreign_numbers(path: Path, limits: Limits, above: tuple[Path, ...]) -> None:
    """Refuse HDF5 whose numbers lie in other files, unless those are HDF5 below the roots."""
    if path in above or not path.is_file():
        return
    with path.open("rb") as file:
        if file.read(len(_HDF5_HEAD)) != _HDF5_HEAD:
            return
    state = path.stat()
    found = contents_of(path, state.st_mtime_ns, state.st_size)
    _refuse_contents(found, limits)
    for name, kind, place in found.elsewhere:
        other = path.resolve().parent / place
        if kind == "virtual" and (limits.roots.hold(other) if limits.roots else other.parent == path.resolve().parent):
            _refuse_irregular(other)
            _refuse_foreign_numbers(other, limits, (*above, path))
            continue
        raise ValueError(_elsewhere(name, kind, place))


def _refuse_contents(found: Contents, limits: Limits) -> None:
    limits.refuse_large(found.longest_axis, "its longest axis", "Cut the file into smaller ones")
    if found.damaged_texts:
        msg = f"the texts of {', '.join(found.damaged_texts)} lie in a damaged heap. Copy the file again."
        raise ValueError(msg)


def _elsewhere(name: str, kind: str, place: str) -> str:
    return (
        f"the numbers of {name!r} lie in another file, {place} (HDF5: {kind}), which is not read. Copy them into this "
        "file (h5repack)."
    )
