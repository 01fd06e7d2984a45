"""Small Sentinel-2 and HLS products: structure, names and tags are those of the agencies, the images a few pixels."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

#: Upper left corner of the tile T32UQV's neighbour in whole 60 m pixels, and the side of all images in metres.
LEFT, TOP, SIDE = 600000, 5700000, 1200
EPSG = "EPSG:32632"
SIZES: Mapping[str, int] = {
    **dict.fromkeys(("B02", "B03", "B04", "B08"), 10),
    **dict.fromkeys(("B05", "B06", "B07", "B8A", "B11", "B12"), 20),
    **dict.fromkeys(("B01", "B09", "B10"), 60),
}
NUMBERS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")

_PRODUCT = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/User_Product_Level-{level}.xsd">
    <n1:General_Info>
        <Product_Info>
            <PRODUCT_START_TIME>{day}T09:55:59.024Z</PRODUCT_START_TIME>
            <PRODUCT_STOP_TIME>{day}T09:55:59.024Z</PRODUCT_STOP_TIME>
            <PRODUCT_URI>{name}</PRODUCT_URI>
            <PROCESSING_LEVEL>Level-{level}</PROCESSING_LEVEL>
            <PRODUCT_TYPE>S2MSI{level}</PRODUCT_TYPE>
            <PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE>
            <GENERATION_TIME>2023-08-24T12:47:59.000000Z</GENERATION_TIME>
            <Datatake datatakeIdentifier="GS2B_{date}T095559_033753_N{baseline}">
                <SPACECRAFT_NAME>Sentinel-2B</SPACECRAFT_NAME>
                <DATATAKE_SENSING_START>{day}T09:55:59.024Z</DATATAKE_SENSING_START>
            </Datatake>
            <Query_Options completeSingleTile="true">
                <PRODUCT_FORMAT>SAFE_COMPACT</PRODUCT_FORMAT>
            </Query_Options>
            <Product_Organisation>
                <Granule_List>
                    <Granule granuleIdentifier="S2B_OPER_MSI_L{level}_TL_2BPS_T32UQV" imageFormat="JPEG2000">
                        {images}
                    </Granule>
                </Granule_List>
            </Product_Organisation>
        </Product_Info>
        <Product_Image_Characteristics>
            <Special_Values>
                <SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
                <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX>
            </Special_Values>
            <Special_Values>
                <SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
                <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX>
            </Special_Values>
            {quantification}
            {offsets}
            <Spectral_Information_List>
                <Spectral_Information bandId="0" physicalBand="B1"><RESOLUTION>60</RESOLUTION></Spectral_Information>
            </Spectral_Information_List>
        </Product_Image_Characteristics>
    </n1:General_Info>
</n1:Level-{level}_User_Product>
"""
_TILE = """<?xml version="1.0" encoding="UTF-8" standalone="no"?>
<n1:Level-{level}_Tile_ID xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/S2_PDI_Level-{level}_Tile_Metadata.xsd">
  <n1:General_Info>
    <TILE_ID metadataLevel="Brief">S2B_OPER_MSI_L{level}_TL_2BPS_20230823T124759_A033753_T32UQV_N{baseline}</TILE_ID>
    <SENSING_TIME metadataLevel="Standard">2023-08-23T10:01:52.161Z</SENSING_TIME>
  </n1:General_Info>
  <n1:Geometric_Info>
    <Tile_Geocoding metadataLevel="Brief">
      <HORIZONTAL_CS_NAME>WGS84 / UTM zone 32N</HORIZONTAL_CS_NAME>
      <HORIZONTAL_CS_CODE>{epsg}</HORIZONTAL_CS_CODE>
      {sizes}
      {positions}
    </Tile_Geocoding>
    <Tile_Angles><Sun_Angles_Grid><Zenith><VALUES>40.1 40.2</VALUES></Zenith></Sun_Angles_Grid></Tile_Angles>
  </n1:Geometric_Info>
</n1:Level-{level}_Tile_ID>
"""


def write_sentinel2(
    folder: Path,
    level: str = "2A",
    baseline: str = "05.09",
    pixels: Mapping[str, np.ndarray] | None = None,
    *,
    date: str = "20230823",
    copies: bool = True,
) -> Path:
    """Write a ``.SAFE`` folder of 120 x 120 pixels of 10 m, as much of 20 and 60 m.

    Parameters
    ----------
    folder : Path
        Where it is made.
    level, baseline : str
        ``1C`` or ``2A``; the offsets are in products of baseline 04.00 and later.
    pixels : mapping of str to ndarray, optional
        Numbers of some bands (``B02``, ``SCL``, ``MSK_CLASSI``: three bands); others have one number each, which is
        1000 and 100 times their place in `NUMBERS`.
    date : str
        Day of sensing.
    copies : bool
        Whether level 2A has its copies with larger pixels, which hold the number 7.
    """
    number = baseline.replace(".", "")
    name = f"S2B_MSIL{level}_{date}T095559_N{number}_R122_T32UQV_{int(date) + 1}T124759.SAFE"
    granule = f"GRANULE/L{level}_T32UQV_A033753_{date}T095553"
    images = dict(_images(level, granule, date, pixels or {}, copies=copies))
    for image, values in images.items():
        write_jp2(folder / name / f"{image}.jp2", values, SIDE // values.shape[-1])
    if float(baseline) >= 4:
        classi = (pixels or {}).get("MSK_CLASSI", np.zeros((3, 20, 20), np.uint8))
        write_jp2(folder / name / granule / "QI_DATA/MSK_CLASSI_B00.jp2", classi, 60)
    write_metadata(folder / name, level, baseline, granule, list(images))
    return folder / name


def write_metadata(product: Path, level: str, baseline: str, granule: str, images: Sequence[str]) -> None:
    """Write the metadata of the product and of its granule."""
    unit = 'unit="none"'
    kind, holder = ("BOA", "BOA_ADD_OFFSET_VALUES_LIST") if level == "2A" else ("RADIO", "Radiometric_Offset_List")
    offsets = "".join(f'<{kind}_ADD_OFFSET band_id="{i}">-1000</{kind}_ADD_OFFSET>' for i in range(13))
    quantification = f"<QUANTIFICATION_VALUE {unit}>10000</QUANTIFICATION_VALUE>"
    if level == "2A":
        values = f"<BOA_QUANTIFICATION_VALUE {unit}>10000</BOA_QUANTIFICATION_VALUE>"
        values += f"<AOT_QUANTIFICATION_VALUE {unit}>1000.0</AOT_QUANTIFICATION_VALUE>"
        quantification = f"<QUANTIFICATION_VALUES_LIST>{values}</QUANTIFICATION_VALUES_LIST>"
    date = product.name.split("_")[2]
    (product / f"MTD_MSIL{level}.xml").write_text(
        _PRODUCT.format(
            date=date,
            day=f"{date[:4]}-{date[4:6]}-{date[6:8]}",
            level=level,
            baseline=baseline,
            name=product.name,
            images="".join(f"<IMAGE_FILE>{image}</IMAGE_FILE>" for image in images),
            quantification=quantification,
            offsets=f"<{holder}>{offsets}</{holder}>" if float(baseline) >= 4 else "",
        )
    )
    (product / "manifest.safe").write_text("<xfdu:XFDU/>")
    count = {size: SIDE // size for size in (10, 20, 60)}
    (product / granule / "MTD_TL.xml").write_text(
        _TILE.format(
            level=level,
            baseline=baseline,
            epsg=EPSG,
            sizes="".join(
                f'<Size resolution="{size}"><NROWS>{n}</NROWS><NCOLS>{n}</NCOLS></Size>' for size, n in count.items()
            ),
            positions="".join(
                f'<Geoposition resolution="{size}"><ULX>{LEFT}</ULX><ULY>{TOP}</ULY><XDIM>{size}</XDIM>'
                f"<YDIM>-{size}</YDIM></Geoposition>"
                for size in count
            ),
        )
    )


def _images(
    level: str, granule: str, date: str, pixels: Mapping[str, np.ndarray], *, copies: bool
) -> list[tuple[str, np.ndarray]]:
    """Images by their names in the product, without a suffix."""
    start = f"{granule}/IMG_DATA"
    numbers = [number for number in NUMBERS if level == "1C" or number != "B10"]
    own = {number: pixels.get(number, _constant(SIZES[number], 1000 + 100 * i)) for i, number in enumerate(numbers)}
    if level == "1C":
        return [(f"{start}/T32UQV_{date}T095559_{number}", values) for number, values in own.items()]
    scl = pixels.get("SCL", np.full((60, 60), 4, np.uint8))
    named = [(number, SIZES[number], values) for number, values in own.items()] + [("SCL", 20, scl)]
    if copies:
        named += [(number, 20, _constant(20, 7)) for number in ("B01", "B02", "B03", "B04")]
        named += [(number, 60, _constant(60, 7)) for number in own if SIZES[number] != 60]
        named += [("SCL", 60, np.zeros((20, 20), np.uint8))]
    return [(f"{start}/R{size}m/T32UQV_{date}T095559_{number}_{size}m", values) for number, size, values in named]


def _constant(size: int, number: int) -> np.ndarray:
    return np.full((SIDE // size, SIDE // size), number, np.uint16)


def write_jp2(path: Path, values: np.ndarray, size: int, left: float = LEFT, top: float = TOP) -> None:
    """Write a lossless JPEG 2000 of one or several bands with pixels of ``size`` metres."""
    planes = values if values.ndim == 3 else values[None]
    path.parent.mkdir(parents=True, exist_ok=True)
    count, height, width = planes.shape
    options = {"QUALITY": "100", "REVERSIBLE": "YES", "YCBCR420": "NO", "YCC": "NO"}
    with rasterio.open(
        path,
        "w",
        "JP2OpenJPEG",
        width,
        height,
        count,
        EPSG,
        Affine(size, 0, left, 0, -size, top),
        planes.dtype,
        **options,
    ) as file:
        file.write(planes)


def write_hls(folder: Path, kind: str = "S30", pixels: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a folder of HLS 2.0 of 20 x 20 pixels of 30 m.

    Parameters
    ----------
    folder : Path
        Where it is made.
    kind : str
        ``S30`` or ``L30``.
    pixels : mapping of str to ndarray, optional
        Numbers of some bands; others have one number each, which is 100 times their place.
    """
    product = folder / f"HLS.{kind}.T32UQV.2022166T100559.v2.0"
    product.mkdir(parents=True)
    numbers = NUMBERS if kind == "S30" else ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B09", "B10", "B11")
    for i, number in enumerate((*numbers, "Fmask", "SZA"), start=1):
        is_fmask, thermal = number == "Fmask", kind == "L30" and number in ("B10", "B11")
        usual = np.full((20, 20), 64 if is_fmask else 100 * i, np.uint8 if is_fmask else np.int16)
        values = (pixels or {}).get(number, usual)
        with rasterio.open(
            product / f"{product.name}.{number}.tif",
            "w",
            "GTiff",
            values.shape[-1],
            values.shape[-2],
            1,
            EPSG,
            Affine(30, 0, LEFT, 0, -30, TOP),
            values.dtype,
            nodata=255 if is_fmask else -9999,
        ) as file:
            file.write(values, 1)
            file.update_tags(SENSING_TIME="2022-06-15T10:11:37.9Z", HLS_PROCESSING_TIME="2022-06-17T00:00:00Z")
            if not is_fmask:
                file.scales, file.offsets = (0.01 if thermal or number == "SZA" else 0.0001,), (0.0,)
    return product


def zipped(product: Path, suffix: str = ".zip") -> Path:
    """Pack a folder as archives hold it: with the folder itself."""
    path = product.with_name(f"{product.name}{suffix}")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(product.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(product.parent))
    return path
