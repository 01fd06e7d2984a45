"""A pool of actors of fixed size: each works on one batch at a time, and one that is gone is replaced."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import NodeDiedError, OutOfMemoryError, RayActorError, RayTaskError, WorkerCrashedError

from eo_embed.export.flow.summary import Counts
from eo_embed.ray.encoding import Driver, Encoding
from eo_embed.ray.recipes import Recipe
from eo_embed.ray.work import Batch, Work

#: How Ray says that a process is gone, whatever ended it.
_GONE = (RayActorError, WorkerCrashedError, OutOfMemoryError, NodeDiedError)
#: Addresses that Ray looks up itself, and how many seconds another one has to answer.
_NAMES, _PATIENCE = ("auto", "local"), 5.0


@dataclass(frozen=True)
class Resources:
    """What one actor gets.

    Parameters
    ----------
    cpus : int
        Cores: threads of PyTorch, and what Ray counts.
    gpus : float
        GPUs; a part of one where several actors share it.
    """

    cpus: int = 1
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            msg = f"cpus_per_actor must be at least 1, got {self.cpus}."
            raise ValueError(msg)
        if self.gpus < 0 or (self.gpus > 1 and self.gpus % 1):
            msg = f"gpus_per_actor must be 0, a part of 1 such as 0.5, or a whole number, got {self.gpus}."
            raise ValueError(msg)


@dataclass
class _Actor:
    """An actor and what it works on; without a batch it builds its encoder, or waits."""

    handle: Any
    own: Batch | None = None
    ahead: Batch | None = None

    @property
    def batches(self) -> list[Batch]:
        return [batch for batch in (self.own, self.ahead) if batch is not None]


class Pool:
    """Actors that work off batches.

    Parameters
    ----------
    recipe : Recipe
        Of the run; Ray copies it to every machine once.
    size : int
        Number of actors.
    each : Resources
        What each gets.
    driver : Driver
        What they are told of this process.
    tries : int
        How many actors may end in a row before one has built its encoder.
    """

    def __init__(self, recipe: Recipe, size: int, each: Resources, driver: Driver, tries: int) -> None:
        self._recipe, self._each, self._driver, self._size = ray.put(recipe), each, driver, size
        self._tries, self._lost_at_start = tries, 0
        self._ranks = 0
        self._counts: dict[Any, Counts] = {}
        self._running: dict[Any, _Actor] = {}
        self._waiting: list[_Actor] = []
        #: Samples that were given up, each with the reason.
        self.given_up: dict[str, str] = {}

    @property
    def counts(self) -> Counts:
        """What all actors have done, those that are gone too."""
        return sum(self._counts.values(), Counts())

    def work_off(self, work: Work) -> Iterator[Counts]:
        """Have all batches done, and yield what was done so far after each.

        Raises
        ------
        Exception
            What an actor raised. A sample that cannot be read is no such error.
        ValueError
            If actors end before they have built their encoder.
        """
        for _ in range(min(self._size, len(work))):
            self._start()
        # Actors that are still starting, or wait for room, are not waited for once there is nothing left for them.
        while len(work) or any(actor.batches for actor in self._running.values()):
            (ref,), _ = ray.wait(list(self._running), num_returns=1)
            actor = self._running.pop(ref)
            try:
                counts = _result(ref)
            except _GONE as error:
                self._replace(actor, work, error)
            else:
                if counts is None:
                    self._lost_at_start = 0
                else:
                    self._counts[actor.handle] = Counts.of(counts)
                    actor.own = None
                    yield self.counts
                self._waiting.append(actor)
            self._hand_out(work)

    def end(self) -> None:
        """End all actors; what they have reported is written."""
        for actor in [*self._running.values(), *self._waiting]:
            ray.kill(actor.handle)
        self._running, self._waiting = {}, []

    def _start(self) -> None:
        self._ranks += 1
        # Ray would start an actor again under the same rank, and would not say what it was at.
        made: Any = ray.remote(max_restarts=0, max_task_retries=0, num_cpus=self._each.cpus, num_gpus=self._each.gpus)
        handle = made(Encoding).remote(self._recipe, self._ranks, self._each.cpus, self._driver)
        self._running[handle.open.remote()] = _Actor(handle)

    def _hand_out(self, work: Work) -> None:
        """Give batches to the actors that wait."""
        waiting, self._waiting = self._waiting, []
        for actor in waiting:
            actor.own, actor.ahead = actor.ahead or work.take(), None
            if actor.own is None:
                self._waiting.append(actor)
                continue
            actor.ahead = work.take_ahead(actor.own, others=len(self._running))
            self._running[actor.handle.encode.remote(actor.own, actor.ahead)] = actor

    def _replace(self, actor: _Actor, work: Work, error: Exception) -> None:
        """Note what an actor that is gone leaves undone, and start another one if there is work for it."""
        ray.kill(actor.handle)  # it may live on where it cannot be reached
        reason = " ".join(str(error).split())
        if actor.own is None:
            self._lost_at_start += 1
            if self._lost_at_start >= self._tries:
                msg = (
                    f"{self._lost_at_start} actors in a row ended before they had built their encoder. Either "
                    "memory ran out: lower concurrency, or give each more room; or this project or a module of yours "
                    f"is not installed where they run. Ray says: {reason}"
                )
                raise ValueError(msg)
        for name in work.lose(actor.batches):
            self.given_up[name] = f"Every process that worked on it ended, mostly as memory ran out. Ray says: {reason}"
        if len(work) > len(self._waiting):
            self._start()


def cores_each(concurrency: int) -> int:
    """Return how many cores each of several actors on this machine has for itself."""
    return max(1, len(os.sched_getaffinity(0)) // concurrency)


def _result(ref: Any) -> Any:  # noqa: ANN401
    """Return what an actor returned, or raise what it raised, without the trace of Ray's own calls around it."""
    try:
        return ray.get(ref)
    except RayTaskError as error:
        if isinstance(error, _GONE) or not isinstance(error.cause, Exception):
            raise
        raise error.cause from error


def check_address(address: str) -> None:
    """Refuse an address at which nobody answers: Ray would try it for minutes.

    Parameters
    ----------
    address : str
        Of a cluster, ``host:port`` or ``ray://host:port``; names such as ``auto`` are left to Ray.

    Raises
    ------
    ValueError
        If nobody answers there, or it is no address.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if address in _NAMES:
        return
    try:
        if not (host and port.isdigit()):
            raise ValueError("it is no host:port")
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        msg = (
            f"No Ray cluster answers at {address!r} ({error}). Give the address that ray start --head has printed, "
            "such as 10.0.0.5:6379; auto on a machine of the cluster; or none, to start Ray on this machine."
        )
        raise ValueError(msg) from error


@contextmanager
def connected(address: str | None, options: Mapping[str, Any]) -> Iterator[None]:
    """Be connected to Ray, and leave it as it was: a connection of the caller stays.

    Ray ends the process on SIGTERM in its own way; what the signal did before, it does again afterwards.

    Parameters
    ----------
    address : str, optional
        Of a cluster; without it, one is started in this machine.
    options : mapping
        Of that.
    """
    if ray.is_initialized():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        if address is None:
            ray.init(include_dashboard=False, **options)
        else:
            ray.init(address=address)
        yield
    finally:
        ray.shutdown()
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
