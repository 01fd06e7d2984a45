"""Where the files of a modality are and what their numbers mean, as a config states it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Literal, get_args

from eo_core.arguments import one_of
from eo_core.fingerprint import LATER
from eo_data.catalog.patterns.file_pattern import FilePattern
from eo_data.sensors.quality_names import CloudKind, check_name
from eo_data.sensors.tables import SENSORS, Band, Sensor
from eo_data.sensors.units import InputUnit, UnitConversion, as_unit
from eo_data.temporal.calendar_date import date_text

#: What labels are, and what is learned from them.
Task = Literal["segmentation", "regression", "classification"]
#: How values between pixels are found when an image is brought to another grid.
ResamplingName = Literal["bilinear", "nearest", "cubic", "average"]
#: Whether scale and offset that a file states count.
FileScaling = Literal["check", "ignore"]


@dataclass(frozen=True)
class ImageSource:
    """One modality of a data set.

    Parameters
    ----------
    files : str
        See `FilePattern`. GeoTIFF and what else GDAL reads, NetCDF (``.nc``), Zarr (``.zarr``), HDF5 (``.h5``),
        NumPy (``.npy``, without georeference), and products as the agencies ship them, such as ``{id}.SAFE``. Empty
        when an index lists the files.
    bands : sequence of str
        The bands to hand on, by name, in this order.
    sensor : str, optional
        Key of `eo_data.sensors.tables.SENSORS`, by which spellings of band names and their units are known. Without it
        names must be literally those of the file, and values stay in their unit.
    file_bands : sequence of str, optional
        Names of the bands in file order, where the file does not name them. ``-`` for a band without a name.
    substitutes : mapping of str to str
        For a band that the files do not have, the band to read instead. The export records it.
    unit : InputUnit
        What the stored numbers are.
    scale, offset
        Physical value = (digital number + offset) * scale. What is not stated comes from the file (tags, attributes,
        metadata beside it) or from its product; of Sentinel-2 the scale is 0.0001. What is stated must agree with the
        file. A Sentinel-2 product whose name or metadata has an offset is an error as long as none is stated; the
        offset ``auto`` takes it from there: -1000 of processing baseline 04.00 and later.
    file_scaling : {'check', 'ignore'}
        Whether scale and offset in the file count. ``ignore`` is for tags that are wrong.
    formula : str, optional
        Named conversion from digital numbers that is not linear, see `eo_data.sensors.units`.
    target_unit : InputUnit, optional
        What the encoder gets; the unit of the sensor by default (reflectance, dB, kelvin).
    nodata : float, optional
        Value of missing pixels, instead of the one that the file states.
    pixel_size : float, optional
        Nominal pixel size in metres: what the encoder takes for granted. By default the smallest GSD of the bands;
        a georeference that contradicts it is an error.
    crs : str, optional
        CRS of files that have a transform but state none: ``EPSG:32633`` or WKT. Must agree with files that do.
        Products of which only points or coordinates of the pixels say where they lie are brought to it; without, to
        the local UTM zone.
    resample_to : float, optional
        Bring all bands to a grid of this pixel size, in the unit of the CRS, when the file is read. Without it, bands
        of a product come to the finest grid among them.
    resampling : {'bilinear', 'nearest', 'cubic', 'average'}
        How values between pixels are found then.
    dated : bool
        Whether the encoder needs a date. A sample without one is an error unless ``fallback_date`` is set.
    date_pattern, date_format : str, optional
        Regular expression for the date in a path, see `eo_data.temporal.dates.date_from_name`.
    date_index : str, optional
        File below the root with a date per sample or per file: CSV, JSON or GeoJSON, see
        `eo_data.catalog.date_index.dates_from_index`, or the file of dates of a known data set.
    fallback_date : str or date, optional
        Date for samples without one, recorded per sample.
    variables : str, optional
        NetCDF and Zarr: name of the variable of a band such as ``S2-L2A-{band}``.
    dataset, products : str, optional
        HDF5: names of the array ``(T, C, H, W)`` or ``(C, H, W)`` and of the list of product names of its frames.
    cloud_band : str, optional
        Band of the files that tells clouds; their pixels count as missing.
    cloud_kind : {'scl', 'qa_pixel', 'fmask', 'qa60', 'msk_classi', 'probability', 'mask'}
        What that band holds, see `eo_data.sensors.quality.clear_mask`: Sentinel-2's scene classification, Landsat
        Collection 2 ``QA_PIXEL``, ``Fmask`` of HLS 2.0, Sentinel-2 L1C ``QA60`` or ``MSK_CLASSI``, a cloud probability
        in percent, or a mask that is 0 where it is clear. A band whose name says something else is refused.
    remove_noise : bool
        Subtract the thermal noise that a radar product states (Sentinel-1 GRD) before it becomes backscatter. Files
        that state none are refused.
    static : bool
        In a data module of series: the modality is a single image without a time axis, such as an aerial one.
    optional : bool
        Whether samples may be without this modality.

    Raises
    ------
    ValueError
        If a value makes no sense; the message names the valid ones.
    """

    files: str = ""
    bands: Sequence[str] = ()
    sensor: str | None = None
    file_bands: Sequence[str] | None = None
    substitutes: Mapping[str, str] = field(default_factory=dict)
    unit: InputUnit | str = InputUnit.REFLECTANCE
    scale: float | None = None
    offset: float | str | None = None
    formula: str | None = None
    target_unit: InputUnit | str | None = None
    nodata: float | None = None
    pixel_size: float | None = None
    resample_to: float | None = None
    resampling: ResamplingName = "bilinear"
    dated: bool = False
    date_pattern: str | None = None
    date_format: str | None = None
    date_index: str | None = None
    fallback_date: str | date | None = None
    variables: str | None = None
    dataset: str | None = None
    products: str | None = None
    cloud_band: str | None = None
    cloud_kind: CloudKind = "scl"
    static: bool = False
    optional: bool = False
    file_scaling: FileScaling = field(default="check", metadata=LATER)
    crs: str | None = field(default=None, metadata=LATER)
    remove_noise: bool = field(default=False, metadata=LATER)

    def __post_init__(self) -> None:
        """Check what can be checked without a file."""
        if not self.bands or isinstance(self.bands, str):
            msg = f"bands must list the bands to read by name, such as [BLUE, GREEN, RED], got {self.bands!r}."
            raise ValueError(msg)
        if self.sensor is not None and self.sensor not in SENSORS:
            msg = f"Unknown sensor {self.sensor!r}. Valid: {', '.join(SENSORS)}, or none for literal band names."
            raise ValueError(msg)
        # Configs spell units by value (digital_number), for which the command line needs the type str.
        object.__setattr__(self, "unit", as_unit(self.unit))
        if self.target_unit is not None:
            object.__setattr__(self, "target_unit", as_unit(self.target_unit))
        if isinstance(self.offset, str) and self.offset != "auto":
            msg = f"offset must be a number of digital numbers, such as -1000, or 'auto', got {self.offset!r}."
            raise ValueError(msg)
        one_of("resampling", self.resampling, get_args(ResamplingName))
        UnitConversion(
            as_unit(self.unit),
            1.0 if self.scale is None else self.scale,
            0.0 if isinstance(self.offset, str) or self.offset is None else self.offset,
            self.formula,
        )
        one_of("file_scaling", self.file_scaling, get_args(FileScaling))
        one_of("cloud_kind", self.cloud_kind, get_args(CloudKind))
        if self.cloud_band is not None:
            check_name(self.cloud_band, self.cloud_kind)
        if self.fallback_date is not None:
            # YAML makes a date of one without quotes.
            object.__setattr__(self, "fallback_date", date_text(self.fallback_date))
        for name, value in (("pixel_size", self.pixel_size), ("resample_to", self.resample_to)):
            if value is not None and not value > 0:
                msg = f"{name} must be positive, got {value!r}."
                raise ValueError(msg)
        if self.files:
            FilePattern(self.files)

    def with_bands(self, bands: Sequence[str]) -> ImageSource:
        """Return the source of other bands of the same files."""
        return replace(self, bands=list(bands))

    @property
    def spellings(self) -> frozenset[str]:
        """All names that a band of the files may have: those of the config, and all names and aliases of the sensor."""
        own = {*self.bands, *(self.file_bands or ()), *self.substitutes.values()} | ({self.cloud_band} - {None})
        table = self.table.bands if self.table else ()
        return frozenset({str(name) for name in own} | {name for band in table for name in (band.name, *band.aliases)})

    @property
    def table(self) -> Sensor | None:
        """The sensor's table."""
        return None if self.sensor is None else SENSORS[self.sensor]

    @property
    def known_bands(self) -> list[Band]:
        """What the sensor's table says of the bands, without those that it does not know."""
        names = [] if self.table is None else [self.table.canonical(band) for band in self.bands]
        return [band for name in names for band in (self.table.bands if self.table else ()) if band.name == name]

    @property
    def is_radar(self) -> bool:
        """Whether the sensor is a radar."""
        return self.table is not None and self.table.radar


@dataclass(frozen=True)
class LabelSource:
    """The labels of a data set.

    Parameters
    ----------
    files : str
        Pattern of label rasters, see `FilePattern`; they are joined to images by ``{id}``. Empty when an index has
        the labels.
    classes : int, optional
        Segmentation and classification: number of classes; other values are an error.
    ignore : sequence of float
        Values that mean "no label"; they become -1, the ``ignore_index`` of the configs, as does the file's no-data.
    remap : mapping of int to int
        The class for each value in the file.
    layer : int, optional
        Number of the band or layer that holds the label, counted from 0; needed where the files have several.
    nodata : float, optional
        Value of pixels without a label, instead of the one that the file states; ``.nan`` if no value is one. Needed
        where a file states a class as its no-data.
    """

    files: str = ""
    classes: int | None = None
    ignore: Sequence[float] = (-1,)
    remap: Mapping[int, int] = field(default_factory=dict)
    layer: int | None = None
    nodata: float | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        if self.classes is not None and self.classes < 2:
            msg = f"classes must be at least 2, got {self.classes!r}."
            raise ValueError(msg)
        if self.layer is not None and self.layer < 0:
            msg = f"layer counts the layers of a label file from 0, got {self.layer!r}."
            raise ValueError(msg)
        if self.files and not FilePattern(self.files).by_id:
            msg = f"The pattern of the labels must hold {{id}}, by which they join the images, got {self.files!r}."
            raise ValueError(msg)
