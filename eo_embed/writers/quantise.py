"""Smaller numbers for embeddings: float16, int8 with one scale per band, and AlphaEarth's int8.

In memory NaN is the no-data of every embedding; in a file it is what :class:`Encoded` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

import numpy as np

from eo_core.arguments import one_of

DType = Literal["float32", "float16", "int8", "int8_alphaearth"]
DTYPES: tuple[DType, ...] = get_args(DType)
#: No-data of both int8 encodings, so that values are -127..127 and symmetric.
INT8_NODATA = -128
_INT8_MAX = 127
#: AlphaEarth's de-quantisation is sign(q) * (|q| / 127.5) ** 2 (Earth Engine data set GOOGLE/SATELLITE_EMBEDDING/V1).
_ALPHAEARTH_SCALE = 127.5
#: Vectors shorter than this are not scaled up to length one.
_SHORTEST = 1e-12
#: How far the length of a vector may be from 1; bfloat16 rounds to 0.4 %.
_UNIT_TOLERANCE = 0.01


class Encoded(NamedTuple):
    """What goes into a file.

    Attributes
    ----------
    array : numpy.ndarray
        As ``Encoding.storage`` says, the shape of the input.
    scale : numpy.ndarray or None
        Float64 ``(D,)``: value = scale * stored number; ``None`` where there is none.
    nodata : float
        The stored number that means no-data; NaN for floats.
    """

    array: np.ndarray
    scale: np.ndarray | None
    nodata: float


@dataclass(frozen=True)
class Encoding:
    """How embeddings are stored.

    Parameters
    ----------
    dtype : {'float32', 'float16', 'int8', 'int8_alphaearth'}
        ``float32``; ``float16`` (relative error up to 2 ** -11, values up to 65504); ``int8`` (one scale per band and
        file, error up to half a scale); ``int8_alphaearth`` (vectors of unit length, error up to
        ``(sqrt(|x|) + 0.002) / 127.5``).

    Raises
    ------
    ValueError
        For another dtype.
    """

    dtype: DType = "float32"

    def __post_init__(self) -> None:
        one_of("dtype", self.dtype, DTYPES)

    @classmethod
    def named(cls, dtype: str) -> Encoding:
        """Return the encoding that a file names.

        Raises
        ------
        ValueError
            For another dtype.
        """
        return cls(cast("DType", dtype))

    @property
    def storage(self) -> str:
        """Name of the NumPy dtype in the file."""
        return self.dtype.removesuffix("_alphaearth")

    @property
    def quantization_method(self) -> str | None:
        """What the STAC embedding extension calls the quantisation; ``None`` for floats."""
        return {"int8": "linear", "int8_alphaearth": "sqrt_scale"}.get(self.dtype)

    @property
    def nodata(self) -> float:
        """The stored number that means no-data."""
        return INT8_NODATA if self.storage == "int8" else float("nan")

    def encode(self, values: np.ndarray, scale: np.ndarray | None = None) -> Encoded:
        """Encode one embedding, or a part of one.

        Parameters
        ----------
        values : numpy.ndarray
            Float32, ``(D,)`` or ``(D, h, w)``; NaN is no-data.
        scale : numpy.ndarray or None
            ``(D,)`` by `band_scale`, for a part of what ``int8`` gives one scale; else it is that of the values.

        Raises
        ------
        ValueError
            For infinite values, values that float16 cannot hold, or vectors that AlphaEarth's encoding cannot.
        """
        if np.isinf(values).any():
            msg = "Expected finite embeddings or NaN, got infinite ones. Run the backbone with precision: 32."
            raise ValueError(msg)
        if self.dtype == "float32":
            return Encoded(values.astype(np.float32, copy=False), None, self.nodata)
        if self.dtype == "float16":
            return Encoded(_as_float16(values), None, self.nodata)
        if self.dtype == "int8":
            if scale is None:
                scale = band_scale(largest_of_bands(values))
            return Encoded(_as_int8(values / _along_bands(scale, values.ndim)), scale, self.nodata)
        _check_unit_length(values)
        return Encoded(_as_int8(np.sign(values) * np.sqrt(np.abs(values)) * _ALPHAEARTH_SCALE), None, self.nodata)

    def decode(self, array: np.ndarray, scale: np.ndarray | None = None) -> np.ndarray:
        """Return float32 with NaN as no-data from what a file holds.

        Parameters
        ----------
        array : numpy.ndarray
            ``(D,)`` or ``(D, h, w)`` as stored.
        scale : numpy.ndarray or None
            ``(D,)``; needed for ``int8``.

        Raises
        ------
        ValueError
            If the array has another dtype, or ``int8`` comes without a scale per band.
        """
        if array.dtype != np.dtype(self.storage):
            msg = f"{self.dtype} is stored as {self.storage}, got {array.dtype}."
            raise ValueError(msg)
        if self.storage != "int8":
            return array.astype(np.float32, copy=False)
        numbers = array.astype(np.float64)
        if self.dtype == "int8":
            if scale is None or np.shape(scale) != array.shape[:1]:
                got = "none" if scale is None else f"shape {np.shape(scale)}"
                msg = f"int8 needs one scale for each of {len(array)} bands, got {got}."
                raise ValueError(msg)
            numbers *= _along_bands(np.asarray(scale, np.float64), array.ndim)
        else:
            numbers = np.sign(numbers) * (numbers / _ALPHAEARTH_SCALE) ** 2
        return np.where(array == INT8_NODATA, np.nan, numbers).astype(np.float32)


def _along_bands(scale: np.ndarray, ndim: int) -> np.ndarray:
    return scale.reshape(-1, *[1] * (ndim - 1))


def largest_of_bands(values: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of each band, float64 ``(D,)``; zero without data."""
    largest: np.ndarray = np.nan_to_num(np.abs(values.reshape(len(values), -1))).max(axis=1).astype(np.float64)
    return largest


def band_scale(largest: np.ndarray) -> np.ndarray:
    """Return the scale of each band: its largest magnitude over 127; 1 for bands of zeros, which need none."""
    return np.where(largest > 0, largest / _INT8_MAX, 1.0)


def int8_of_cells(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors as int8 with one scale for each cell: value = stored number * scale.

    Parameters
    ----------
    values : numpy.ndarray
        Float32 ``(D, h, w)``, finite; a cell with a NaN has no data.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Int8 ``(D, h, w)``, -128 without data, and float32 ``(h, w)``: the largest magnitude over 127, 1 for vectors of
        zeros, positive infinity without data. The error is up to half a scale.
    """
    largest = np.abs(values).max(axis=0).astype(np.float64)
    scale = np.where(largest > 0, np.maximum(largest / _INT8_MAX, np.finfo(np.float32).tiny), 1.0).astype(np.float32)
    empty = np.isnan(largest)
    with np.errstate(invalid="ignore"):
        stored = _as_int8(np.where(empty, np.nan, values / scale))
    return stored, np.where(empty, np.float32(np.inf), scale)


def _as_int8(numbers: np.ndarray) -> np.ndarray:
    rounded = np.clip(np.rint(numbers), -_INT8_MAX, _INT8_MAX)
    return np.where(np.isnan(rounded), INT8_NODATA, rounded).astype(np.int8)


def _as_float16(values: np.ndarray) -> np.ndarray:
    most = float(np.finfo(np.float16).max)
    largest = float(np.nan_to_num(np.abs(values)).max(initial=0.0))
    if largest > most:
        msg = f"float16 holds values up to {most:.0f}, got {largest:.6g}. Use dtype float32 or int8."
        raise ValueError(msg)
    return values.astype(np.float16)


def of_length_one(vectors: np.ndarray) -> np.ndarray:
    """Return vectors ``(D, ...)`` scaled to length one along the first axis."""
    scaled: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=0), _SHORTEST)
    return scaled


def _check_unit_length(values: np.ndarray) -> None:
    """Refuse other lengths than 1; positions without data have none (NaN compares as false)."""
    length = np.sqrt(np.sum(np.square(values, dtype=np.float64), axis=0))
    if np.any(np.abs(length - 1) > _UNIT_TOLERANCE):
        msg = (
            f"int8_alphaearth is for vectors of length 1, got lengths from {np.nanmin(length):.4g} to "
            f"{np.nanmax(length):.4g}. Set l2_normalise: true, or use dtype int8."
        )
        raise ValueError(msg)
