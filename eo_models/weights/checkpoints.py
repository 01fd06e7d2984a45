"""Checkpoint files: fetch, read safely, match against a module, and say what was loaded.

Knows files and key sets, no encoder. A weight that is missing or misshapen is an error, never a random tensor.
"""

from __future__ import annotations

import hashlib
import logging
import re
import zipfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from eo_models.weights.lora import merge_adapters

logger = logging.getLogger(__name__)


class CheckpointError(ValueError):
    """A checkpoint cannot be found, read, or does not fit the model."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the keys of a checkpoint.

    Parameters
    ----------
    source : str
        File that was read.
    prefix : str
        Prefix under which the encoder's keys stand in the file.
    loaded : tuple of str
        Keys of the module that got their value from the file.
    ignored : tuple of str
        Keys of the file that belong to other parts (decoder, head, optimiser copies) or to ignore patterns.
    missing : tuple of str
        Keys of the module that are not in the file and need not be, because a formula gives their values.
    unexpected : tuple of str
        Keys under the prefix that the module does not have.
    """

    source: str
    prefix: str
    loaded: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        counts = (("loaded", self.loaded), ("ignored", self.ignored))
        text = ", ".join(f"{len(keys)} {name}" for name, keys in counts)
        for name, keys in (("missing (given by formula)", self.missing), ("unexpected", self.unexpected)):
            text += f", {len(keys)} {name}" + (f" ({_some(keys)})" if keys else "")
        return f"{self.source} [prefix {self.prefix!r}]: {text}"


def _some(keys: Sequence[str], count: int = 3) -> str:
    return ", ".join(keys[:count]) + (", ..." if len(keys) > count else "")


def fetch_from_hub(repo_id: str, filename: str, revision: str | None = None) -> Path:
    """Return the path of a file of a Hugging Face repository, from the local cache if it is there.

    ``HF_HUB_OFFLINE`` and the cache folders of ``huggingface_hub`` are respected.

    Parameters
    ----------
    repo_id, filename : str
        Repository and file.
    revision : str, optional
        Branch, tag or commit; a commit makes a run reproducible. Defaults to the main branch.

    Raises
    ------
    CheckpointError
        If the file is not in the cache and cannot be downloaded.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415  (only needed for a download)
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision, local_files_only=True))
    except LocalEntryNotFoundError:
        logger.info("%s of %s is not in the local cache, downloading it.", filename, repo_id)
    try:
        return Path(hf_hub_download(repo_id, filename, revision=revision))
    except (OSError, HfHubHTTPError) as error:
        msg = (
            f"The pretrained weights {filename!r} of Hugging Face repository {repo_id!r} are not in the local cache "
            f"and could not be downloaded ({type(error).__name__}). Connect to the network once, or copy the file "
            "here and give its path as `ckpt`, or ask for random weights with `pretrained: false`."
        )
        raise CheckpointError(msg) from error


def read_tensors(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a file of named tensors to the CPU without running code from it.

    Parameters
    ----------
    path : str or Path
        ``.safetensors``, or a file of ``torch.save`` with a state dict, alone or under the key ``state_dict``
        (Lightning and TerraTorch checkpoints). LoRA in a checkpoint of TerraTorch is merged into the weights.

    Raises
    ------
    CheckpointError
        If the file is missing, truncated, not safe to load, holds no named tensors, or adapters that cannot be merged.
    """
    file, content = read_file(path)
    arguments = None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content, arguments = content["state_dict"], content.get("hyper_parameters")
    if not isinstance(content, Mapping) or not any(isinstance(v, torch.Tensor) for v in content.values()):
        msg = (
            f"{str(file)!r} is no checkpoint: expected named tensors, alone or under 'state_dict', "
            f"got {_describe(content)}."
        )
        raise CheckpointError(msg)
    tensors = {str(key): value for key, value in content.items() if isinstance(value, torch.Tensor)}
    try:
        return merge_adapters(tensors, arguments if isinstance(arguments, Mapping) else None)
    except (ValueError, RuntimeError, TypeError, ArithmeticError) as error:
        msg = (
            f"The adapters (PEFT) in {str(file)!r} cannot be merged: {error}. Merge them before you save: "
            "`task.model.encoder.merge_and_unload()`, then save the state dict of what it returns."
        )
        raise CheckpointError(msg) from error


def read_file(path: str | Path, *, mapped: bool = True) -> tuple[Path, object]:
    """Return a checkpoint's path and content, read without running code from it.

    Parameters
    ----------
    path : str or Path
        The file.
    mapped : bool
        Whether tensors may stay in the file until they are used, which saves memory. The file must not change then.

    Raises
    ------
    CheckpointError
        If it is missing, truncated or not safe to load.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        msg = f"Checkpoint {str(path)!r} does not exist or is no file (looked for {str(file.absolute())!r})."
        raise CheckpointError(msg)
    return file, _read_safetensors(file) if file.suffix == ".safetensors" else _read_torch(file, mapped)


def _describe(content: object) -> str:
    if isinstance(content, Mapping):
        return f"a mapping with keys {_some([repr(key) for key in content], 5) or '(none)'}"
    return f"an object of type {type(content).__name__}"


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        return load_file(file)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        msg = f"{str(file)!r} cannot be read as safetensors, it may be truncated: {error}. Copy or download it again."
        raise CheckpointError(msg) from error


def _read_torch(file: Path, mapped: bool) -> object:  # noqa: FBT001
    try:
        zipped = zipfile.is_zipfile(file)
        if zipped:
            compare_checksums(file)
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mapped and zipped)
    except Exception as error:  # a damaged pickle can raise anything
        first_line = str(error).strip().partition("\n")[0]
        msg = (
            f"{str(file)!r} ({file.stat().st_size} bytes) is no checkpoint that can be loaded safely: it is truncated "
            "or damaged, or a pickle with objects other than tensors and plain values, which may run code when opened. "
            f"Copy or download it again, or save its state dict alone. Reader: {type(error).__name__}: {first_line}"
        )
        raise CheckpointError(msg) from error


def compare_checksums(file: Path) -> None:
    """Refuse a file of ``torch.save`` in which bits have changed; PyTorch itself does not look.

    A file without checksums (`torch.serialization.set_crc32_options`) has none that fits.

    Raises
    ------
    ValueError
        If some records fit their checksums and others do not.
    """
    fit, damaged = 0, []
    with zipfile.ZipFile(file) as records:
        for name in records.namelist():
            try:
                with records.open(name) as record:
                    while record.read(1 << 20):
                        pass
                fit += 1
            except zipfile.BadZipFile:
                damaged.append(name)
    if fit and damaged:
        msg = f"the checksum of {_some(damaged)} is not that of its content"
        raise ValueError(msg)


def find_prefix(keys: Iterable[str], anchor: str, wanted: str, default: str) -> str:
    """Find the prefix under which an encoder stands in a checkpoint.

    Parameters
    ----------
    keys : iterable of str
        Keys of the file.
    anchor : str
        A key that every such encoder has.
    wanted : str
        Name that the user gave, without the final dot.
    default : str
        The name that counts as not given: then any single occurrence will do.

    Raises
    ------
    CheckpointError
        If there is no occurrence, several, or not the one that the user named.
    """
    found = [key[: -len(anchor)] for key in keys if key == anchor or key.endswith("." + anchor)]
    if f"{wanted}." in found:
        return f"{wanted}."
    if not found:
        msg = f"no key ends in {anchor!r}, so this is no checkpoint of this encoder (first keys: {_some(list(keys))})"
        raise CheckpointError(msg)
    if wanted != default or len(found) > 1:
        msg = f"there is no encoder under {wanted!r}; the file has one under each of: {', '.join(map(repr, found))}"
        raise CheckpointError(msg)
    return found[0]


def load_strictly(
    module: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: str,
    prefix: str,
    ignore: Sequence[str] = (),
    given_by_formula: Sequence[str] = (),
) -> LoadReport:
    """Load the tensors under a prefix into a module; nothing is changed unless everything fits.

    Parameters
    ----------
    module : nn.Module
        The encoder.
    tensors : mapping of str to Tensor
        Content of the file.
    source, prefix : str
        Where the tensors come from, for the report.
    ignore : sequence of str
        Regular expressions, matched at the start of a key behind the prefix.
    given_by_formula : sequence of str
        Regular expressions of module keys that a file need not hold.

    Raises
    ------
    CheckpointError
        If a weight is missing, has another shape, or is no plain tensor of finite numbers.
    """
    own = module.state_dict()
    report = _sort_keys(own, tensors, source, prefix, ignore)
    usable = {key: tensors[prefix + key] for key in report.loaded}
    _refuse_what_does_not_fit(own, usable, [key for key in report.missing if not _matches(key, given_by_formula)])
    module.load_state_dict(usable, strict=False)
    logger.log(logging.WARNING if report.unexpected else logging.INFO, "Loaded %s", report)
    return report


def _sort_keys(
    own: Iterable[str], given: Collection[str], source: str, prefix: str, ignore: Sequence[str]
) -> LoadReport:
    """Say what becomes of each key of the module, and of each key of the file."""
    wanted = {prefix + key: key for key in own}
    outside = [key for key in given if not key.startswith(prefix)]
    surplus = [key for key in given if key.startswith(prefix) and key not in wanted]
    ignored = sorted(key for key in surplus if _matches(key[len(prefix) :], ignore))
    return LoadReport(
        source,
        prefix,
        loaded=tuple(key for full, key in wanted.items() if full in given),
        ignored=(*outside, *ignored),
        missing=tuple(key for full, key in wanted.items() if full not in given),
        unexpected=tuple(key for key in surplus if key not in ignored),
    )


def _refuse_what_does_not_fit(
    own: Mapping[str, torch.Tensor], usable: Mapping[str, torch.Tensor], missing: Sequence[str]
) -> None:
    if missing:
        msg = f"{len(missing)} of {len(own)} weights are missing: {_some(missing)}"
        raise CheckpointError(msg)
    wrong = [
        f"{key} is {tuple(value.shape)}, expected {tuple(own[key].shape)}"
        for key, value in usable.items()
        if value.shape != own[key].shape
    ]
    if wrong:
        msg = f"{len(wrong)} weights have another shape: {_some(wrong)}"
        raise CheckpointError(msg)
    refuse_what_is_no_number(own, usable)


def refuse_what_is_no_number(own: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> None:
    """Refuse tensors that do not become finite numbers in the place of a module's own ones.

    Parameters
    ----------
    own : mapping of str to Tensor
        State of the module.
    given : mapping of str to Tensor
        What is to be copied into it; keys that the module does not have are not looked at.

    Raises
    ------
    CheckpointError
        For integers, truth values and complex numbers in the place of floating-point ones (quantised weights look so),
        for tensors that are sparse, quantised or without values (meta), and for NaN and infinity, also those that only
        the conversion to the module's type makes.
    """
    pairs = {key: (value, own[key]) for key, value in given.items() if key in own}
    strange = [f"{key} is {kind}" for key, (value, place) in pairs.items() if (kind := _strange_kind(value, place))]
    if strange:
        msg = (
            f"{len(strange)} weights are no plain floating-point tensors: {_some(strange)}. Save them as such, for "
            "example `{name: tensor.dequantize() ...}`, `.to_dense()`, `.real`, `.float()`"
        )
        raise CheckpointError(msg)
    spoilt = [key for key, (value, place) in pairs.items() if not torch.isfinite(value.to(place.dtype)).all()]
    if spoilt:
        msg = f"{len(spoilt)} weights hold NaN or infinity: {_some(spoilt)} (as {own[spoilt[0]].dtype})"
        raise CheckpointError(msg)


def _strange_kind(value: torch.Tensor, place: torch.Tensor) -> str | None:
    """Say what is wrong with a tensor for a place in a module; ``None`` if nothing is."""
    if value.is_meta:
        return "on the device meta, without values"
    if value.is_quantized or value.layout != torch.strided or value.is_nested:
        return "quantised" if value.is_quantized else "nested" if value.is_nested else str(value.layout)
    if place.is_floating_point() and not value.is_floating_point():
        return str(value.dtype)
    if not place.is_floating_point() and value.dtype != place.dtype and not (value.to(place.dtype) == value).all():
        return f"{value.dtype}, where {place.dtype} belongs"
    return None


def _matches(key: str, patterns: Sequence[str]) -> bool:
    return any(re.match(pattern, key) for pattern in patterns)


def sha256_of_weights(module: nn.Module) -> str:
    """SHA-256 of the names and values in a module: random weights differ from run to run, and this shows it."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
