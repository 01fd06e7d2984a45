"""Small Sentinel-1 GRD products: folders, names and tags as ESA's, a geometry that is a formula."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import rasterio
from rasterio.control import GroundControlPoint

NAME = "S1B_IW_GRDH_1SDV_20210401T052623_20210401T052648_026269_032297_ECC8"
HEIGHT, WIDTH = 120, 160
_LINES, _PIXELS = (0, 40, 80, HEIGHT - 1), (0, 40, 80, 120, WIDTH - 1)


def place(line: float, pixel: float) -> tuple[float, float]:
    """Return longitude and latitude of the centre of a pixel: some 10 m each way, turned, and bent a little."""
    longitude = 15.6 - 1.24e-4 * pixel + 3.2e-5 * line + 2e-9 * pixel * pixel
    return longitude, 45.4 - 8.7e-5 * line + 2.2e-5 * pixel + 1e-9 * line * pixel


def stem(polarisation: str, mode: str = "iw") -> str:
    """Return the name of the files of one polarisation, without a suffix."""
    number = "001" if polarisation in ("VV", "HH") else "002"
    return f"s1b-{mode}-grd-{polarisation.lower()}-20210401t052623-20210401t052648-026269-032297-{number}"


def _texts(values: object) -> str:
    numbers = np.atleast_1d(np.asarray(values, dtype=float))
    return " ".join(f"{value:.10e}" for value in numbers)


def _annotation(polarisation: str, mode: str, spacing: float) -> str:
    points = "".join(
        f"<geolocationGridPoint><azimuthTime>2021-04-01T05:26:47.804224</azimuthTime><line>{line}</line>"
        f"<pixel>{pixel}</pixel><latitude>{place(line, pixel)[1]:.15e}</latitude>"
        f"<longitude>{place(line, pixel)[0]:.15e}</longitude><height>6.0e+01</height></geolocationGridPoint>"
        for line in _LINES
        for pixel in _PIXELS
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<product><adsHeader><missionId>S1B</missionId>'
        f"<productType>GRD</productType><polarisation>{polarisation}</polarisation><mode>{mode}</mode>"
        f"<swath>{mode}</swath><startTime>2021-04-01T05:26:23.794457</startTime></adsHeader><generalAnnotation>"
        "<productInformation><pass>Descending</pass></productInformation></generalAnnotation><imageAnnotation>"
        f"<imageInformation><rangePixelSpacing>{spacing:e}</rangePixelSpacing>"
        f"<azimuthPixelSpacing>{spacing:e}</azimuthPixelSpacing><numberOfSamples>{WIDTH}</numberOfSamples>"
        f"<numberOfLines>{HEIGHT}</numberOfLines></imageInformation></imageAnnotation><geolocationGrid>"
        f'<geolocationGridPointList count="20">{points}</geolocationGridPointList></geolocationGrid></product>'
    )


def calibration_xml(value: Callable[[float, float], float]) -> str:
    """Return a calibration annotation whose sigmaNought is a function of line and pixel."""
    vectors = ""
    for line in (-10, 60, 130):
        sigma = _texts([value(line, pixel) for pixel in _PIXELS])
        others = "".join(f"<{name}>{_texts([1.0] * 5)}</{name}>" for name in ("betaNought", "gamma", "dn"))
        vectors += (
            f"<calibrationVector><azimuthTime>2021-04-01T05:26:23.0</azimuthTime><line>{line}</line>"
            f'<pixel count="5">{" ".join(map(str, _PIXELS))}</pixel><sigmaNought count="5">{sigma}</sigmaNought>'
            f"{others}</calibrationVector>"
        )
    return (
        "<calibration><calibrationInformation><absoluteCalibrationConstant>1.0</absoluteCalibrationConstant>"
        f'</calibrationInformation><calibrationVectorList count="3">{vectors}</calibrationVectorList></calibration>'
    )


def noise_xml(along_range: float, blocks: Mapping[tuple[int, int, int, int], float] | None) -> str:
    """Return a noise annotation.

    Parameters
    ----------
    along_range : float
        Of all range vectors.
    blocks : mapping
        First line, first sample, last line, last sample: the share along the azimuth there. ``None`` writes the single
        vectors of before IPF 2.90.
    """
    kind = ("noise", "noiseLut") if blocks is None else ("noiseRange", "noiseRangeLut")
    vectors = "".join(
        f'<{kind[0]}Vector><line>{line}</line><pixel count="2">0 {WIDTH - 1}</pixel>'
        f'<{kind[1]} count="2">{_texts([along_range] * 2)}</{kind[1]}></{kind[0]}Vector>'
        for line in (0, HEIGHT - 1)
    )
    text = f'<{kind[0]}VectorList count="2">{vectors}</{kind[0]}VectorList>'
    for (top, left, bottom, right), share in (blocks or {}).items():
        text += (
            f"<noiseAzimuthVector><swath>IW1</swath><firstAzimuthLine>{top}</firstAzimuthLine>"
            f"<firstRangeSample>{left}</firstRangeSample><lastAzimuthLine>{bottom}</lastAzimuthLine>"
            f'<lastRangeSample>{right}</lastRangeSample><line count="2">{top} {bottom}</line>'
            f'<noiseAzimuthLut count="2">{_texts([share] * 2)}</noiseAzimuthLut></noiseAzimuthVector>'
        )
    return f"<noise><adsHeader><swath>IW</swath></adsHeader>{text}</noise>"


def _write_measurement(path: Path, numbers: np.ndarray) -> None:
    # As ESA writes them: line and pixel of the annotation as they are.
    points = [GroundControlPoint(line, pixel, *place(line, pixel), 60.0) for line in _LINES for pixel in _PIXELS]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 1, "dtype": "uint16"}
    with rasterio.open(path, "w", **profile, gcps=points, crs="EPSG:4326") as file:
        file.write(numbers.astype(np.uint16), 1)


def write_grd(
    root: Path,
    numbers: Mapping[str, np.ndarray],
    *,
    name: str = NAME,
    calibration: Callable[[float, float], float] = lambda _line, _pixel: 250.0,
    noise: str | None = None,
    version: str = "003.31",
    spacing: float = 10.0,
) -> Path:
    """Write ``<name>.SAFE`` below a folder.

    Parameters
    ----------
    root : Path
        Where.
    numbers : mapping of str to ndarray
        Digital numbers ``(HEIGHT, WIDTH)`` by polarisation.
    name : str
        Name of the product, which has its mode.
    calibration : callable
        A of sigma0 by line and pixel.
    noise : str, optional
        The noise annotation, as of `noise_xml`.
    version : str
        Of the processor.
    spacing : float
        Of pixels, as the annotation states it.
    """
    folder, mode = root / f"{name}.SAFE", name[4:6]
    tables = folder / "annotation" / "calibration"
    tables.mkdir(parents=True)
    (folder / "manifest.safe").write_text(
        '<xfdu:XFDU xmlns:xfdu="urn:ccsds:schema:xfdu:1" xmlns:safe="http://www.esa.int/safe/sentinel-1.0">'
        f'<safe:software name="Sentinel-1 IPF" version="{version}"/></xfdu:XFDU>'
    )
    for polarisation, own in numbers.items():
        file = stem(polarisation, mode.lower())
        (folder / "annotation" / f"{file}.xml").write_text(_annotation(polarisation, mode, spacing))
        (tables / f"calibration-{file}.xml").write_text(calibration_xml(calibration))
        (tables / f"noise-{file}.xml").write_text(noise or noise_xml(20000.0, {(0, 0, HEIGHT - 1, WIDTH - 1): 1.5}))
        _write_measurement(folder / "measurement" / f"{file}.tiff", own)
    return folder


def zipped(folder: Path, path: Path) -> Path:
    """Write the zip of a product's folder, which it holds, too."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent).as_posix())
    return path
