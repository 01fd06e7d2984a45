"""What is wrong with a config, as far as its text and the sources of the classes show it: a second instead of 20.

Refused is only what would fail for certain. All else is left to TerraTorch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eo_cli.run.settings import ConfigError, Settings
from eo_cli.run.sources import Found, arguments_of, find_class, module_of, submodules
from eo_core.text import did_you_mean

#: What TerraTorch's command line knows at the top of a config.
_TOP = (
    "ckpt_path", "custom_modules_path", "data", "deploy_config_file", "lr_scheduler", "model", "optimizer",
    "out_dtype", "output_file_prefix", "predict_output_dir", "return_predictions", "seed_everything", "trainer",
    "verbose", "weights_only",
)  # fmt: skip
_TRAINER = "lightning.pytorch.trainer.trainer.Trainer"
#: Where TerraTorch finds classes that are named without their module.
_SHORT = ("terratorch.tasks", "terratorch.datamodules", "lightning.pytorch.callbacks", "lightning.pytorch.loggers")
#: How near an unknown name must be to a known one to be taken for a slip; others may be of a later version.
_A_SLIP = 0.8
#: Beginnings of arguments of data modules that an action reads.
_READ: Mapping[str, Sequence[str]] = {
    "fit": ("train_", "val_"),
    "validate": ("val_",),
    "test": ("test_",),
    "predict": ("predict_",),
}
_NAMED_CHECKPOINTS = ("best", "last", "hpc")
#: Tasks that are of no use before they have learned; others may bring all weights with them.
_LEARNING = (
    "ClassificationTask", "EmbeddingClassificationTask", "EmbeddingDecodingTask", "MultiLabelClassificationTask",
    "ObjectDetectionTask", "PixelwiseRegressionTask", "ScalarRegressionTask", "SemanticSegmentationTask",
)  # fmt: skip
_SCORES = ("test", "validate")
_OUR_DATA = "eo_data.datamodules."
#: Addresses, and patterns of names.
_MAY_BE_ELSEWHERE = re.compile(r"://|[*?\[{]")


def check_settings(settings: Settings, *, untrained: bool = False) -> None:
    """Check names, classes, their arguments, and files.

    Parameters
    ----------
    settings : Settings
        What a run is asked for.
    untrained : bool
        Whether it may score and predict with weights that nothing has trained.

    Raises
    ------
    ConfigError
        For the first fault.
    """
    for message in (
        *_unknown_top(settings),
        *_unknown_of_trainer(settings),
        *_faults_of_classes(settings.content, ()),
        *_missing_data(settings),
        *_missing_checkpoint(settings),
        *(() if untrained else _untrained(settings)),
    ):
        raise ConfigError(message)


def _unknown_top(settings: Settings) -> Iterator[str]:
    for key in settings.content:
        if key.rstrip("+") not in _TOP and (hint := did_you_mean(key, _TOP, cutoff=_A_SLIP)):
            yield f"{_where(settings)} has an unknown key {key!r}.{hint} Valid: {', '.join(_TOP)}."


def _unknown_of_trainer(settings: Settings) -> Iterator[str]:
    trainer = settings.content.get("trainer")
    found = find_path(_TRAINER)
    # Its decorator only reads defaults from the environment.
    valid = None if found is None else arguments_of(found, decorated=True)
    if not isinstance(trainer, Mapping) or valid is None:
        return
    for key in trainer:
        if str(key).rstrip("+") not in valid and (hint := did_you_mean(str(key), sorted(valid), cutoff=_A_SLIP)):
            yield f"trainer has no argument {key!r}.{hint}"


def find_path(path: str) -> Found | None:
    """Return the class of a class path, or of the name of a class of TerraTorch or Lightning; ``None`` if not found."""
    module, _, name = path.rpartition(".")
    homes = (module,) if module else _SHORT
    return next((found for home in homes if (found := find_class(home, name)) is not None), None)


def arguments_of_path(path: str) -> frozenset[str] | None:
    """Return the arguments of a class path; ``None`` if the sources do not tell."""
    found = find_path(path)
    return None if found is None else arguments_of(found)


def _faults_of_classes(node: Any, place: tuple[str, ...]) -> Iterator[str]:  # noqa: ANN401
    if isinstance(node, Mapping):
        if isinstance(path := node.get("class_path"), str):
            yield from _faults_of_class(path, node.get("init_args"), ".".join(place))
        for key, value in node.items():
            yield from _faults_of_classes(value, (*place, str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from _faults_of_classes(value, (*place[:-1], f"{place[-1] if place else ''}[{index}]"))


def _faults_of_class(path: str, given: Any, place: str) -> Iterator[str]:  # noqa: ANN401
    module, _, name = path.rpartition(".")
    found = find_path(path)
    if found is None:
        home = module_of(module) if module else None
        package, _, last = module.rpartition(".")
        beside = submodules(package) if home is None and package else []
        if home is not None and home.lacks(name) and (hint := did_you_mean(name, home.names())):
            yield f"{place}.class_path: {module} has no class {name!r}.{hint}"
        elif beside and last not in beside and (hint := did_you_mean(last, beside)):
            yield f"{place}.class_path: {package} has no module {last!r}.{hint}"
        return
    valid = arguments_of(found)
    if valid is None or not isinstance(given, Mapping):
        return
    for key in given:
        if (argument := str(key).rstrip("+")) not in valid:
            shown = ", ".join(sorted(name for name in valid if not name.startswith("_")))
            hint = did_you_mean(argument, sorted(valid))
            yield f"{place}.init_args: {name} has no argument {argument!r}.{hint} Valid: {shown}."


def _missing_data(settings: Settings) -> Iterator[str]:
    given = settings.init_args("data")
    ours = settings.class_path("data").startswith(_OUR_DATA)
    for key, value in given.items():
        folder = key == "root" and ours
        read = key.startswith(tuple(_READ[settings.action])) and key.endswith("_data_root")
        if not (folder or read) or not isinstance(value, str) or _MAY_BE_ELSEWHERE.search(value):
            continue
        if not Path(value).expanduser().exists():
            seen = next(part for part in (Path(value), *Path(value).parents) if part.exists())
            yield (
                f"data.init_args.{key}: there is no {value} from {Path.cwd()} (what is there: {seen}). Run the command "
                "from the folder that the config's paths begin in, or name the folder of the data: "
                f"--data.init_args.{key} FOLDER."
            )


def _missing_checkpoint(settings: Settings) -> Iterator[str]:
    path = settings.content.get("ckpt_path")
    if not isinstance(path, str) or path in _NAMED_CHECKPOINTS or ":" in path or Path(path).exists():
        return
    folder = Path(path).parent
    there = [file.as_posix() for file in sorted(folder.glob("*.ckpt"))] if folder.is_dir() else []
    hint = (
        f" There: {', '.join(there)}." if there else " Train first (`eo run fit`), or look where the checkpoint lies."
    )
    yield f"ckpt_path: there is no checkpoint {path}.{hint}"


def _untrained(settings: Settings) -> Iterator[str]:
    """Random weights give numbers and maps like any other; see also `eo_finetune.RunGuard`."""
    task = settings.class_path("model").rpartition(".")[2]
    if settings.content.get("ckpt_path") or not (
        settings.action in _SCORES or (settings.action == "predict" and task in _LEARNING)
    ):
        return
    trainer = settings.content.get("trainer")
    trainer = trainer if isinstance(trainer, Mapping) else {}
    callbacks = trainer.get("callbacks")
    stated = callbacks if isinstance(callbacks, list) else [callbacks]
    guards = [one for one in stated if isinstance(one, Mapping) and "RunGuard" in str(one.get("class_path"))]
    if any(isinstance(given := one.get("init_args"), Mapping) and given.get("untrained") for one in guards):
        return
    folder = Path(str(trainer.get("default_root_dir", ".")))
    there = ", ".join(file.as_posix() for file in sorted(folder.glob("*.ckpt")))
    yield (
        f"{settings.action} has no trained weights: without --ckpt_path the decoder is random, and so are its results. "
        f"Add --ckpt_path FILE ({there or 'train first: `eo run fit` writes it'}), or --untrained if that is meant."
    )


def _where(settings: Settings) -> str:
    return str(settings.files[0]) if len(settings.files) == 1 else "The config"
