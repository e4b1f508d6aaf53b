# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step that stores to computed places, for tests of what guards say of two elements that
go to one of them."""

from __future__ import annotations

from typing import Any

import numpy as np

import nsa

#: Two backends, a condition, two dimensions. Places outside of an array are dropped.
TEXT = """
nsa.step @places(in %n : index, in %v[%n] : tensor<?xi32>, in %keep[%n] : tensor<?xi8>,
                 in %p[%n] : tensor<?xi64>, in %q[%n] : tensor<?xi64>,
                 out %a : memref<?xi32>, out %b : memref<?xi32>,
                 out %c : memref<?xi32>, out %d : memref<?x?xi32>) {
  nsa.copy %v at [%p] to %a, %b : tensor<?xi32> at tensor<?xi64> to memref<?xi32>, memref<?xi32>
  nsa.copy %v when %keep at [%q] to %c
      : tensor<?xi32> when tensor<?xi8> at tensor<?xi64> to memref<?xi32>
  nsa.copy %v at [%q, %p] to %d
      : tensor<?xi32> at tensor<?xi64>, tensor<?xi64> to memref<?x?xi32>
}
"""
#: Where each array's copy stands in it.
PLACES = {"a": "<string>:6:3", "b": "<string>:6:3", "c": "<string>:7:3", "d": "<string>:9:3"}
#: One copy, for many elements.
ONE_TEXT = """
nsa.step @one_place(in %n : index, in %p[%n] : tensor<?xi64>, out %a : memref<?xi64>) {
  nsa.copy %p at [%p] to %a : tensor<?xi64> at tensor<?xi64> to memref<?xi64>
}
"""
#: How many places of an array a launch remembers, and how many records a buffer has.
CLAIMS, RECORDS = 65536, 64
POISON = -7


class Places:
    """Arrays of `TEXT` for elements that go to `p` and `q`, those of `keep` in `c`. `upload`
    puts an array where kernels run, `download` gets it back."""

    def __init__(
        self,
        p: Any,
        q: Any,
        keep: Any = None,
        upload: Any = lambda array: array,
        download: Any = lambda array: array,
    ) -> None:
        self.p, self.q = np.asarray(p, np.int64), np.asarray(q, np.int64)
        self.n = len(self.p)
        self.keep = np.ones(self.n) if keep is None else np.asarray(keep)
        self.values = np.arange(self.n, dtype=np.int32)
        # As large as most places ask for.
        size = max(self.n, 1)
        self.host = {
            "v": self.values,
            "keep": self.keep.astype(np.int8),
            "p": self.p,
            "q": self.q,
            **{name: np.full(size, POISON, np.int32) for name in "abc"},
            "d": np.full((min(size, 50), size), POISON, np.int32),
        }
        self.arrays = {name: upload(array) for name, array in self.host.items()}
        self.download = download

    def arguments(self) -> dict[str, Any]:
        return {"n": self.n, **self.arrays}

    def goes(self, name: str) -> dict[tuple[int, ...], list[int]]:
        """The elements that go to each place of an array."""
        shape = self.host[name].shape
        found: dict[tuple[int, ...], list[int]] = {}
        for i in range(self.n):
            if name == "c" and not self.keep[i]:
                continue
            place = {"c": (self.q[i],), "d": (self.q[i], self.p[i])}.get(name, (self.p[i],))
            if all(0 <= index < size for index, size in zip(place, shape)):
                found.setdefault(tuple(map(int, place)), []).append(i)
        return found

    def taken(self) -> dict[tuple[Any, ...], int]:
        """How many elements come too late, by array and place."""
        return {
            (name, *place): len(elements) - 1
            for name in "abcd"
            for place, elements in self.goes(name).items()
            if len(elements) > 1
        }

    def check_outputs(self) -> None:
        """Each place has one of its elements; others are as they were."""
        for name in "abcd":
            got = self.download(self.arrays[name])
            goes = self.goes(name)
            for place, elements in goes.items():
                assert got[place] in elements
            left = np.ones(got.shape, bool)
            for place in goes:
                left[place] = False
            assert np.all(got[left] == POISON)

    def check_report(self, error: nsa.AccessError | None, launches: int = 1) -> None:
        """What is in it is each element that comes too late."""
        want = {key: count * launches for key, count in self.taken().items()}
        if not want:
            assert error is None
            return
        assert error is not None and error.count == sum(want.values())
        assert len(error.accesses) == min(error.count, RECORDS)
        told: dict[tuple[Any, ...], int] = {}
        for access in error.accesses:
            assert access.kind == "duplicate" and access.op == "nsa.copy"
            assert access.location == PLACES[access.argument]
            rank = self.host[access.argument].ndim
            assert (access.row is not None) == (rank == 2) and access.dimension == rank - 1
            assert access.bound == self.host[access.argument].shape[-1]
            place = (access.index,) if access.row is None else (access.row, access.index)
            key = (access.argument, *place)
            told[key] = told.get(key, 0) + 1
        assert all(told[key] <= want[key] for key in told)
        if error.count <= RECORDS:
            assert told == want
        for name in nsa.Access._fields:
            assert getattr(error, name) == getattr(error.accesses[0], name)


def cases() -> dict[str, tuple[Any, Any, Any]]:
    """Places `p` and `q`, and what to keep, by name."""
    random = np.random.default_rng(0)
    n = 300
    shuffled, other = random.permutation(n), random.permutation(n)
    once = np.zeros(n)
    once[17] = 1
    pair = shuffled.copy()
    pair[5] = pair[250]
    outside = shuffled.copy()
    outside[::3] = random.choice([-1, n, n + 5, 2**40, -(2**63), 2**63 - 1], n // 3)
    return {
        "none": ([], [], None),
        "one": ([0], [0], None),
        # The same places in several arrays.
        "permuted": (shuffled, shuffled, None),
        # Pairs are apart, and so is what is kept.
        "kept apart": (shuffled, np.full(n, 3), once),
        "none kept": (shuffled, np.full(n, 3), np.zeros(n)),
        # Dropped ones meet nowhere.
        "outside": (outside, other, None),
        "two of one place": (pair, other, None),
        "two backends": (np.append(np.arange(4), 2), np.arange(5), None),
        "next to one another": (np.arange(100) // 2, np.arange(100), None),
        # More than there are records, and of one place alone.
        "all": (np.zeros(n), np.zeros(n), None),
        "random": (random.integers(-5, n + 5, n), random.integers(-3, 60, n), once + 1),
        "few rows": (random.integers(0, 9, 40), random.integers(0, 3, 40), None),
    }


def check(step: nsa.Step) -> nsa.AccessError | None:
    """The error; without one, all elements have been looked at."""
    try:
        assert step.check() == 0
    except nsa.AccessError as error:
        assert error.unclaimed == 0
        return error
    return None
