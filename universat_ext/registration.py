"""A callback that does nothing but bring the backbones into a TerraTorch run."""

from __future__ import annotations

from lightning.pytorch.callbacks import Callback

import universat_ext  # noqa: F401  (registers the backbones)


class RegisterBackbones(Callback):
    """Registers the UniverSat backbones in a run that uses TerraTorch's own data modules.

    Put ``- class_path: universat_ext.registration.RegisterBackbones`` under ``trainer.callbacks``: TerraTorch's
    command line imports every class path while it parses, and the import is all that is needed.
    """
