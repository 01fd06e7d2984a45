"""A guard for configs of an export: Lightning lets a checkpoint replace the task that a config names."""

from __future__ import annotations

from lightning.pytorch import Callback, LightningModule, Trainer

#: Ours, and TerraTorch's own.
_TASKS = frozenset(("EmbeddingTask", "EmbeddingGenerationTask"))


class ExpectEmbeddings(Callback):
    """Refuse to run a task that exports no embeddings.

    With ``--ckpt_path``, Lightning's command line takes the task and its arguments from the checkpoint, whatever the
    config says: of a fine-tuned one, masks would be written instead of embeddings, and nothing would tell.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at the task.

        Raises
        ------
        ValueError
            If it is another one.
        """
        if _TASKS & {kind.__name__ for kind in type(pl_module).__mro__}:
            return
        msg = (
            f"This config exports embeddings, but the task is {type(pl_module).__name__}: --ckpt_path brings the task "
            "of its checkpoint along. Leave it out, and name the checkpoint of the fine-tuned model as ckpt among the "
            "arguments of the backbone (model.init_args.backbone_args.ckpt)."
        )
        raise ValueError(msg)
