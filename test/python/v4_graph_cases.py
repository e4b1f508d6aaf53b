# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""V4 steps that are captured once, in a batch of one size, whose contents change on the device
alone; batches of idle requests among them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import v4_cases
from v4_cases import EDGES, FILL, Case, draw, fields_of, idle, inputs
from v4_reference import Batch, reference

import nsa
from nsa import _v4

CASES = v4_cases.CASES[:6]


def redraw(batch: Batch, rng: np.random.Generator, hostile: bool) -> Batch:
    """The same arrays with other contents."""

    def some(array: np.ndarray, low: int, high: int, odd: tuple[int, ...]) -> np.ndarray:
        drawn = rng.integers(low, high, array.shape)
        if hostile:
            drawn = np.where(rng.random(array.shape) < 0.1, rng.choice(odd, array.shape), drawn)
        return drawn.astype(array.dtype)

    near = rng.choice(EDGES, batch.lens.shape) + rng.integers(-1, 2, batch.lens.shape)
    lens = some(batch.lens, 0, 640, (-5, 2**31 - 9, 10**6))
    of = {
        "lens": np.where(rng.random(lens.shape) < 0.5, near, lens).astype(lens.dtype),
        "pool": some(batch.pool, 0, 7, (-1, 7, 2**30)),
        "table": some(batch.table, 0, 900, (-1, 900, -(2**31), 2**31 - 1)),
        "full_to_swa": some(batch.full_to_swa, 0, 400, (-1, 2**31 - 1)),
        "locs": some(batch.locs, 0, 900, (-1, 900)),
    }
    if batch.extends is not None:
        of["extends"] = some(batch.extends, 0, 9, (-3, 10**6))
    if batch.floors is not None:
        of["floors"] = some(batch.floors, -3, 600, (2**31 - 1,))
    return replace(batch, **of)


def histories(case: Case, count: int) -> list[Batch]:
    """Batches of one size, one after the other: all idle, some, none; every third hostile."""
    seed = next(s for s in range(0, 100, 2) if len(draw(case, s).lens) > 2)
    batch = draw(case, seed)
    rng = np.random.default_rng(count)
    found = [batch, idle(batch)]
    for number in range(count):
        other = redraw(batch, rng, hostile=number % 3 == 2)
        found.append(idle(other, len(other.lens) // 2) if number % 3 == 1 else other)
    return found


def fields(case: Case) -> tuple[str, ...]:
    """Those whose number of elements does not depend on contents."""
    names = fields_of(case.mode, case.page)
    return tuple(n for n in names if not n.endswith("_index_k_slots") and n != "extend_offsets")


def run(case: Case, count: int, gpu: Any = None) -> None:
    """Compares every field of every replay. Without `gpu` a replay is a call with the same
    arrays."""
    place = gpu.asarray if gpu else np.array
    fetch = gpu.asnumpy if gpu else lambda array: array
    batches = histories(case, count)
    made = {
        name: place(np.full(value.shape, FILL, value.dtype))
        for name, value in ((name, reference(batches[0], name)) for name in fields(case))
    }
    given = inputs(batches[0], place)

    def launch() -> None:
        nsa.ops.replay_v4([made], case.mode, **given)

    launch()  # what is loaded on first use is loaded now
    replay = gpu.capture(launch) if gpu else launch
    for batch in batches:
        for name, array in inputs(batch, place).items():
            if hasattr(array, "shape"):
                given[name][...] = array
        for array in made.values():
            array[...] = FILL
        if gpu:
            gpu.synchronize()
        replay()
        if gpu:
            gpu.synchronize()
        for name, array in made.items():
            np.testing.assert_array_equal(fetch(array), reference(batch, name), err_msg=name)


def texts() -> set[str]:
    """The steps that ``run`` asks for on a GPU."""
    found = set()
    for case in CASES:
        vectors = ("seq_lens", "req_pool_indices", "full_to_swa", "out_cache_loc",
                   "extend_seq_lens")  # fmt: skip
        dtypes = {**dict.fromkeys(vectors, case.index), "floors": "int32"}
        found.add(_v4.write(case.options(), (fields(case),), dtypes)[0])
    return found
