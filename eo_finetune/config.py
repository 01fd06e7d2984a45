"""The config that a checkpoint was trained with: ``python -m eo_finetune.config CHECKPOINT --out predict.yaml``.

The written config predicts with the trained model: same bands, same preprocessing, same arguments of the encoder.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from eo_core.files import write_text

#: Arguments of a data module that name files with samples.
_SPLITS = ("train_split", "val_split", "test_split", "predict_split")
#: Parts of a config that every command of TerraTorch knows.
_PARTS = ("seed_everything", "trainer", "data", "model", "custom_modules_path")


def config_of(checkpoint: str | Path) -> dict[str, Any]:
    """Return the config that a checkpoint carries, without requests for other weights than its own.

    Raises
    ------
    CheckpointError
        If it carries none: `eo_finetune.BestCheckpoint` writes it.
    """
    # Both load PyTorch, and one Lightning: seconds that --help need not wait.
    from eo_finetune.checkpoints import CONFIG, with_own_weights  # noqa: PLC0415
    from eo_models.weights.checkpoints import CheckpointError, read_file  # noqa: PLC0415

    _, content = read_file(checkpoint)
    text = content.get(CONFIG) if isinstance(content, dict) else None
    if not isinstance(text, str):
        msg = (
            f"{checkpoint} carries no config. Checkpoints of eo_finetune.BestCheckpoint do; for others, use the "
            "config.yaml that TerraTorch wrote beside the logs of the run."
        )
        raise CheckpointError(msg)
    config: dict[str, Any] = yaml.safe_load(text)
    kept = {key: config[key] for key in _PARTS if config.get(key) is not None}
    if isinstance(task := kept.get("model", {}).get("init_args"), dict):
        kept["model"]["init_args"] = with_own_weights(task)
    return kept


def move(data: dict[str, Any], root: str) -> list[str]:
    """Point a data section to another folder, and drop the settings that name files which are not there.

    Dropped are split files, so that everything is predicted, and dates, if the batches carry none anyway.

    Parameters
    ----------
    data : dict
        Arguments of a data module of `eo_data`; they are changed.
    root : str
        The other folder.

    Returns
    -------
    list of str
        A line for each setting that was dropped.
    """
    data["root"] = root
    notes = []
    for name in _SPLITS:
        if data.get(name) and not (Path(root) / data[name]).is_file():
            notes.append(f"{name}: null ({data[name]} is not in {root}; without splits, everything there is predicted)")
            data[name] = None
    for key, modality in (data.get("modalities") or {}).items():
        index = modality.get("date_index") if isinstance(modality, dict) else None
        if index and data.get("dates_as") == "none" and not (Path(root) / index).is_file():
            notes.append(f"modalities.{key}: no dates ({index} is not in {root}; the encoder reads none)")
            modality |= {"date_index": None, "dated": False}
    return notes


def main(arguments: list[str] | None = None) -> int:
    """Write the config of a checkpoint."""
    parser = argparse.ArgumentParser(
        prog="eo config show",
        description=(__doc__ or "").partition("\n")[0],
        epilog="example: eo config show best.ckpt --root new/data --out predict.yaml",
    )
    parser.add_argument("checkpoint", help="a checkpoint of eo_finetune.BestCheckpoint, such as best.ckpt")
    parser.add_argument("--root", help="another folder of data")
    parser.add_argument("--out", help="file to write; printed without")
    given = parser.parse_args(arguments)
    try:
        config = config_of(given.checkpoint)
    except ValueError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    if given.root is not None:
        for note in move(config["data"]["init_args"], given.root):
            print(note, file=sys.stderr)  # noqa: T201
    text = yaml.safe_dump(config, sort_keys=False)
    if given.out is None:
        print(text)  # noqa: T201
    else:
        write_text(Path(given.out), text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
