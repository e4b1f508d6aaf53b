# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the tests of metadata copies run, on the host and on a GPU alike.

As in decode_cases.py, with the arrays of strided_arrays.py: every array is a strided
view in a storage of its own, and whatever no formula names has to stay as it was, in the
sources too.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from decode_cases import draw, pairwise
from strided_arrays import (
    TABLE_LAYOUTS,
    VECTOR_LAYOUTS,
    Array,
    Arrays,
    Placement,
    pattern,
    place_table,
    place_vector,
)

import nsa
from nsa import _metadata

OPTIONAL = tuple(name for name, optional in _metadata.FIELDS.items() if optional)
#: Which fields destinations have: sets of optional ones, all at random, or one each.
FIELD_SETS = (
    "default",
    "real_page_table",
    "flashmla",
    "all",
    "drawn optional",
    "drawn",
    "one each",
)
FACTORS: dict[str, Sequence[Any]] = {
    "mode": _metadata.MODES,
    "field_set": FIELD_SETS,
    "backends": (1, 2, 3, 5, 16),
    "vectors_layout": tuple(VECTOR_LAYOUTS),
    "tables_layout": tuple(TABLE_LAYOUTS),
    "source_layout": tuple(TABLE_LAYOUTS),
    "bs": (0, 1, 7, 128),
    "columns": (0, 1, 37, 129, 4096),
    "draft": (1, 3),
    "page_size": (1, 4, 64),
    "wider": (False, True),
    "sizes": ("given", "inferred"),
}


@dataclass(frozen=True)
class CopyCase:
    mode: str
    field_set: str
    backends: int
    vectors_layout: str = "packed"
    tables_layout: str = "packed"
    source_layout: str = "packed"
    bs: int = 7
    columns: int = 129
    #: Expanded rows per request outside of decode.
    draft: int = 3
    page_size: int = 64
    #: Whether arrays are larger than what is copied.
    wider: bool = True
    sizes: str = "given"
    seed: int = 0

    @property
    def rows(self) -> int:
        return self.bs if self.mode == "decode" else self.bs * self.draft

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What of each field is copied, from element 0 on."""
        shapes: dict[str, tuple[int, ...]] = {
            "cache_seqlens": (self.bs,),
            "cu_seqlens_k": (self.bs + 1,),
            "seqlens_expanded": (self.rows,),
            "nsa_cache_seqlens": (self.rows,),
            "nsa_cu_seqlens_k": (self.rows + 1,),
            "page_table_1": (self.rows, self.columns),
            "real_page_table": (self.rows, -(-self.columns // self.page_size)),
            "flashmla_num_splits": (self.rows + 1,),
            "flashmla_metadata": (13, 8),
        }
        return {name: shapes[name] for name in _metadata.fields_of(self.mode)}

    def fields(self) -> tuple[list[str], list[list[str]]]:
        """The source's fields and those of each destination."""
        rng = random.Random(self.seed)
        names = _metadata.fields_of(self.mode)
        default = [name for name in names if name not in OPTIONAL]
        fixed = {
            "default": default,
            "real_page_table": [*default, "real_page_table"],
            "flashmla": [*default, "flashmla_num_splits", "flashmla_metadata"],
            "all": names,
        }
        if self.field_set in fixed:
            sets = [fixed[self.field_set]] * self.backends
        elif self.field_set == "drawn optional":
            sets = [
                default + rng.sample(OPTIONAL, rng.randint(0, len(OPTIONAL)))
                for _ in range(self.backends)
            ]
        elif self.field_set == "drawn":
            sets = [
                rng.sample(names, rng.randint(1, len(names)))
                for _ in range(self.backends)
            ]
        else:
            sets = [[names[n % len(names)]] for n in range(self.backends)]
        source = [n for n in names if any(n in s for s in sets)]
        if rng.random() < 0.3:  # a field that nobody takes
            source = list(names)
        return source, sets


def copy_cases(drawn: int = 150) -> list[CopyCase]:
    rows = pairwise(FACTORS, seed=21) + draw(FACTORS, drawn, seed=22)
    return [CopyCase(**row, seed=seed) for seed, row in enumerate(rows)]


#: What the benchmark, SGLang's tests and the compat functions ask for.
NAMED_SETS = (
    *(
        ("decode", field_set, backends)
        for field_set in ("default", "real_page_table", "flashmla", "all")
        for backends in (1, 3)
    ),
    *(("decode", "all", backends) for backends in (2, 4, 6, 8, 12, 16)),
    *(("target_verify", "all", backends) for backends in (1, 3)),
    *(("draft_extend", "all", backends) for backends in (1, 3)),
)


def gpu_copy_cases() -> list[CopyCase]:
    """Fewer, since each text is a bundle that is carried along."""
    rows = pairwise(FACTORS, seed=23)
    cases = [CopyCase(**row, seed=seed) for seed, row in enumerate(rows)]
    # A seed under which the source has what destinations have, and no more.
    named = [CopyCase(*key, seed=3) for key in NAMED_SETS]
    return cases + named


@dataclass
class CopyProblem:
    """A case with its arrays."""

    case: CopyCase
    arrays: Arrays
    source: dict[str, Array] = field(default_factory=dict)
    destinations: list[dict[str, Array]] = field(default_factory=list)

    def __post_init__(self) -> None:
        case = self.case
        rng = random.Random(case.seed + 1)
        values = np.random.default_rng(case.seed)
        source, sets = case.fields()
        shapes = case.shapes()
        for name in source:
            shape = list(shapes[name])
            # Inferred sizes are those of the source's arrays.
            if case.wider and case.sizes == "given" and name != "flashmla_metadata":
                shape[-1] += 0 if name == "real_page_table" else 3
                if case.mode == "decode" and len(shape) == 2:
                    shape[0] += 2
            layout = case.source_layout if len(shape) == 2 else self.vector_layout(rng)
            placement = self.place(name, tuple(shape), layout)
            content = values.integers(-(2**31), 2**31, shape, np.int32)
            self.source[name] = self.make(placement, content)
        for number, names in enumerate(sets):
            destination = {}
            for name in names:
                shape = list(shapes[name])
                if case.wider:
                    shape = [n + 5 for n in shape]
                    if name == "flashmla_metadata":
                        shape[-1] -= 5
                if len(shape) == 2:
                    layout = case.tables_layout
                    if number:
                        layout = rng.choice(list(TABLE_LAYOUTS))
                else:
                    layout = case.vectors_layout if not number else self.vector_layout(rng)
                placement = self.place(name, tuple(shape), layout)
                destination[name] = self.make(placement, None)
            self.destinations.append(destination)

    def vector_layout(self, rng: random.Random) -> str:
        return rng.choice(list(VECTOR_LAYOUTS))

    def place(self, name: str, shape: tuple[int, ...], layout: str) -> Placement:
        if len(shape) == 1:
            placement = place_vector(shape[0], layout)
        elif name == "flashmla_metadata":
            placement = place_table(*shape, "packed")
        else:
            placement = place_table(*shape, layout)
        if not self.arrays.negative_strides:
            placement = placement.without_negative_strides()
        return placement

    def make(self, placement: Placement, content: np.ndarray | None) -> Array:
        margin = self.arrays.margin
        # Without a margin, a storage is as small as its array.
        spare = 8 if margin else 0
        count = 2 * margin + placement.offset + placement.span + spare
        image = pattern(count, np.int32)
        if content is not None:
            placement.view(image, margin)[...] = content
        view, read = self.arrays.upload(image, placement, writable=content is None)
        array = Array(image, view, read)
        array.placement = placement  # type: ignore[attr-defined]
        return array

    def expect(self) -> None:
        """Writes what a copy writes to the images of the destinations."""
        shapes = self.case.shapes()
        margin = self.arrays.margin
        for destination in self.destinations:
            for name, array in destination.items():
                source = self.source[name]
                shape = shapes[name]
                first = 1 if name.endswith("cu_seqlens_k") else 0
                part = (slice(first, shape[0]), *(slice(n) for n in shape[1:]))
                got = source.placement.view(source.image, margin)  # type: ignore
                array.placement.view(array.image, margin)[part] = got[part]  # type: ignore

    def sizes(self) -> dict[str, int]:
        if self.case.sizes == "inferred":
            # What the fields that are there do not say has to be given.
            named = {
                "bs": ("cache_seqlens", "cu_seqlens_k"),
                "columns": ("page_table_1",),
                "rows": ("seqlens_expanded", "nsa_cache_seqlens", "nsa_cu_seqlens_k"),
            }
            used = {n for d in self.destinations for n in d}
            missing = {k for k, names in named.items() if not used & {*names}}
        else:
            missing = {"bs", "columns", "rows"}
        decode = self.case.mode == "decode"
        values = {
            "bs": ("bs", self.case.bs),
            "columns": ("max_len" if decode else "max_seqlen_k", self.case.columns),
            "rows": ("seqlens_expanded_size", self.case.rows),
        }
        sizes = dict(values[key] for key in values if key in missing)
        if decode:
            sizes.pop("seqlens_expanded_size", None)
        return sizes

    @property
    def arguments(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        return (
            {name: array.view for name, array in self.source.items()},
            [{n: a.view for n, a in d.items()} for d in self.destinations],
        )

    def run(self) -> None:
        src, dsts = self.arguments
        nsa.ops.copy_metadata(src, dsts, self.case.mode, **self.sizes())

    def check(self) -> None:
        self.expect()
        named = [(f"src_{n}", a) for n, a in self.source.items()]
        for number, destination in enumerate(self.destinations):
            named += [(f"b{number}_{n}", a) for n, a in destination.items()]
        for name, array in named:
            got = array.read()
            if not np.array_equal(got, array.image):
                at = int(np.flatnonzero(got != array.image)[0])
                raise AssertionError(
                    f"{name}: element {at} of its storage: expected {array.image[at]} "
                    f"but got {got[at]}"
                )


def run_copies(cases: Sequence[CopyCase], arrays: Arrays) -> None:
    failures = []
    for case in cases:
        try:
            problem = CopyProblem(case, arrays)
            problem.run()
            problem.check()
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}\n{case}")
            if len(failures) == 5:
                break
    assert not failures, "\n\n".join(failures)


def copy_texts(cases: Sequence[CopyCase]) -> Mapping[str, None]:
    """The texts that the cases need."""
    from nsa.ops import _Copy

    texts = {}
    for case in cases:
        source, sets = case.fields()
        copy = _Copy(case.mode, tuple(source), tuple(map(tuple, sets)))
        texts[copy.text] = None
    return texts
