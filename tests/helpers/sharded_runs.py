"""Exports of a stand-in encoder by one process, by shards and by ranks; and processes that end by kill -9."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from eo_data.catalog.shards import Shard
from eo_embed import Exporter, ExportSettings
from eo_embed.export.flow.summary import Counts
from eo_models.features import Features

#: Steps at which a killed process may end: whatever changes names or opens a file.
_STEPS = frozenset(("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree"))
#: Seconds that a child may take.
_PATIENCE = 60


def encoder(image: Any, **_: Any) -> list[Features]:
    """Two layers of five numbers for each 8 x 8 pixels: means of the pixels, shifted, and their doubles."""
    grid = F.avg_pool2d(image, 8).sum(1, keepdim=True) + torch.arange(5.0)[:, None, None]
    return [Features(own.flatten(2).transpose(1, 2), None, own) for own in (grid, 2 * grid)]


def batches(count: int = 9, shard: Shard | None = None, rank: int = 0, ranks: int = 1) -> Iterator[dict[str, Any]]:
    """Batches of two samples of 16 x 16 pixels: all, those of a shard, or every second one for a rank of two."""
    names = [f"region {i % 3}/tile_{i:02d}" for i in range(count)]
    chosen = [i for i, name in enumerate(names) if shard is None or shard.holds(name)][rank::ranks]
    for start in range(0, len(chosen), 2):
        own = chosen[start : start + 2]
        yield {
            "image": torch.stack([torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(i)) for i in own]),
            "id": [names[i] for i in own],
            "filename": [f"{names[i]}.tif" for i in own],
            "crs": ["EPSG:32631"] * len(own),
            "geotransform": torch.tensor(
                [(500_000.0 + 160 * i, 10.0, 0.0, 4e6, 0.0, -10.0) for i in own], dtype=torch.float64
            ),
            "acquired": ["s2 2021-03-04 (file name)"] * len(own),
            "dates": torch.zeros(len(own)),
        }


def exporter(folder: Path, shard: Shard | None = None, rank: int = 0, **settings: Any) -> Exporter:
    """An exporter of both layers, as vectors and grids; settings replace its own."""
    chosen = ExportSettings(**({"output": "both", "layers": (-1, -2)} | settings))
    facts = {"task": {"backbone": "stand-in", **chosen.facts()}}
    return Exporter(folder, encoder, chosen, facts, {"root": "data"}, rank=rank, shard=shard)


def export(
    folder: Path,
    shard: Shard | None = None,
    *,
    count: int = 9,
    skipped: Sequence[tuple[str, str]] = (),
    **settings: Any,
) -> None:
    """Export all samples, or those of a shard; ``skipped`` are ids and reasons of samples that cannot be read."""
    lost = [("predict", name, reason) for name, reason in skipped if shard is None or shard.holds(name)]
    exporter(folder, shard, **settings).run(batches(count, shard), lost)


def export_by_ranks(folder: Path, around: Mapping[int, Callable[[Callable[[], object]], object]]) -> None:
    """Export by two ranks one after the other, as two processes of one run; ``around`` runs what a rank adds."""
    ranks = [exporter(folder, rank=rank) for rank in range(2)]
    try:
        for one in ranks:
            one.open()
        for rank, one in enumerate(ranks):
            around.get(rank, lambda add: add())(lambda one=one, rank=rank: _add_all(one, rank))
        ranks[0].complete(sum((one.close() for one in ranks), Counts()))
    finally:
        ranks[0].release()


def _add_all(one: Exporter, rank: int) -> None:
    for batch in batches(rank=rank, ranks=2):
        one.add(batch)
    one.close()


def killed_at(step: int, below: Path, do: Callable[[], object]) -> bool:
    """Run something in a child that ends by kill -9 at a step on files below a folder; return whether it came to it.

    The parent's folder locks are not the child's, and the child ends without running what the parent left to run.
    """
    child = started(step, below, do)
    for _ in range(_PATIENCE * 100):
        if (killed := ended(child)) is not None:
            return killed
        signal.sigtimedwait((signal.SIGCHLD,), 0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise TimeoutError(f"the child hung, step {step}")


def started(step: int | None, below: Path, do: Callable[[], object]) -> int:
    """Run something in a child as `killed_at` does, to its end without a step; return the number of the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of the parent: the child uses one only
        child = os.fork()
    if child == 0:
        _in_child(step, below, do)
    return child


def ended(child: int) -> bool | None:
    """Tell whether a child has ended by kill -9; ``None`` if it still runs. Any other end must be without an error."""
    done, status = os.waitpid(child, os.WNOHANG)
    if not done:
        return None
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed: see its output"
    return False


def _in_child(step: int | None, below: Path, do: Callable[[], object]) -> None:
    code = 1
    try:
        torch.set_num_threads(1)
        signal.alarm(_PATIENCE)
        left = [sys.maxsize if step is None else step]

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            if event in _STEPS and str(arguments[0]).startswith(str(below)):
                left[0] -= 1
                if left[0] < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        do()
        code = 0
    except BaseException:  # noqa: BLE001  (whatever it is, the child must not go on as the parent)
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
