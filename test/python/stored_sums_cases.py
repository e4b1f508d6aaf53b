# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps whose sums a launch before stores, and what they have to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nsa.build as nb

#: Elements of a stored sum.
TILE = 32
MANY = 65_536
#: Where tiles, and what blocks share of them, end, and beside it.
SIZES = (0, 1, 31, 32, 33, 64, 1000, 1024, 1025, 32 * 1024 - 1, 32 * 1024 + 1, 70_000)


def build(dtype: str, inclusive: bool = False, expected: int | None = MANY) -> nb.Builder:
    """Sums are stored, read anywhere and searched, and sums of what a search says as well."""
    s = nb.Builder("stored_sums")
    n, m = s.size("n", expected=expected), s.size("m")
    counts = s.input("counts", dtype, (n,))
    at = s.input("at", "int64", (m,))
    sums = s.scan(s.map(n, lambda i: nb.maximum(counts[i], 0)), inclusive=inclusive)
    s.output("sums", sums)
    s.output("read", s.map(m, lambda j: sums[at[j]].otherwise(-1)))
    s.output("found", s.map(m, lambda j: sums.search(at[j]), dtype="int32"))
    s.output("total", s.map(1, lambda _: sums[n].otherwise(-1)))
    # The owners of the first n places.
    owner = s.map(n, lambda i: sums.search(i), dtype=dtype)
    of_owners = s.scan(owner)
    s.output("of_owners", s.map(m, lambda j: of_owners[at[j]].otherwise(-1)))
    return s


def texts() -> set[str]:
    return {build(dtype, inclusive).text for dtype in ("int32", "int64") for inclusive in (False, True)}


def check(
    step: Any,
    dtype: str,
    inclusive: bool,
    n: int,
    m: int = 300,
    asarray: Callable[[Any], Any] = np.asarray,
    asnumpy: Callable[[Any], Any] = np.asarray,
) -> None:
    draw = np.random.default_rng(n)
    info = np.iinfo(dtype)
    counts = draw.choice([-3, 0, 0, 1, 2, info.min], n).astype(dtype)
    sums = np.cumsum(np.maximum(counts, 0), dtype=dtype)
    if not inclusive:
        sums = np.concatenate([np.zeros(1, dtype), sums])
    high = int(sums[-1]) + 2 if len(sums) else 2
    at = draw.integers(-2, max(n, high) + 2, m)
    at[:4] = [-(2**63), 2**63 - 1, n, high - 2]

    def element(array: np.ndarray) -> np.ndarray:
        inside = (at >= 0) & (at < len(array))
        made = np.full(m, -1, dtype)
        made[inside] = array[at[inside]]
        return made

    owners = np.searchsorted(sums, np.arange(n), "right")
    of_owners = np.concatenate([[0], np.cumsum(owners)]).astype(dtype)
    wanted = {
        "sums": sums,
        "read": element(sums),
        "total": np.array([-1 if inclusive else sums[-1]], dtype),
        "found": np.searchsorted(sums.astype(np.int64), at, "right").astype(np.int32),
        "of_owners": element(of_owners),
    }
    out = {name: asarray(np.full_like(array, 77)) for name, array in wanted.items()}
    stale = np.full(-(-n // TILE) + 1, info.min + 5, dtype)
    spaces = {
        name: asarray(stale.copy())
        for name in ("workspace", "workspace1")
        if name in step.signature.parameters
    }
    step(n=n, m=m, counts=asarray(counts), at=asarray(at), **out, **spaces)
    for name, array in wanted.items():
        np.testing.assert_array_equal(asnumpy(out[name]), array, err_msg=f"{name}, {n}")
    for array in spaces.values():
        assert asnumpy(array)[-1] == stale[-1]
