"""What an export takes from an encoder, and how it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from eo_core.arguments import one_of
from eo_core.file_state import VERIFY, Verify
from eo_embed.export.record.failures import ON_ERROR, OnError
from eo_embed.writers.formats import Format, GridFormat, grid_format
from eo_embed.writers.quantise import DType, Encoding
from eo_models.contract import GroupMerge, Pooling

Output = Literal["pooled", "grid", "both"]


@dataclass(frozen=True)
class ExportSettings:
    """What an export takes from an encoder, and how it is stored.

    Parameters
    ----------
    layers : tuple of int
        Layers of the encoder, in the order in which it returns them.
    output : {'pooled', 'grid', 'both'}
        One vector for each sample, a map of vectors, or both.
    pooling : {'mean', 'max', 'cls'}
        How a vector is made: over all patch tokens, without the class token; or the class token itself.
    group_merge : {'mean', 'sum', 'concat'}
        How the encoder makes one grid of several groups of bands. The encoder does it; here it is only described.
    l2_normalise : bool
        Scale every vector to length one.
    grid_format : {'geotiff', 'zarr', 'netcdf', 'npz'}
        File format of grids.
    dtype : {'float32', 'float16', 'int8', 'int8_alphaearth'}
        Encoding of grids; pooled vectors are float32.
    overwrite : bool
        Start again in a folder that holds another export.
    on_error : {'raise', 'skip'}
        Whether a run in which items failed ends with an error.
    verify : {'stat', 'content'}
        How a rerun tells that files are what they were: by size and times, and small ones by a digest where times
        differ; or all by a digest of their content, which reads them.
    absolute_paths : bool
        Whether manifest, tables and tags name files by their whole path. By default they are named from the root of
        the data set on, and the root by its last folder.
    take_over : bool
        Whether to go on in a folder that a run on another machine has locked and not given back.

    Raises
    ------
    ValueError
        For an unknown choice, no layer, or an encoding that the format cannot hold.
    """

    layers: tuple[int, ...] = (-1,)
    output: Output = "pooled"
    pooling: Pooling = "mean"
    group_merge: GroupMerge = "mean"
    l2_normalise: bool = False
    grid_format: GridFormat = "geotiff"
    dtype: DType = "float32"
    overwrite: bool = False
    on_error: OnError = "raise"
    verify: Verify = "stat"
    absolute_paths: bool = False
    take_over: bool = False

    def __post_init__(self) -> None:
        one_of("output", self.output, get_args(Output))
        one_of("pooling", self.pooling, get_args(Pooling))
        one_of("group_merge", self.group_merge, get_args(GroupMerge))
        one_of("on_error", self.on_error, ON_ERROR)
        one_of("verify", self.verify, VERIFY)
        grid_format(self.grid_format, self.dtype)
        if not self.layers:
            msg = "layers is empty. Name at least one, such as [-1]."
            raise ValueError(msg)

    @property
    def format(self) -> Format:
        """The file format of grids."""
        return grid_format(self.grid_format, self.dtype)

    @property
    def encoding(self) -> Encoding:
        """The encoding of grids."""
        return Encoding(self.dtype)

    @property
    def writes_vectors(self) -> bool:
        """Whether pooled vectors are exported."""
        return self.output != "grid"

    @property
    def writes_grids(self) -> bool:
        """Whether grids are exported."""
        return self.output != "pooled"

    @property
    def layer_names(self) -> tuple[str, ...]:
        """What the layers are called in files and tables; the only one of an export has no name."""
        return ("",) if len(self.layers) == 1 else tuple(f"layer_{layer}" for layer in self.layers)

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any], on_error: OnError = "raise") -> ExportSettings:
        """Return the settings of an export that was made, as far as they change the numbers.

        Parameters
        ----------
        facts : mapping
            Of its manifest, as `eo_embed.export.facts.export_facts` gives them.
        on_error : {'raise', 'skip'}
            What is to become of failed items.
        """
        told = {name: facts["task"][name] for name in cls().facts()}
        return cls(**told | {"layers": tuple(told["layers"])}, on_error=on_error)

    def facts(self) -> dict[str, Any]:
        """Return what of the settings changes the numbers, under the names of the task's arguments."""
        return {
            "layers": list(self.layers),
            "output": self.output,
            "pooling": self.pooling,
            "group_merge": self.group_merge,
            "l2_normalise": self.l2_normalise,
            "grid_format": self.grid_format,
            "dtype": self.dtype,
        }

    def stac(self, dimensions: int, gsd: float) -> dict[str, Any]:
        """Return the fields of the STAC embedding extension that describe the export.

        Parameters
        ----------
        dimensions : int
            Numbers in a vector; 0 if nothing was exported by this run.
        gsd : float
            Side of a grid cell in metres; 0 if unknown.
        """
        described = self.facts()
        stac: dict[str, Any] = {
            "emb:type": "pixel" if self.writes_grids else "chip",
            "data_type": self.encoding.storage if self.writes_grids else "float32",
            "emb:runtime_parameters": {
                key: described[key] for key in ("layers", "pooling", "group_merge", "l2_normalise")
            },
        }
        if dimensions:
            stac["emb:dimensions"] = dimensions
        if gsd:
            stac["gsd"] = round(gsd, 3)
        method = self.encoding.quantization_method
        if method and self.writes_grids:
            stac["emb:quantization"] = {
                "method": method,
                "original_dtype": "float32",
                "quantized_dtype": self.encoding.storage,
            }
        return stac
