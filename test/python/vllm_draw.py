# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Batches of vLLM steps, with lengths around what they are divided by, and with hostile
contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import vllm_reference

#: What nobody writes.
FILL = -77
EDGES = (0, 1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 255, 256, 257, 384, 500)


@dataclass
class Case:
    """A call: arguments by name; those in `outs` are written."""

    name: str
    arguments: dict[str, Any]
    outs: tuple[str, ...]


class Draw:
    """Where cases get what they are made of."""

    def __init__(
        self, seed: int, hostile: bool = False, small: bool = False, large: bool = False
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.hostile, self.small = hostile, small
        self.index = ("int32", "int64")[seed // 2 % 2]
        self.R = int(self.rng.choice([1, 2, 3] if small else [0, 1, 2, 5, 33]))
        self.R = 150 if large else self.R
        most = 4 if small else 9
        queries = self.rng.integers(0, most, self.R)
        self.q = np.concatenate([[0], np.cumsum(queries)]).astype(self.index)
        self.total = int(self.q[-1])
        lens = np.where(
            self.rng.random(self.R) < 0.6,
            self.rng.choice(EDGES, self.R) + self.rng.integers(-1, 2, self.R),
            self.rng.integers(0, 500, self.R),
        )
        lens = np.maximum(lens, queries)
        if hostile:
            bad = self.rng.choice([-5, 2**31 - 9, 10**6, 0], self.R)
            lens = np.where(self.rng.random(self.R) < 0.3, bad, lens)
        self.S = lens.astype(self.index)

    def some(self, *numbers: int) -> int:
        return int(self.rng.choice(numbers))

    def table(self, rows: int, columns: int, blocks: int = 900) -> np.ndarray:
        made = self.rng.integers(0, blocks, (rows, columns))
        if self.hostile:
            bad = self.rng.choice([-1, -(2**31), 2**31 - 1], made.shape)
            made = np.where(self.rng.random(made.shape) < 0.1, bad, made)
        return made.astype(np.int32)

    def slots(self, count: int) -> np.ndarray:
        made = self.rng.integers(0, 10**6, count)
        made[self.rng.random(count) < 0.3] = -1
        if self.hostile:
            made[self.rng.random(count) < 0.1] = -9
        return made.astype(np.int64)

    def numbers(self, low: int, high: int, shape: Any, dtype: Any = "") -> np.ndarray:
        """From low to high, hostile ones anywhere."""
        made = self.rng.integers(low, high, shape)
        if self.hostile:
            bad = self.rng.choice([-1, -(2**31), 2**31 - 1, high], made.shape)
            made = np.where(self.rng.random(made.shape) < 0.1, bad, made)
        return made.astype(dtype or self.index)

    def positions(self) -> np.ndarray:
        """Of the tokens, and of some that are none."""
        batch = vllm_reference.Batch(self.q, self.S)
        made = [batch.pos(t) for t in range(self.total)] + [3] * self.some(0, 2, 9)
        return np.array(made, np.int64)

    def cp(self) -> Any:
        size = self.some(1, 2, 3, 8)
        if size == 1:
            return None
        return (size, int(self.rng.integers(0, size)), self.some(1, 4))

    def out(self, *shape: int, dtype: Any = np.int32) -> np.ndarray:
        return np.full(shape, FILL, dtype)
