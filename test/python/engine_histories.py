# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An engine of which nothing is real but its page tables, for nsa.plan.ReplayTracker.

Requests come, go, move in the batch and pause; they take the rows of req_to_token that
others left; their tokens are accepted or rejected, and their slots change. Each step writes
the tables incrementally, as the tracker says, and compares what is live of each row with
req_to_token itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import nsa
from nsa import steps
from nsa._incremental import grid
from nsa.plan import ReplayTracker

COLUMNS, POOL_ROWS, MOST, PAGE_SIZE, NEXT_N = 96, 12, 8, 16, 3
BOUND = 8
BACKENDS, TABLES = 2, ("page_table_1", "real_page_table")
#: Rows of a request in draft_extend: of all, or the most.
UNIFORM, MOST_EXTEND = 2, 4


@dataclass
class Request:
    name: int
    pool: int
    #: Settled tokens.
    tokens: int


class Engine:
    """`mode` is one of nsa's, or draft_extend_ragged. `named_by_pool`: requests are known
    by their rows of req_to_token. `place` takes arrays to where the steps run, `back` from
    there."""

    def __init__(
        self,
        mode: str,
        seed: int,
        *,
        tracker: type[ReplayTracker] = ReplayTracker,
        named_by_pool: bool = False,
        place: Callable[[np.ndarray], Any] = lambda array: array,
        back: Callable[[Any], np.ndarray] = lambda array: array,
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.mode, self.is_ragged = mode.removesuffix("_ragged"), mode.endswith("_ragged")
        self.place, self.back = place, back
        next_n = NEXT_N if mode == "target_verify" else 1
        self.tracker = tracker(self.mode, new_columns=BOUND, next_n=next_n)
        self.next_n, self.named_by_pool = next_n, named_by_pool
        self.rows = MOST * (MOST_EXTEND if self.mode == "draft_extend" else next_n)
        self.table = self.slots((POOL_ROWS, COLUMNS))
        self.free = list(range(1, POOL_ROWS))
        self.batch: list[Request] = []
        self.paused: list[Request] = []
        self.names = 0
        self.make_tables()
        self.steps = self.incremental = 0

    def make_tables(self) -> None:
        columns = (COLUMNS, COLUMNS // PAGE_SIZE)
        self.dsts = [
            {
                name: self.place(np.full((self.rows, count), -1 - backend, np.int32))
                for name, count in zip(TABLES, columns)
            }
            for backend in range(BACKENDS)
        ]

    def slots(self, shape: Any) -> np.ndarray:
        return self.rng.integers(0, 1 << 20, shape).astype(np.int32)

    def chance(self, of: float) -> bool:
        return self.rng.random() < of

    def identity(self, request: Request) -> int:
        return request.pool if self.named_by_pool else request.name

    def give_slots(self, request: Request, first: int, end: int) -> None:
        self.table[request.pool, first:end] = self.slots(end - first)

    def end(self, request: Request) -> None:
        """Its row may be the next one's at once."""
        self.batch.remove(request)
        self.free.insert(0, request.pool)

    def begin(self, where: int | None = None) -> None:
        # Rows that were left last are the likely ones.
        pool = self.free.pop(0 if self.chance(0.7) else int(self.rng.integers(len(self.free))))
        request = Request(self.names, pool, int(self.rng.integers(1, COLUMNS // 2)))
        self.names += 1
        if self.named_by_pool:
            self.tracker.reused(pool)
        self.give_slots(request, 0, COLUMNS)
        if where is None:
            where = int(self.rng.integers(len(self.batch) + 1))
        self.batch.insert(where, request)

    def schedule(self) -> None:
        """What may happen between steps, seldom."""
        paused = list(self.paused)
        for place, request in enumerate(list(self.batch)):
            if request.tokens + 2 * MOST_EXTEND >= COLUMNS or self.chance(0.03):
                self.end(request)
                if self.chance(0.5):
                    self.begin(min(place, len(self.batch)))
            elif self.chance(0.02):
                # Its slots go to others, and it gets new ones when it comes back.
                self.batch.remove(request)
                self.paused.append(request)
            elif self.chance(0.03):
                column = int(self.rng.integers(COLUMNS))
                self.give_slots(request, column, COLUMNS)
                self.tracker.rewritten(self.identity(request), column)
        for request in paused:
            if len(self.batch) < MOST and self.chance(0.3):
                self.paused.remove(request)
                self.give_slots(request, 0, COLUMNS)
                self.batch.append(request)
        room = MOST - len(self.batch)
        if room and self.free and (not self.batch or self.chance(0.15)):
            self.begin(len(self.batch) if self.chance(0.7) else None)
        if self.chance(0.03):
            self.rng.shuffle(self.batch)
        if self.chance(0.02):
            self.make_tables()
            self.tracker.reset()

    def grow(self, request: Request) -> None:
        """Some tokens more; sometimes less, and others in their places."""
        settled = request.tokens
        if self.mode == "decode":
            if self.chance(0.1):
                # A draft of which nobody says that it was rejected: it grows by nothing.
                kept = max(settled - int(self.rng.integers(1, 4)), 0)
                request.tokens = int(self.rng.integers(kept, settled)) + 1
            elif self.chance(0.15):
                kept = max(settled - int(self.rng.integers(0, 4)), 0)
                self.tracker.rejected(self.identity(request), kept)
                request.tokens = kept + int(self.rng.integers(1, 4))
            else:
                kept = settled
                request.tokens += 1
            self.give_slots(request, kept, COLUMNS)
        else:
            # What is accepted moves together; what comes after it has other slots.
            request.tokens += int(self.rng.integers(1, self.next_n + 1))
            self.give_slots(request, settled, COLUMNS)

    def step(self) -> None:
        self.schedule()
        for request in self.batch:
            self.grow(request)
        batch = self.batch
        names: list[int | None] = [self.identity(request) for request in batch]
        pools = [request.pool for request in batch]
        lens = [request.tokens for request in batch]
        pads = int(self.rng.integers(0, MOST - len(batch) + 1)) if self.chance(0.3) else 0
        names += [None] * pads
        pools += [0] * pads
        lens += [1] * pads
        options: dict[str, Any] = {}
        counts = [self.next_n] * len(names)
        if self.mode == "draft_extend":
            counts = [UNIFORM] * len(names)
            if self.is_ragged:
                wanted = [0, 1, 2, 2, 2, 2, 2, 2, MOST_EXTEND] if self.chance(0.3) else [2]
                counts = [int(self.rng.choice(wanted)) for _ in names]
            # The last ones may still be rejected.
            lens = [n + count for n, count in zip(lens, counts)]
            options["extend_seq_lens"] = counts if self.is_ragged else UNIFORM
        changes = self.tracker.step(names, lens, **options)
        if self.is_ragged:
            options["extend_seq_lens"] = self.place(np.array(counts, np.int64))
        if changes.new_columns is not None:
            options["since"] = self.place(np.array(changes.since, np.int32))
            options["new_columns"] = changes.new_columns
            self.incremental += 1
        elif self.chance(0.5):
            options["live_only"] = True
        nsa.ops.replay_metadata(
            self.dsts,
            self.mode,
            seq_lens=self.place(np.array(lens, np.int64)),
            req_pool_indices=self.place(np.array(pools, np.int64)),
            req_to_token=self.place(self.table),
            max_len=COLUMNS,
            page_size=PAGE_SIZE,
            next_n=self.next_n,
            **options,
        )
        self.steps += 1
        plus = self.next_n if self.mode == "target_verify" else 0
        self.compare(np.repeat(pools, counts), np.repeat(lens, counts) + plus)

    def compare(self, pools: np.ndarray, live: np.ndarray) -> None:
        is_live = np.arange(COLUMNS) < live[:, None]
        expected = self.table[pools.astype(int)]
        pages, is_live_page = expected[:, ::PAGE_SIZE] // PAGE_SIZE, is_live[:, ::PAGE_SIZE]
        for dst in self.dsts:
            found = {name: self.back(array)[: len(pools)] for name, array in dst.items()}
            assert (found["page_table_1"] == expected)[is_live].all()
            assert (found["real_page_table"] == pages)[is_live_page].all()


MODES = ("decode", "target_verify", "draft_extend", "draft_extend_ragged")


def texts() -> set[str]:
    """The steps that histories ask for: whole tables, those that live, and incremental."""
    ways: list[dict[str, Any]] = [{}, {"live_only": True}, {"grid": grid(BOUND)}]
    return {
        steps.replay(
            mode.removesuffix("_ragged"),
            (TABLES,) * BACKENDS,
            page_size=PAGE_SIZE,
            next_n=NEXT_N if mode == "target_verify" else 1,
            extend={"draft_extend": UNIFORM, "draft_extend_ragged": "int64"}.get(mode),
            **way,
        )
        for mode in MODES
        for way in ways
    }


def run(mode: str, seeds: range, steps: int, **options: Any) -> tuple[int, int]:
    """(steps, how many of them were incremental)."""
    total = incremental = 0
    for seed in seeds:
        engine = Engine(mode, seed, **options)
        for _ in range(steps):
            engine.step()
        total += engine.steps
        incremental += engine.incremental
    return total, incremental
