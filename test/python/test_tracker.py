# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.plan.ReplayTracker: tables that are written incrementally are those written whole."""

from __future__ import annotations

from typing import Any

import pytest
from engine_histories import MODES, run

import nsa
from nsa import _replay
from nsa.plan import ReplayTracker

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="this installation of nsa has no compiler"
)


@needs_compiler
@pytest.mark.parametrize("named_by_pool", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_random_histories(mode: str, named_by_pool: bool) -> None:
    total, incremental = run(mode, range(12), 60, named_by_pool=named_by_pool)
    assert 0.15 * total < incremental < 0.9 * total


@needs_compiler
@pytest.mark.parametrize("mode", MODES)
def test_histories_in_the_simulator(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    monkeypatch.setenv("NSA_TARGET", "simt")
    # What runs a replay is remembered.
    _replay._replay.cache_clear()
    total, incremental = run(mode, range(2), 8)
    _replay._replay.cache_clear()
    assert incremental


class ForgetsRejected(ReplayTracker):
    def rejected(self, request: Any, length: int) -> None:
        before, settled = self._known.get(request, (0, 0))
        if request in self._known:
            self._known[request] = (min(before, length), settled)


class ForgetsRewritten(ReplayTracker):
    def rewritten(self, request: Any, column: int = 0) -> None:
        pass


class ForgetsReused(ReplayTracker):
    def reused(self, request: Any) -> None:
        pass


class ForgetsReset(ReplayTracker):
    def reset(self) -> None:
        pass


class TrustsShrinking(ReplayTracker):
    def _right(self, request: Any, length: int, row: int, count: int) -> int:
        return super()._right(request, 1 << 30, row, count)


class TrustsPlaces(ReplayTracker):
    def _right(self, request: Any, length: int, row: int, count: int) -> int:
        self._owners[row : row + count] = [request] * count
        return super()._right(request, length, row, count)


class TrustsTheLast(ReplayTracker):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options, unsettled=0)


@needs_compiler
@pytest.mark.parametrize(
    ("wrong", "mode", "named_by_pool"),
    [
        (ForgetsRejected, "decode", False),
        (ForgetsRewritten, "target_verify", False),
        (ForgetsReused, "decode", True),
        (ForgetsReset, "decode", False),
        (TrustsShrinking, "decode", False),
        (TrustsPlaces, "decode", False),
        (TrustsPlaces, "draft_extend_ragged", False),
        (TrustsTheLast, "target_verify", False),
        (TrustsTheLast, "draft_extend", False),
    ],
)
def test_histories_find_what_is_missing(wrong: Any, mode: str, named_by_pool: bool) -> None:
    with pytest.raises(AssertionError):
        run(mode, range(12), 60, tracker=wrong, named_by_pool=named_by_pool)


def step(tracker: ReplayTracker, *arguments: Any, **options: Any) -> tuple[list[int], int | None]:
    changes = tracker.step(*arguments, **options)
    return list(changes.since), changes.new_columns


def test_decode() -> None:
    tracker = ReplayTracker(new_columns=4)
    assert step(tracker, ["a", "b"], [100, 3]) == ([0, 0], None)
    assert step(tracker, ["a", "b"], [101, 4]) == ([100, 3], 4)
    # Up to the bound; one that is new and short; one more than the bound.
    assert step(tracker, ["a", "b", "c"], [105, 5, 4]) == ([101, 4, 0], 4)
    assert step(tracker, ["a", "b", "c"], [110, 6, 5]) == ([105, 5, 4], None)
    # All that was written whole is right.
    assert step(tracker, ["a", "b", "c"], [111, 7, 6]) == ([110, 6, 5], 4)
    # Moved; gone for a step; nobody.
    assert step(tracker, ["b", "a"], [8, 112]) == ([0, 0], None)
    assert step(tracker, ["b", None], [9, 1]) == ([8, 0], 4)
    assert step(tracker, ["b", "a"], [10, 113]) == ([9, 0], None)
    assert step(tracker, ["b", None], [11, 1]) == ([10, 0], 4)
    assert step(tracker, ["b", None], [12, 1]) == ([11, 0], 4)
    assert step(tracker, [], []) == ([], 4)
    assert step(tracker, ["b"], [13]) == ([0], None)


def test_what_is_said() -> None:
    tracker = ReplayTracker(new_columns=8)

    def again(length: int) -> int:
        (since,), _ = step(tracker, ["a"], [length])
        return since

    again(50)
    assert again(50) == 0 and again(49) == 0 and again(51) == 49
    tracker.rejected("a", 48)
    assert again(49) == 48
    # Rejected, and not grown from there.
    tracker.rejected("a", 48)
    assert again(48) == 0
    tracker.rewritten("a", 20)
    tracker.rewritten("a", 30)
    assert again(49) == 20
    tracker.rewritten("a")
    assert again(50) == 0
    tracker.reused("a")
    assert again(51) == 0
    tracker.reset()
    assert again(52) == 0 and again(53) == 52
    for nobody in (tracker.rejected, tracker.rewritten):
        nobody("b", 3)
    tracker.reused("b")
    assert again(54) == 53


def test_drafts_are_not_settled() -> None:
    tracker = ReplayTracker("target_verify", next_n=4)
    step(tracker, ["a"], [100])
    # All four accepted, four new ones.
    assert step(tracker, ["a"], [104]) == ([100], 8)
    assert step(tracker, ["a"], [105]) == ([104], 8)
    tracker = ReplayTracker("target_verify", next_n=4, unsettled=0)
    step(tracker, ["a"], [100])
    assert step(tracker, ["a"], [101]) == ([104], 8)
    tracker = ReplayTracker("draft_extend")
    step(tracker, ["a"], [100], extend_seq_lens=4)
    assert step(tracker, ["a"], [102], extend_seq_lens=4) == ([96], 8)


def test_ragged_rows() -> None:
    """A request is right where all of its rows are."""
    tracker = ReplayTracker("draft_extend")
    names = ["a", "b", "c"]
    step(tracker, names, [100, 200, 300], extend_seq_lens=[2, 2, 1])
    later = step(tracker, names, [101, 201, 301], extend_seq_lens=[1, 4, 1])
    assert later == ([98, 0, 0], None)
    # One row less is as right; one without rows is of no consequence.
    later = step(tracker, names, [102, 202, 302], extend_seq_lens=[1, 2, 0])
    assert later == ([100, 197, 300], 8)


def test_columns_that_tables_do_not_have() -> None:
    tracker = ReplayTracker()
    step(tracker, ["a"], [100], max_len=64)
    assert step(tracker, ["a"], [101], max_len=64) == ([64], 8)
    assert step(tracker, ["a"], [102], max_len=200) == ([64], None)
    assert step(tracker, ["a"], [103], max_len=200) == ([102], 8)


@pytest.mark.parametrize(
    ("kind", "make", "message"),
    [
        (ValueError, lambda: ReplayTracker("extend"), "argument 'mode': expected one of"),
        (ValueError, lambda: ReplayTracker(new_columns=-1), "argument 'new_columns'"),
        (ValueError, lambda: ReplayTracker(next_n=2), "'next_n': expected 1 in decode but got 2"),
        (TypeError, lambda: ReplayTracker(unsettled=1.0), "argument 'unsettled'"),
        (ValueError, lambda: ReplayTracker().step(["a"], []), "'seq_lens': expected 1, one a"),
        (ValueError, lambda: ReplayTracker().step(["a"], [-1]), "argument 'seq_lens'"),
        (ValueError, lambda: ReplayTracker().step(["a", "a"], [1, 2]), "'a' is there twice"),
        (ValueError, lambda: ReplayTracker().step(["a"], [1], extend_seq_lens=1), "takes none"),
        (ValueError, lambda: ReplayTracker("draft_extend").step(["a"], [1]), "needs them"),
        (
            ValueError,
            lambda: ReplayTracker("draft_extend").step(["a"], [1], extend_seq_lens=[]),
            "'extend_seq_lens': expected 1, one a request, but got 0",
        ),
    ],
)
def test_errors(kind: Any, make: Any, message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


def test_an_error_changes_nothing() -> None:
    tracker = ReplayTracker()
    step(tracker, ["a", "b"], [10, 20])
    with pytest.raises(ValueError):
        tracker.step(["a", "b"], [11, -1])
    assert step(tracker, ["a", "b"], [11, 21]) == ([10, 20], 8)
