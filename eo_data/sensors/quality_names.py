"""Quality layers by their names: what a layer called ``Fmask`` or ``SCL_20m`` holds.

Names that mean several things say nothing: ``pixel_qa`` has other bits in Landsat's Collection 1 and in other archives,
``CFMask`` has classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

#: What a quality layer holds, see `eo_data.sensors.quality.clear_mask`.
CloudKind = Literal["scl", "qa_pixel", "fmask", "qa60", "msk_classi", "probability", "mask"]

#: Words of a name, joined by ``_``, by which products and archives call a layer of this kind: ESA, USGS, LP DAAC,
#: the catalogues of Google Earth Engine and Sentinel Hub, STAC.
_NAMES: Mapping[CloudKind, str] = MappingProxyType(
    {
        "scl": r"scl|scene_class(ification)?(_map|_layer)?",
        "qa_pixel": r"qa_pixel",
        "fmask": r"fmask",
        "qa60": r"qa60",
        "msk_classi": r"msk_classi(_[a-z0-9]+)*",
        "probability": r"(msk_)?cldprb|cld|clp|cloud_prob(ability|abilities)?|s2cloudless",
        "mask": r"clm|cloud_?mask",
    }
)
#: A word that says that a layer was made of another one: ``SCL_mask`` holds no classes any more.
_DERIVED = re.compile(r"(?<![a-z])masks?(?![a-z])")
#: The band of MSK_CLASSI that shows snow and ice, and no clouds.
_SNOW = re.compile(r"snow|ice(?![a-z])")


def kind_of_name(name: str) -> CloudKind | None:
    """Return the kind that a quality layer is by its name, or ``None`` if the name does not tell.

    Case, separators and further words do not matter: ``Fmask``, ``S2-L2A-SCL``, ``LC09_..._QA_PIXEL``. A name of
    several kinds, or of one with the word ``mask`` beside it (``SCL_mask``), does not tell.

    Parameters
    ----------
    name : str
        Name of a band, a variable or a file; of a path, the last part.
    """
    words = _words(name)
    found: list[CloudKind] = [
        kind for kind, names in _NAMES.items() if re.search(rf"(?<![a-z0-9])(?:{names})(?![a-z0-9])", words)
    ]
    if len(found) != 1 or (found[0] != "mask" and _DERIVED.search(words.replace("_", " "))):
        return None
    return found[0]


def check_name(name: str, kind: str) -> None:
    """Refuse a quality layer whose name contradicts its kind.

    Parameters
    ----------
    name : str
        Name of the layer.
    kind : str
        What the config says that it holds.

    Raises
    ------
    ValueError
        If the name is that of another kind, or of a layer that shows no clouds; the message says what to set.
    """
    named = kind_of_name(name)
    if named is not None and named != kind:
        msg = (
            f"The layer {name!r} is {_MEANING[named]} by its name, but cloud_kind is {kind!r}, which reads it as "
            f"{_MEANING.get(kind, 'something else')}. Set cloud_kind: {named}; if it holds "
            "something else, give it another name."
        )
        raise ValueError(msg)
    if kind == "msk_classi" and named == kind and _SNOW.search(_words(name).replace("_", " ")):
        msg = (
            f"The layer {name!r} shows snow and ice, and no clouds. Take the band of opaque clouds (MSK_CLASSI_OPAQUE) "
            "or of cirrus (MSK_CLASSI_CIRRUS) as the cloud band."
        )
        raise ValueError(msg)


#: What each kind is, for messages.
_MEANING: Mapping[str, str] = MappingProxyType(
    {
        "scl": "a Sentinel-2 scene classification (SCL)",
        "qa_pixel": "Landsat's QA_PIXEL",
        "fmask": "the Fmask of HLS 2.0",
        "qa60": "Sentinel-2's QA60",
        "msk_classi": "Sentinel-2's MSK_CLASSI",
        "probability": "a cloud probability",
        "mask": "a mask (0 = clear)",
    }
)


def _words(name: str) -> str:
    last = re.split(r"[\\/]", name.strip().lower().rstrip("\\/"))[-1]
    return re.sub(r"[^a-z0-9]+", "_", last).strip("_")
