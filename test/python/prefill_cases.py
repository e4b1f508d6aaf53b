# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of the prefill operations with their arrays, on the host or a device, checked
byte by byte.

A case is what is asked for, a problem the arrays for it: inputs are views of any stride
and offset, and what no formula names holds a pattern that has to survive. Everything
comes from seeds, so the bundles made on one machine fit the tests on another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from prefill_reference import (
    combine,
    compressed_token_ids,
    index_width,
    local_start_loc,
    swa_token_ids,
    windows,
    workspace_bases,
)
from strided_arrays import (
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
from nsa import steps

CONTENTS = ("ordinary", "hostile")


class Problem:
    """Arrays by argument name."""

    #: Where an output of one dimension may lie.
    output_layouts = tuple(VECTOR_LAYOUTS)

    def __init__(self, case: Any, arrays: Arrays) -> None:
        self.case, self.arrays = case, arrays
        self.rng = np.random.default_rng(case.seed)
        self.inputs: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}
        self.values: dict[str, np.ndarray] = {}
        self._corners: dict[str, tuple[Placement, tuple[slice, ...]]] = {}
        #: The sizes that a step has beside those that follow from arrays.
        self.sizes: dict[str, int] = {}

    def _place(self, shape: tuple[int, ...], writable: bool) -> Placement:
        if len(shape) == 1:
            layouts = self.output_layouts if writable else tuple(VECTOR_LAYOUTS)
            placement = place_vector(*shape, layout=str(self.rng.choice(layouts)))
        else:
            layout = str(self.rng.choice(tuple(TABLE_LAYOUTS)))
            placement = place_table(*shape, layout=layout)
        if self.arrays.negative_strides:
            return placement
        return placement.without_negative_strides()

    def _add(
        self, name: str, values: np.ndarray, shape: tuple[int, ...], writable: bool
    ) -> Array:
        """An array of `shape` with `values` in its corner, before or afterwards."""
        placement = self._place(shape, writable)
        margin = self.arrays.margin
        self._corners[name] = placement, tuple(slice(n) for n in values.shape)
        image = pattern(2 * margin + placement.offset + placement.span, values.dtype)
        if not writable:
            self.corner(name, image)[...] = values
        view, read = self.arrays.upload(image, placement, writable)
        if writable:
            self.corner(name, image)[...] = values
        return Array(image, view, read)

    def corner(self, name: str, storage: np.ndarray) -> np.ndarray:
        """What formulas name of an array, in what `storage` has."""
        placement, slices = self._corners[name]
        return placement.view(storage, self.arrays.margin)[slices]

    def add_input(self, name: str, values: np.ndarray, wider: int = 0) -> None:
        self.values[name] = values
        shape = (*values.shape[:-1], values.shape[-1] + wider)
        self.inputs[name] = self._add(name, values, shape, False)

    def add_output(self, name: str, values: np.ndarray, more: tuple[int, ...]) -> None:
        """`more` rows and columns stay as they are."""
        shape = tuple(n + m for n, m in zip(values.shape, more))
        self.outputs[name] = self._add(name, values, shape, True)

    @property
    def views(self) -> dict[str, Any]:
        everything = {**self.inputs, **self.outputs}
        return {name: array.view for name, array in everything.items()}

    def run_step(self, step: Any) -> None:
        """Calls a step that has been compiled from the text of the case."""
        known = step.signature.parameters
        arguments = {**self.sizes, **self.views}
        step(**{name: value for name, value in arguments.items() if name in known})

    def check(self) -> None:
        for name, array in {**self.inputs, **self.outputs}.items():
            got = array.read()
            if np.array_equal(got, array.image):
                continue
            at = int(np.flatnonzero(got != array.image)[0])
            raise AssertionError(
                f"{self.case}: {name}: {np.count_nonzero(got != array.image)} elements "
                f"differ; number {at} of its storage: expected {array.image[at]} but got "
                f"{got[at]}"
            )


def draw(seed: int, options: Sequence[Any]) -> Any:
    """One of `options`, another draw for each number of them and seed."""
    rng = np.random.default_rng([seed, len(options)])
    return options[int(rng.integers(len(options)))]


def draw_lengths(
    rng: np.random.Generator, bs: int, longest: int, contents: str
) -> tuple[np.ndarray, np.ndarray]:
    """(S, E): requests without queries or tokens, with more queries than tokens."""
    S = rng.integers(0, longest + 1, bs)
    E = np.where(rng.random(bs) < 0.3, 0, rng.integers(0, longest // 2 + 2, bs))
    if contents == "hostile":
        wild = rng.random(bs) < 0.5
        S = np.where(wild, rng.choice(limits(longest), bs), S)
        E = np.where(rng.random(bs) < 0.5, rng.choice(limits(longest), bs), E)
    return S, E


def mix(rng: np.random.Generator, values: np.ndarray, bound: int) -> np.ndarray:
    """`values` with numbers among them that are no index of `bound` elements."""
    wild = rng.choice(limits(bound), values.shape)
    return np.where(rng.random(values.shape) < 0.4, wild, values)


# ----------------------------------------------------------------------------
# Window ids
# ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SwaCase:
    bs: int
    window: int = 128
    longest: int = 300
    #: Ids that there is room for, less how many there are.
    room: int = 3
    contents: str = "ordinary"
    #: Of seq_lens, extend_seq_lens, req_pool_indices and full_to_swa.
    dtypes: tuple[str, ...] = ("int32", "int32", "int64", "int64")
    outputs: tuple[str, ...] = ("out_ids", "out_first", "out_lens", "out_offsets")
    seed: int = 0

    @property
    def text(self) -> str:
        return steps.swa_token_ids(self.window, *self.dtypes, self.outputs)

    def problem(self, arrays: Arrays) -> Problem:
        return SwaProblem(self, arrays)


class SwaProblem(Problem):
    def __init__(self, case: SwaCase, arrays: Arrays) -> None:
        super().__init__(case, arrays)
        rng, bs = self.rng, case.bs
        S, E = draw_lengths(rng, bs, case.longest, case.contents)
        rows, slots = bs // 2 + 2, 500
        pool = rng.integers(0, rows, bs)
        table = rng.integers(0, slots, (rows, case.longest))
        swa = rng.integers(0, 2**31, slots)
        if case.contents == "hostile":
            pool, table = mix(rng, pool, rows), mix(rng, table, slots)
            swa = mix(rng, swa, 9)
        names = ("seq_lens", "extend_seq_lens", "req_pool_indices", "full_to_swa")
        for name, values, dtype in zip(names, (S, E, pool, swa), case.dtypes):
            self.add_input(name, values.astype(dtype))
        self.add_input("req_to_token", table.astype(np.int32))
        gathers = windows(S, E, case.window)[0].astype(np.int64)
        total = int(min(np.clip(gathers, 0, 5000).sum(), 5000))
        capacity = max(total + case.room, 0)
        values = dict(self.values)
        expected = swa_token_ids(
            values["seq_lens"],
            values["extend_seq_lens"],
            values["req_pool_indices"],
            values["req_to_token"],
            values["full_to_swa"],
            case.window,
            capacity,
        )
        for name in case.outputs:
            ids = name == "out_ids"
            more = capacity - len(expected[name]) if ids else int(rng.integers(3))
            self.add_output(name, expected[name], (more,))
        self.sizes = {"bs": bs, "id_bound": capacity}

    def run(self, **options: Any) -> None:
        nsa.ops.build_swa_token_ids(**self.views, window=self.case.window, **options)


def swa_cases() -> Iterator[SwaCase]:
    seed = 0
    for bs in (0, 1, 2, 64, 700, 4096):
        for window in (1, 4, 128):
            for contents in CONTENTS:
                seed += 1
                rng = np.random.default_rng(seed)
                yield SwaCase(
                    bs,
                    window,
                    300 if bs < 700 else 8,
                    (3, 0, -7, -10_000)[seed % 4] if bs != 1 else 3,
                    contents,
                    tuple(str(dtype) for dtype in rng.choice(["int32", "int64"], 4)),
                    seed=seed,
                )
    # Each output alone is not needed for ids; nor are columns, slots or rows.
    every = SwaCase(1).outputs
    for left_out in every[1:]:
        outputs = tuple(name for name in every if name != left_out)
        yield SwaCase(33, 128, 300, outputs=outputs, seed=100)
    yield SwaCase(5, 128, 2**14, seed=101)
    yield SwaCase(20, 128, 0, seed=102)


# ----------------------------------------------------------------------------
# Queries of requests
# ----------------------------------------------------------------------------

#: What query_start_loc holds: rows from 0 on, from a row of a longer batch on, around
#: int32's end; or what no engine writes.
START_LOCS = ("local", "global", "wrapping")
CORRUPT_START_LOCS = ("descending", "negative", "huge")


def draw_start_loc(
    rng: np.random.Generator, bs: int, most: int, kind: str
) -> np.ndarray:
    counts = np.where(rng.random(bs) < 0.3, 0, rng.integers(0, most + 1, bs))
    start_loc = np.concatenate([[0], np.cumsum(counts)])
    start_loc += {"global": 12345, "wrapping": 2**31 - 5, "negative": -77}.get(kind, 0)
    if kind in CORRUPT_START_LOCS:
        place = rng.random(bs + 1) < 0.4
        wild = rng.choice(limits(int(start_loc[-1])), bs + 1)
        if kind == "descending":
            wild = start_loc[::-1]
        start_loc = np.where(place, wild, start_loc)
        if kind == "huge":
            start_loc[0], start_loc[-1] = 0, 2**31 - 1
    return start_loc.astype(np.int64).astype(np.int32)


@dataclass(frozen=True)
class CompressedCase:
    bs: int
    ratio: int = 4
    page_size: int = 64
    columns: int = 100
    start_loc: str = "local"
    contents: str = "ordinary"
    seed: int = 0

    @property
    def text(self) -> str:
        return steps.compressed_token_ids(self.ratio, self.page_size)

    def problem(self, arrays: Arrays) -> Problem:
        return CompressedProblem(self, arrays)


class CompressedProblem(Problem):
    def __init__(self, case: CompressedCase, arrays: Arrays) -> None:
        super().__init__(case, arrays)
        rng, bs = self.rng, case.bs
        start_loc = draw_start_loc(rng, bs, 4 if bs > 64 else 20, case.start_loc)
        q0 = local_start_loc(start_loc)
        rows = min(max(q0[-1], 0), 5000)
        pages = 1 if case.ratio == 128 else case.page_size
        width = max(-(-case.columns // pages) + int(rng.integers(-1, 3)), 0)
        table = rng.integers(-1, 1000, (rows, width))
        if case.contents == "hostile":
            table = mix(rng, table, 1000)
            rows = rows // 2
        self.add_input("table", table[:rows].astype(np.int32))
        self.add_input("query_start_loc", start_loc)
        expected = compressed_token_ids(
            self.values["table"], start_loc, case.ratio, case.page_size, case.columns
        )
        self.add_output("out_ids", expected, (int(rng.integers(3)), 0))
        self.sizes = {"bs": bs, "columns": case.columns}

    def run(self, **options: Any) -> None:
        case = self.case
        nsa.ops.build_compressed_token_ids(
            **self.views, ratio=case.ratio, page_size=case.page_size, **options
        )


def compressed_cases() -> Iterator[CompressedCase]:
    seed = 0
    for ratio, page_size in ((4, 64), (4, 2), (4, 3), (4, 1), (128, 64)):
        for bs in (0, 1, 2, 64, 700, 4096):
            for start_loc in (*START_LOCS, *CORRUPT_START_LOCS):
                seed += 1
                columns = draw(seed, (0, 1, 63, 64, 129, 1025)) if bs <= 64 else 5
                contents = draw(seed, CONTENTS)
                yield CompressedCase(
                    bs, ratio, page_size, columns, start_loc, contents, seed
                )


# ----------------------------------------------------------------------------
# Index combine
# ----------------------------------------------------------------------------


@dataclass(frozen=True)
class CombineCase:
    bs: int
    window: int = 128
    ratio: int = 4
    topk: int = 512
    #: Whether topk_indices is given, and whether query_pos is.
    indexed: bool = True
    positioned: bool = False
    start_loc: str = "local"
    #: Rows of the output, less queries.
    rows: int = 0
    contents: str = "ordinary"
    dtype: str = "int32"
    seed: int = 0

    @property
    def text(self) -> str:
        return steps.combine_indices(
            self.window,
            self.ratio,
            self.dtype,
            self.indexed,
            self.topk == 0,
            self.positioned,
        )

    def problem(self, arrays: Arrays) -> Problem:
        return CombineProblem(self, arrays)


class CombineProblem(Problem):
    def __init__(self, case: CombineCase, arrays: Arrays) -> None:
        super().__init__(case, arrays)
        rng, bs = self.rng, case.bs
        hostile = case.contents == "hostile"
        most = 1 if bs > 700 else 4 if bs > 2 else 60
        start_loc = draw_start_loc(rng, bs, most, case.start_loc)
        q0 = np.array(local_start_loc(start_loc), np.int64)
        queries = int(np.clip(q0[-1] + case.rows, 0, 2500 if case.topk < 2048 else 300))
        # Before the chunk: nothing, a window's start, many compressed tokens.
        S = np.diff(q0) + rng.choice([0, 0, 3, 126, 2000, 100_000], bs)
        S = np.where(rng.random(bs) < 0.1, np.diff(q0) // 2, S)
        gathers, _ = windows(S, np.diff(q0), case.window)
        compressed, swa = workspace_bases(gathers, 1000)
        topk_indices = rng.integers(-1, 50_000, (queries, case.topk))
        if hostile:
            S, swa = mix(rng, S, 5000), mix(rng, swa, 5000)
            gathers, compressed = mix(rng, gathers, 5000), mix(rng, compressed, 5000)
            topk_indices = mix(rng, topk_indices, 5000)
        inputs = {
            "query_start_loc": start_loc,
            "gather_lens": gathers,
            "compressed_base": compressed,
            "swa_base": swa,
        }
        for name, values in inputs.items():
            self.add_input(name, values.astype(np.int64).astype(np.int32))
        self.add_input("seq_lens", S.astype(np.int64).astype(case.dtype))
        if case.indexed:
            self.add_input(
                "topk_indices",
                topk_indices.astype(np.int64).astype(np.int32),
                wider=int(rng.integers(6)),
            )
        if case.positioned:
            positions = rng.integers(0, 9000, queries)
            if hostile:
                positions = mix(rng, positions, 5000)
            self.add_input("query_pos", positions.astype(np.int64).astype(np.int32))
        self.sizes = {"bs": bs, "queries": queries, "topk": case.topk}
        indices, lens = self._expect(queries)
        self.add_output("out_indices", indices, tuple(rng.integers(3, size=2)))
        # Without topk_indices its length is the number of queries.
        self.add_output("out_lens", lens, (int(rng.integers(3)) if case.indexed else 0,))

    def _expect(self, queries: int) -> tuple[np.ndarray, np.ndarray]:
        case, values = self.case, self.values
        return combine(
            values.get("topk_indices"),
            values["query_start_loc"],
            values["seq_lens"],
            values["gather_lens"],
            values["compressed_base"],
            values["swa_base"],
            case.window,
            case.ratio,
            case.topk,
            queries,
            values.get("query_pos"),
        )

    def run(self, **options: Any) -> None:
        case = self.case
        arguments = {"topk_indices": None, **self.views}
        nsa.ops.combine_topk_swa_indices(
            **arguments,
            window=case.window,
            compress_ratio=case.ratio,
            topk=case.topk,
            **options,
        )


class CorruptProblem(CombineProblem):
    """No two ways to find a row's request need agree here: what is certain is that rows
    are written whole, past the last query as without a request, and nothing else is."""

    def _expect(self, queries: int) -> tuple[np.ndarray, np.ndarray]:
        width = index_width(self.case.topk, self.case.window)
        return np.full((queries, width), -1, np.int32), np.zeros(queries, np.int32)

    def check(self) -> None:
        lens = self.corner("out_lens", self.outputs["out_lens"].read())
        last = max(local_start_loc(self.values["query_start_loc"])[-1], 0)
        assert (lens >= 0).all() and (lens <= self.case.topk + self.case.window).all()
        for name, array in self.outputs.items():
            known = self.corner(name, array.image)
            known[:last] = self.corner(name, array.read())[:last]
        super().check()


def combine_cases() -> Iterator[CombineCase]:
    seed = 0
    forms = [(4, 0, True), (4, 17, True), (4, 512, True), (4, 2048, True)]
    forms += [(1, 0, False), (128, 0, False), (128, 17, False), (128, 513, False)]
    for ratio, topk, indexed in forms:
        for bs in (0, 1, 2, 64, 700, 4096):
            for contents in CONTENTS:
                seed += 1
                yield CombineCase(
                    bs,
                    draw(seed, (128, 128, 128, 1, 5)),
                    ratio,
                    topk,
                    indexed,
                    draw(seed, (False, False, False, True)),
                    draw(seed, START_LOCS),
                    draw(seed, (0, 0, 0, 5, 5, -3)),
                    contents,
                    draw(seed, ("int32", "int64")),
                    seed,
                )


def corrupt_cases() -> Iterator[CombineCase]:
    seed = 1000
    for start_loc in CORRUPT_START_LOCS:
        for bs in (1, 2, 64, 700):
            for topk, indexed in ((512, True), (17, False), (0, False)):
                seed += 1
                contents = CONTENTS[seed % 2]
                yield CombineCase(
                    bs, 128, 4, topk, indexed, False, start_loc, 9, contents, seed=seed
                )


def cases() -> Iterator[SwaCase | CompressedCase | CombineCase]:
    """Everything but corrupt start locations."""
    yield from swa_cases()
    yield from compressed_cases()
    yield from combine_cases()


def problems(arrays: Arrays) -> Iterator[Problem]:
    for case in cases():
        yield case.problem(arrays)
    for case in corrupt_cases():
        yield CorruptProblem(case, arrays)


def gpu_texts() -> set[str]:
    """Every text that the GPU tests ask for."""
    every = [*cases(), *corrupt_cases()]
    texts = {case.text for case in every}
    # Of windows alone the ratio does not matter, and one step serves all.
    alone = [case for case in every if isinstance(case, CombineCase) and case.topk == 0]
    texts |= {replace(case, ratio=1).text for case in alone}
    # What is captured in a graph, and what SGLang's callers give.
    texts.add(SwaCase(0, outputs=("out_ids", "out_lens")).text)
    texts.add(SwaCase(0, dtypes=("int32", "int32", "int32", "int64")).text)
    texts |= {CombineCase(0, positioned=positioned).text for positioned in (False, True)}
    return texts


def guarded_step(case: Any, target: str) -> Any:
    """The one step of the case's text, checking every access."""
    module = nsa.compile(case.text, target=target, guards=True)
    return module[next(iter(module))]
