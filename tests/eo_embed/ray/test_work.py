"""What is left to do when processes end: nothing is forgotten, done for ever, or blamed on the wrong sample."""

from __future__ import annotations

import pytest

from eo_embed.ray.work import Batch, Work

A, B, C = (Batch((2 * i, 2 * i + 1), (f"{i}a", f"{i}b")) for i in range(3))


def test_a_batch_that_was_lost_is_done_again_as_it_was_and_alone() -> None:
    """Other batches would give other numbers, and what is read beside it could be what ended the process."""
    work = Work([A, B, C], tries=2)
    own = work.take()
    assert own == A
    assert work.take_ahead(own, others=0) == B
    assert not work.lose([A, B])
    again = work.take()
    assert again is not None
    assert (again.ids, again.lost) == (B.ids, 1)
    assert work.take_ahead(again, others=0) is None
    assert work.take_ahead(C, others=0) is None  # A was lost, too: nobody reads it beside another one


def test_only_the_sample_that_ends_its_process_alone_is_given_up() -> None:
    work, lives = Work([A, B], tries=2), 0
    given_up: list[str] = []
    done: list[str] = []
    while (batch := work.take()) is not None:
        if "0b" in batch.ids:
            lives += 1
            given_up += work.lose([batch])
        else:
            done += batch.ids
    assert (given_up, sorted(done), lives) == (["0b"], ["0a", "1a", "1b"], 3)


@pytest.mark.parametrize("tries", [1, 2, 3])
def test_a_sample_that_always_ends_its_process_is_not_tried_for_ever(tries: int) -> None:
    work, losses = Work([Batch((0,), ("x",))], tries), 0
    while (batch := work.take()) is not None:
        losses += 1
        given_up = work.lose([batch])
    assert given_up == ["x"]
    assert losses <= tries + 1


def test_the_last_batches_are_left_to_those_who_wait() -> None:
    work = Work([A, B, C], tries=2)
    own = work.take()
    assert own is not None
    assert work.take_ahead(own, others=2) is None
    assert len(work) == 2


def test_no_try_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="tries must be at least 1, got 0"):
        Work([], 0)
