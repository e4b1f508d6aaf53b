# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the decode tests run, on the host and on a GPU alike.

A `Variant` is what the text of a step depends on, a `Case` is a variant with sizes,
layouts and contents, a `Problem` is a case with its arrays: it knows the arguments of
the call and checks everything afterwards.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
from reference import reference_metadata
from strided_arrays import (
    INPUT_TABLE_LAYOUTS,
    TABLE_LAYOUTS,
    VECTOR_LAYOUTS,
    Array,
    Arrays,
    Placement,
    limits,
    pattern,
    place_table,
    place_vector,
)

import nsa
from nsa import _cache, steps

STEP = "decode_replay"
FIELDS = tuple(steps.DECODE_FIELDS)
TABLES = ("page_table_1", "real_page_table")
FLAGSHIP_FIELDS = tuple(name for name in FIELDS if name != "seqlens_expanded")

# ----------------------------------------------------------------------------
# Variants and cases
# ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """What the text of a decode step depends on."""

    fields: tuple[tuple[str, ...], ...]
    seq_lens_dtype: str = "int64"
    pool_dtype: str = "int64"
    topk: int | None = 2048
    page_size: int | None = 64

    def __post_init__(self) -> None:
        # What no field needs is not given.
        names = {name for backend in self.fields for name in backend}
        if not any(name.startswith("nsa_") for name in names):
            object.__setattr__(self, "topk", None)
        if "real_page_table" not in names:
            object.__setattr__(self, "page_size", None)
        if not self.has_tables:
            object.__setattr__(self, "pool_dtype", "int64")

    @property
    def outputs(self) -> list[tuple[int, str]]:
        return [(n, name) for n, names in enumerate(self.fields) for name in names]

    @property
    def has_tables(self) -> bool:
        return any(name in TABLES for _, name in self.outputs)

    @property
    def has_lengths(self) -> bool:
        return any(name not in TABLES for _, name in self.outputs)

    @property
    def text(self) -> str:
        return steps.decode_replay(
            self.fields, self.seq_lens_dtype, self.pool_dtype, self.topk, self.page_size
        )

    def step(self, target: str, fuse: bool = True) -> Any:
        return _cache.get_step(STEP, self.text, target, fuse=fuse)


FLAGSHIP = Variant((FLAGSHIP_FIELDS,) * 3)
MANY_BACKENDS = Variant((FIELDS,) * 16, page_size=4)
#: For captured graphs and for bindings that serve many sizes.
EVERYTHING_TWICE = Variant((FIELDS,) * 2, page_size=3)
EVERYTHING_ONCE = Variant((FIELDS,))

#: req_to_token beside max_len.
TABLE_SIZES = ("same", "wider", "narrower", "no columns", "no rows")
CONTENTS = ("ordinary", "hostile", "wrapping")
BATCHES = (0, 1, 2, 31, 33, 128, 1024, 4096)
MAX_LENS = (0, 1, 3, 4, 5, 7, 8, 37, 64, 65, 129, 1023, 1025)


@dataclass(frozen=True)
class Case:
    variant: Variant
    bs: int
    max_len: int
    table_size: str = "wider"
    contents: str = "ordinary"
    seq_lens_layout: str = "packed"
    pool_layout: str = "packed"
    table_layout: str = "packed"
    # Of the first backend; the others' are drawn.
    vectors_layout: str = "packed"
    tables_layout: str = "packed"
    caller: str = "ops"
    seed: int = 0

    def __str__(self) -> str:
        fields = "; ".join(", ".join(names) for names in self.variant.fields)
        return (
            f"bs {self.bs}, max_len {self.max_len}, table {self.table_size} and "
            f"{self.table_layout}, contents {self.contents}, seq_lens "
            f"{self.variant.seq_lens_dtype} {self.seq_lens_layout}, pool "
            f"{self.variant.pool_dtype} {self.pool_layout}, outputs "
            f"{self.vectors_layout} and {self.tables_layout}, topk {self.variant.topk}, "
            f"page_size {self.variant.page_size}, by {self.caller}, seed {self.seed}, "
            f"fields {fields}"
        )


FIELD_SETS = (
    "all",
    "flagship",
    "lengths",
    "sums",
    "page_table_1",
    "real_page_table",
    "tables",
    "divided",
    "drawn",
)

VARIANT_FACTORS: dict[str, Sequence[Any]] = {
    "field_set": FIELD_SETS,
    "backends": (1, 2, 3),
    "seq_lens_dtype": ("int32", "int64"),
    "pool_dtype": ("int32", "int64"),
    "topk": (1, 64, 2048),
    "page_size": (1, 3, 4, 48, 64),
}
CASE_FACTORS: dict[str, Sequence[Any]] = {
    "bs": BATCHES,
    "max_len": MAX_LENS,
    "table_size": TABLE_SIZES,
    "contents": CONTENTS,
    "seq_lens_layout": tuple(VECTOR_LAYOUTS),
    "pool_layout": tuple(VECTOR_LAYOUTS),
    "table_layout": tuple(INPUT_TABLE_LAYOUTS),
    "vectors_layout": tuple(VECTOR_LAYOUTS),
    "tables_layout": tuple(TABLE_LAYOUTS),
    "caller": ("ops", "step"),
}


def make_fields(
    field_set: str, backends: int, rng: random.Random
) -> tuple[tuple[str, ...], ...]:
    if field_set == "divided":  # no field twice
        return tuple(FIELDS[n::backends] for n in range(backends))
    if field_set == "drawn":
        return tuple(
            tuple(rng.sample(FIELDS, rng.randint(1, len(FIELDS))))
            for _ in range(backends)
        )
    names = {
        "all": FIELDS,
        "flagship": FLAGSHIP_FIELDS,
        "lengths": ("cache_seqlens", "seqlens_expanded", "nsa_cache_seqlens"),
        "sums": ("cu_seqlens_k", "nsa_cu_seqlens_k"),
        "tables": TABLES,
    }.get(field_set, (field_set,))
    return (names,) * backends


def make_variant(row: Mapping[str, Any], rng: random.Random) -> Variant:
    return Variant(
        make_fields(row["field_set"], row["backends"], rng),
        row["seq_lens_dtype"],
        row["pool_dtype"],
        row["topk"],
        row["page_size"],
    )


def pairwise(
    factors: Mapping[str, Sequence[Any]], seed: int, tries: int = 20
) -> list[dict[str, Any]]:
    """Rows in which every two values of different factors meet; greedy, repeatable."""
    rng = random.Random(seed)
    names = list(factors)
    missing = {
        ((a, x), (b, y)): None
        for a, b in combinations(names, 2)
        for x, y in product(factors[a], factors[b])
    }

    def pairs(row: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        return list(combinations([(name, row[name]) for name in names], 2))

    rows = []
    while missing:
        (a, x), (b, y) = next(iter(missing))
        candidates = []
        for _ in range(tries):
            row = {name: rng.choice(values) for name, values in factors.items()}
            row[a], row[b] = x, y
            candidates.append(row)
        best = max(candidates, key=lambda row: sum(p in missing for p in pairs(row)))
        for pair in pairs(best):
            missing.pop(pair, None)
        rows.append(best)
    return rows


def draw(
    factors: Mapping[str, Sequence[Any]], count: int, seed: int
) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    return [
        {name: rng.choice(values) for name, values in factors.items()}
        for _ in range(count)
    ]


def host_cases(drawn: int = 200) -> list[Case]:
    """Every pair of values of all factors, and `drawn` cases more with their texts."""
    rng = random.Random(7)
    cases = []
    for seed, row in enumerate(pairwise({**VARIANT_FACTORS, **CASE_FACTORS}, seed=1)):
        shape = {name: row[name] for name in CASE_FACTORS}
        cases.append(Case(make_variant(row, rng), **shape, seed=seed))
    variants = [case.variant for case in cases]
    for row in draw(CASE_FACTORS, drawn, seed=2):
        cases.append(Case(rng.choice(variants), **row, seed=len(cases)))
    return cases


def gpu_variants() -> list[Variant]:
    """Every pair of what texts depend on; few enough to be carried as bundles."""
    rng = random.Random(11)
    rows = pairwise(VARIANT_FACTORS, seed=3)
    variants = [make_variant(row, rng) for row in rows]
    named = [FLAGSHIP, MANY_BACKENDS, EVERYTHING_ONCE, EVERYTHING_TWICE]
    return list(dict.fromkeys([*named, *variants]))


def gpu_cases(drawn: int = 30) -> list[Case]:
    """Every pair of sizes, layouts and contents, over the texts of gpu_variants."""
    variants = gpu_variants()
    variants.remove(MANY_BACKENDS)
    rows = pairwise(CASE_FACTORS, seed=4) + draw(CASE_FACTORS, drawn, seed=5)
    return [
        Case(variants[seed % len(variants)], **row, seed=seed)
        for seed, row in enumerate(rows)
    ]


# ----------------------------------------------------------------------------
# Problems
# ----------------------------------------------------------------------------


def draw_values(
    case: Case, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """seq_lens, req_pool_indices and req_to_token."""
    columns = {
        "same": case.max_len,
        "wider": case.max_len + 5,
        "narrower": case.max_len // 2,
        "no columns": 0,
    }.get(case.table_size, case.max_len)
    # Fewer rows than requests: some have the same one.
    rows = 0 if case.table_size == "no rows" else case.bs // 2 + 3
    seq_lens = rng.integers(0, case.max_len + 1, case.bs)
    pool = rng.integers(0, max(rows, 1), case.bs)
    lowest = 0 if case.contents == "ordinary" else -(2**31)
    table = rng.integers(lowest, 2**31, (rows, columns), np.int32)
    if case.contents == "hostile":
        seq_lens = rng.choice(limits(case.max_len), case.bs)
        wild = rng.choice(limits(rows), case.bs)
        pool = np.where(rng.random(case.bs) < 0.5, pool, wild)
    elif case.contents == "wrapping":
        seq_lens = rng.integers(2**30, 2**31, case.bs)
    return (
        seq_lens.astype(case.variant.seq_lens_dtype),
        pool.astype(case.variant.pool_dtype),
        table,
    )


def reference_for(
    case: Case, seq_lens: np.ndarray, pool: np.ndarray, table: np.ndarray
) -> dict[str, np.ndarray]:
    """Every field of the case, at its exact size."""
    topk, page_size = case.variant.topk or 1, case.variant.page_size or 1
    return reference_metadata(
        "decode", seq_lens, pool, table, case.max_len, topk, page_size
    )


@dataclass
class Problem:
    """A case with its arrays, which `tight` makes no larger than they have to be."""

    case: Case
    arrays: Arrays
    tight: bool = False
    inputs: dict[str, Array] = field(default_factory=dict)
    outputs: dict[tuple[int, str], Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        case, variant = self.case, self.case.variant
        self.rng = np.random.default_rng(case.seed)
        # Elements past the batch are nobody's business.
        extra = int(self.rng.integers(0, 6)) if case.caller == "step" else 0
        if self.tight:
            extra = 0
        seq_lens, pool, table = draw_values(case, self.rng)
        if variant.has_lengths or case.caller == "ops":
            self.add_vector("seq_lens", seq_lens, extra, case.seq_lens_layout)
        if variant.has_tables:
            self.add_vector("req_pool_indices", pool, extra, case.pool_layout)
            place = place_table(*table.shape, case.table_layout)
            if place.strides[0] == 0:
                table[:] = table[:1]
            self.inputs["req_to_token"] = self.make(place, np.int32, table, False)
        expected = reference_for(case, seq_lens, pool, table)
        for backend, name in variant.outputs:
            want = expected[name]
            self.outputs[backend, name] = self.make(
                self.place_output(backend, want), np.int32, want, True
            )

    def add_vector(
        self, name: str, values: np.ndarray, extra: int, layout: str
    ) -> None:
        place = place_vector(len(values) + extra, layout)
        self.inputs[name] = self.make(place, values.dtype, values, False)

    def place_output(self, backend: int, want: np.ndarray) -> Placement:
        case, rng = self.case, self.rng
        extra = [0 if self.tight else int(n) for n in rng.integers(0, 6, 2)]
        if want.ndim == 1:
            layout = case.vectors_layout
            if backend:
                layout = str(rng.choice(list(VECTOR_LAYOUTS)))
            return place_vector(len(want) + extra[0], layout)
        layout = case.tables_layout
        if backend:
            layout = str(rng.choice(list(TABLE_LAYOUTS)))
        rows, columns = want.shape
        # A row stride of 0 would make the rows overlap.
        return place_table(rows + extra[0], max(columns + extra[1], 1), layout)

    def make(
        self, place: Placement, dtype: Any, values: np.ndarray, writable: bool
    ) -> Array:
        """An array that holds `values`, or that will have to if it is `writable`."""
        if not self.arrays.negative_strides:
            place = place.without_negative_strides()
        margin = self.arrays.margin
        storage = pattern(place.offset + place.span + 2 * margin, dtype)
        image = storage.copy()
        part = place.view(image, margin)[tuple(slice(n) for n in values.shape)]
        part[...] = values
        view, read = self.arrays.upload(storage if writable else image, place, writable)
        return Array(image, view, read)

    @cached_property
    def ports(self) -> dict[str, Any]:
        """The arguments of the step."""
        arguments: dict[str, Any] = {"bs": self.case.bs}
        if self.case.variant.has_tables:
            arguments["max_len"] = self.case.max_len
        arguments.update({name: array.view for name, array in self.inputs.items()})
        if not self.case.variant.has_lengths:
            arguments.pop("seq_lens", None)
        for (backend, name), array in self.outputs.items():
            arguments[steps.port(backend, name)] = array.view
        return arguments

    def call_operation(self, **options: Any) -> None:
        """By nsa.ops.replay_metadata."""
        variant = self.case.variant
        dsts: list[dict[str, Any]] = [{} for _ in variant.fields]
        for (backend, name), array in self.outputs.items():
            dsts[backend][name] = array.view
        arguments = {name: array.view for name, array in self.inputs.items()}
        if variant.has_tables:
            arguments["max_len"] = self.case.max_len
        nsa.ops.replay_metadata(
            dsts,
            **arguments,
            topk=variant.topk,
            page_size=variant.page_size,
            **options,
        )

    def run(self) -> None:
        if self.case.caller == "ops":
            self.call_operation()
        else:
            self.case.variant.step(self.arrays.target)(**self.ports)

    def check(self) -> None:
        """Compares every array, all of its storage, with what it should hold."""
        arrays: dict[str, Array] = dict(self.inputs)
        for (backend, name), array in self.outputs.items():
            arrays[steps.port(backend, name)] = array
        for name, array in arrays.items():
            got = array.read()
            if not np.array_equal(got, array.image):
                wrong = np.flatnonzero(got != array.image)
                at = int(wrong[0])
                raise AssertionError(
                    f"{name}: {len(wrong)} elements differ, the first is element {at} "
                    f"of its storage: expected {array.image[at]} but got {got[at]}\n"
                    f"{self.case}"
                )

    def contents(self) -> dict[tuple[int, str], np.ndarray]:
        """A copy of what the outputs' storages hold."""
        return {key: array.read().copy() for key, array in self.outputs.items()}


def run_case(case: Case, arrays: Arrays) -> None:
    problem = Problem(case, arrays)
    problem.run()
    problem.check()
