"""Reading ahead changes neither the order nor the errors, holds little memory, and leaves no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch

from eo_data.dataset.loading.prefetch import PrefetchingLoader, prefetched, tensor_bytes


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name == "read ahead"]


def test_batches_come_in_their_order_and_the_thread_ends_with_them() -> None:
    assert list(prefetched(range(100), lambda _: 1, count=3)) == list(range(100))
    assert not threads()


def test_no_more_is_read_ahead_than_may_wait() -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    for limit in ({"count": 3}, {"most": 30}):
        taken.clear()
        entries = prefetched(source(), lambda _: 10, **limit)  # type: ignore[arg-type]
        next(entries)
        time.sleep(0.3)
        assert len(taken) <= 1 + 3 + 1  # the one that was given, three that wait, one in the hand of the thread
        entries.close()  # type: ignore[attr-defined]
    assert not threads()


def test_an_entry_that_is_larger_than_the_limit_still_comes() -> None:
    assert list(prefetched([1, 2, 3], lambda _: 10**12)) == [1, 2, 3]


def test_an_error_comes_in_the_place_of_its_entry_and_not_before() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        msg = "third.tif is damaged"
        raise OSError(msg)

    entries = prefetched(source(), lambda _: 1)
    time.sleep(0.1)
    assert [next(entries), next(entries)] == [1, 2]
    with pytest.raises(OSError, match=r"third\.tif is damaged"):
        next(entries)
    assert not threads()


def test_a_run_that_is_given_up_leaves_no_thread() -> None:
    entries = prefetched(range(10**9), lambda _: 1)
    next(entries)
    del entries
    deadline = time.monotonic() + 5
    while threads() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads()


def test_a_loader_without_processes_reads_in_another_thread() -> None:
    class Data(torch.utils.data.Dataset[torch.Tensor]):
        def __init__(self) -> None:
            self.names: set[str] = set()

        def __len__(self) -> int:
            return 6

        def __getitem__(self, index: int) -> torch.Tensor:
            self.names.add(threading.current_thread().name)
            return torch.full((2,), float(index))

    data = Data()
    batches = list(PrefetchingLoader(data, batch_size=4))
    assert torch.equal(torch.cat(batches)[:, 0], torch.arange(6.0))
    assert data.names == {"read ahead"}
    assert not threads()


def test_the_bytes_of_a_batch_are_those_of_all_its_tensors() -> None:
    batch = {"image": {"a": torch.zeros(2, 3), "b": torch.zeros(4, dtype=torch.int64)}, "id": ["x", "y"]}
    assert tensor_bytes(batch) == 2 * 3 * 4 + 4 * 8
