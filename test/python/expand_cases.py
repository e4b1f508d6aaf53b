# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases of nsa.ops.expand_seqlens, for the host, for GPUs and for sanitizers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from reference import extend_rows, wrap_int32
from replay_cases import POISON, spoil

import nsa
from nsa import steps


@dataclass(frozen=True)
class Expansion:
    """What the text of an expansion depends on."""

    extend_dtype: str
    lens_dtype: str
    topk: int
    causal: bool
    total: bool

    @property
    def text(self) -> str:
        return steps.expand_seqlens(
            self.extend_dtype, self.lens_dtype, self.topk, self.causal, self.total
        )


EXPANSIONS = [
    Expansion("int32", "int32", 2048, causal=True, total=True),
    Expansion("int64", "int64", 100, causal=True, total=False),
    Expansion("int32", "int64", 7, causal=False, total=True),
    Expansion("int64", "int32", 2048, causal=False, total=False),
]


@dataclass
class ExpandCase:
    """One call: its inputs, and what its outputs are then."""

    expansion: Expansion
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]

    def run(self, place: Any, fetch: Any) -> None:
        """Calls with arrays through `place`, and compares what `fetch` makes of them."""
        placed = {name: place(array) for name, array in self.inputs.items()}
        for name, expected in self.expected.items():
            placed[name] = place(np.full(expected.shape, POISON, np.int32))
        expansion = self.expansion
        nsa.ops.expand_seqlens(**placed, topk=expansion.topk, causal=expansion.causal)
        for name, expected in self.expected.items():
            found = fetch(placed[name])
            assert np.array_equal(found, expected), (
                f"{expansion}: {name} is {found} instead of {expected}"
            )


def draw(expansion: Expansion, bs: int, rng: Any, hostile: bool) -> ExpandCase:
    """A case with outputs of different lengths, too short for the rows or too long."""
    extend = rng.integers(0, 400 if bs <= 2 else 9, bs).astype(expansion.extend_dtype)
    lens = rng.integers(0, 5000, bs).astype(expansion.lens_dtype)
    wanted = int(extend.sum())
    if hostile:
        extend, lens = spoil(extend, rng), spoil(lens, rng)
    bound = max(wanted + int(rng.choice([0, 3, 300, -3])), 0)
    longer = bound + int(rng.choice([0, 5]))

    request, index, off = extend_rows(extend, bs, bound)
    visible = wrap_int32(lens)[request]
    if expansion.causal:
        behind = visible.astype(np.int64) - wrap_int32(extend)[request] + 1 + index
        visible = np.maximum(wrap_int32(behind), np.int32(0))

    def output(size: int, values: np.ndarray) -> np.ndarray:
        result = np.full(size, POISON, np.int32)
        result[: len(values)] = values
        return result

    expected = {
        "out_seqlens_expanded": output(bound, visible),
        "out_nsa_cache_seqlens": output(longer, np.minimum(visible, expansion.topk)),
    }
    if expansion.total:
        expected["out_total"] = np.array([min(int(off[-1]), bound)], np.int32)
    return ExpandCase(expansion, {"extend_seq_lens": extend, "seq_lens": lens}, expected)


def cases(seed: int, max_bs: int = 4096):
    """Every expansion over batches of many sizes, ordinary and hostile."""
    rng = np.random.default_rng(seed)
    for expansion in EXPANSIONS:
        for bs in (0, 1, 2, 17, 255, 256, 300, 4096):
            for hostile in (False, True):
                if bs <= max_bs:
                    yield draw(expansion, bs, rng, hostile)
