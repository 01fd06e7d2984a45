"""What a thread does beside the encoder is done in order, in bounded memory, and its failure is not lost."""

from __future__ import annotations

import threading
import time

import pytest

from eo_embed.export.flow.background import Background


def alive(name: str) -> bool:
    return any(thread.name == name for thread in threading.enumerate())


def test_work_is_done_in_its_order_and_the_thread_ends() -> None:
    done: list[int] = []
    writer = Background("a writer")
    for number in range(50):
        writer.submit(lambda number=number: done.append(number), 1)  # type: ignore[misc]
    writer.finish()
    assert done == list(range(50))
    assert not alive("a writer")
    writer.submit(lambda: done.append(50), 1)
    writer.finish()
    assert done[-1] == 50


def test_no_more_waits_than_there_is_room_for_but_one_of_any_size() -> None:
    go = threading.Event()
    writer = Background("a writer", most=100)
    begun = time.monotonic()
    writer.submit(lambda: go.wait(5), 1000)  # larger than the room
    assert time.monotonic() - begun < 1
    threading.Timer(0.3, go.set).start()
    writer.submit(lambda: None, 10)
    assert time.monotonic() - begun > 0.25
    writer.finish()


def test_the_first_error_is_raised_and_nothing_after_it_is_done() -> None:
    done: list[str] = []
    go = threading.Event()

    def fails() -> None:
        go.wait(5)
        msg = "disk full"
        raise OSError(msg)

    writer = Background("a writer")
    writer.submit(fails, 1)
    writer.submit(lambda: done.append("after"), 1)
    go.set()
    with pytest.raises(OSError, match="disk full"):
        writer.finish()
    with pytest.raises(OSError, match="disk full"):
        writer.submit(lambda: done.append("later"), 1)
    writer.stop()  # says nothing: the run ends with the error anyway
    assert not done
    assert not alive("a writer")


def test_who_waits_for_room_gets_the_error() -> None:
    def fails() -> None:
        time.sleep(0.1)
        msg = "disk full"
        raise OSError(msg)

    writer = Background("a writer", most=1)
    writer.submit(fails, 1)
    with pytest.raises(OSError, match="disk full"):
        writer.submit(lambda: None, 1)


def test_stopping_does_what_waits() -> None:
    done: list[int] = []
    writer = Background("a writer")
    for number in range(3):
        writer.submit(lambda number=number: (time.sleep(0.05), done.append(number)), 1)  # type: ignore[misc]
    writer.stop()
    assert done == [0, 1, 2]
