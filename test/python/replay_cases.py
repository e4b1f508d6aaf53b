# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases of nsa.ops.replay_metadata in every mode, for the host and for GPUs.

A variant fixes the text of a step, a case the sizes and the contents of its arrays. Both
come from seeds, so the bundles made on one machine fit the tests on another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from reference import extend_rows, reference_metadata

from nsa import steps

POISON = -77777
TABLES = ("page_table_1", "real_page_table")
ROWS = ("seqlens_expanded", "nsa_cache_seqlens", *TABLES)
BATCHES = (0, 1, 2, 5, 16, 17, 33, 128, 1024, 4096)


@dataclass(frozen=True)
class Variant:
    """What the text of a step depends on."""

    mode: str
    fields: tuple[tuple[str, ...], ...]
    lens_dtype: str
    pool_dtype: str
    topk: int
    page_size: int
    next_n: int
    extend: int | str | None
    live_only: bool
    padded: bool
    #: Of incremental tables, see ``steps.replay``.
    grid: int | None = None

    @property
    def text(self) -> str:
        return steps.replay(
            self.mode,
            self.fields,
            self.lens_dtype,
            self.pool_dtype,
            self.topk,
            self.page_size,
            self.next_n,
            self.extend,
            self.live_only,
            self.padded,
            grid=self.grid,
        )

    @property
    def is_ragged(self) -> bool:
        return isinstance(self.extend, str)


def variants(count: int, seed: int = 0) -> list[Variant]:
    """`count` variants: modes and switches in turn, the rest drawn."""
    rng = np.random.default_rng(seed)
    result = []
    for number in range(count):
        mode = steps.MODES[number % 3]
        extend: int | str | None = None
        if mode == "draft_extend":
            extend = (3, "int32", "int64", 0)[number // 3 % 4]
        backends = (1, 2, 3, 3, 8, 16)[number // 3 % 6]
        known = [
            f for f in steps.FIELDS if mode != "draft_extend" or f != "paged_mqa_ctx_lens"
        ]
        fields = [
            tuple(f for f in known if rng.random() < 0.75) for _ in range(backends)
        ]
        fields[0] = tuple(known)
        result.append(
            Variant(
                mode=mode,
                fields=tuple(fields),
                lens_dtype=str(rng.choice(["int32", "int64"])),
                pool_dtype=str(rng.choice(["int32", "int64"])),
                topk=int(rng.choice([0, 5, 2048])),
                page_size=int(rng.choice([1, 4, 64])),
                next_n=int(rng.choice([1, 2, 4])) if mode == "target_verify" else 1,
                extend=extend,
                live_only=number % 7 == 3,
                padded=number % 5 == 2,
            )
        )
    return result


@dataclass
class Case:
    """One launch: arguments by port name, and what the outputs are then."""

    variant: Variant
    sizes: dict[str, int]
    inputs: dict[str, np.ndarray]
    #: What each output holds before, poison everywhere.
    outputs: dict[str, np.ndarray]
    #: What each holds afterwards; `optional` marks elements that may be poison still.
    expected: dict[str, np.ndarray]
    optional: dict[str, np.ndarray] = field(default_factory=dict)

    def check(self, outputs: dict[str, np.ndarray]) -> None:
        for name, expected in self.expected.items():
            found = outputs[name]
            wrong = found != expected
            if name in self.optional:
                wrong &= ~(self.optional[name] & (found == POISON))
            if wrong.any():
                where = tuple(np.argwhere(wrong)[0])
                raise AssertionError(
                    f"{self.variant} {self.sizes}: {name}{list(map(int, where))} is "
                    f"{found[where]} instead of {expected[where]}"
                )


def _draw_extend(rng: Any, variant: Variant, bs: int, hostile: bool) -> Any:
    if not variant.is_ragged:
        return variant.extend
    # Few requests may have many rows, many have few: zeros are among them.
    extend = rng.integers(0, 400 if bs <= 2 else 6, bs).astype(variant.extend)
    if hostile and bs:
        limits = np.iinfo(variant.extend)
        for value in (limits.max, limits.min, -1):
            extend[rng.integers(bs)] = value
    return extend


def _layout(rng: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A poisoned array: packed, with a gap between rows, or off by an element."""
    gap, shift = int(rng.choice([0, 0, 3, 4])), int(rng.choice([0, 0, 1]))
    if len(shape) == 1:
        stride = int(rng.choice([1, 1, 2]))
        base = np.full(shift + shape[0] * stride + 1, POISON, np.int32)
        return base[shift : shift + shape[0] * stride : stride][: shape[0]]
    width = shape[1] + gap + shift
    return np.full((shape[0], width), POISON, np.int32)[:, shift : shift + shape[1]]


def draw(variant: Variant, rng: Any, max_bs: int = 4096) -> Case:
    """A case of a variant."""
    bs = int(rng.choice([b for b in BATCHES if b <= max_bs]))
    max_len = int(rng.choice([0, 1, 3, 37, 64, 129, 1025] if bs <= 128 else [1, 37]))
    hostile = rng.random() < 0.3
    lens = rng.integers(-10 if hostile else 0, 3000, bs).astype(variant.lens_dtype)
    rows, columns = int(rng.integers(1, 50)), int(rng.choice([0, 5, 200, 1100]))
    pool = rng.integers(0, rows, bs).astype(variant.pool_dtype)
    if hostile and bs:
        limits = np.iinfo(variant.lens_dtype)
        lens[rng.integers(bs)] = limits.max - rng.integers(5)
        lens[rng.integers(bs)] = limits.min
        pool[rng.integers(bs)] = -1
        pool[rng.integers(bs)] = np.iinfo(variant.pool_dtype).max
    table = rng.integers(-100, 1 << 20, (rows, columns)).astype(np.int32)
    extend = _draw_extend(rng, variant, bs, hostile)

    total = bs * variant.next_n
    if variant.mode == "draft_extend":
        wanted = np.broadcast_to(np.asarray(extend, dtype=object), (bs,))
        total = int(sum(min(max(int(e), 0), 2000) for e in wanted))
    bound = total
    if variant.is_ragged:
        bound = int(rng.choice([total, total + 7, max(total - 3, 0), min(total, 50)]))
    if variant.padded:
        bound += int(rng.choice([0, 3, 300]))
    inputs = {"seq_lens": lens, "req_pool_indices": pool, "req_to_token": table}
    if variant.is_ragged:
        inputs["extend_seq_lens"] = extend
    return make_case(variant, {"bs": bs, "max_len": max_len, "row_bound": bound}, inputs, rng)


def redraw(case: Case, rng: Any) -> Case:
    """The same sizes and arrays with other contents."""
    variant, bs = case.variant, case.sizes["bs"]
    hostile = rng.random() < 0.2
    inputs = dict(case.inputs)
    inputs["seq_lens"] = rng.integers(-5, 3000, bs).astype(variant.lens_dtype)
    rows = inputs["req_to_token"].shape[0]
    inputs["req_pool_indices"] = rng.integers(-1, rows + 1, bs).astype(variant.pool_dtype)
    if variant.is_ragged:
        inputs["extend_seq_lens"] = _draw_extend(rng, variant, bs, hostile)
    return make_case(variant, case.sizes, inputs, rng)


def spoil(values: np.ndarray, rng: Any) -> np.ndarray:
    """`values`, every other one replaced by a limit of its type, or next to one."""
    limits = np.iinfo(values.dtype)
    huge = [limits.min, limits.max, -1, 0, limits.max // 2 + 1]
    if values.dtype == np.int64:
        huge += [2**31 - 1, 2**31, -(2**31) - 1, 2**32, 2**32 + 1]
    chosen = rng.choice(np.array(huge, values.dtype), values.shape)
    return np.where(rng.random(values.shape) < 0.5, chosen, values)


def draw_hostile(variant: Variant, sizes: dict[str, int], columns: int, rng: Any) -> Case:
    """A case of given sizes whose device arrays hold limits of their types as often as
    not: negative and huge lengths, rows that nobody has, more rows than fit."""
    bs = sizes["bs"]
    rows = 2 * bs + 3

    lens = rng.integers(0, 3000, bs).astype(variant.lens_dtype)
    pool = rng.permutation(rows)[:bs].astype(variant.pool_dtype)
    table = rng.integers(-(2**31), 2**31, (rows, columns)).astype(np.int32)
    inputs = {
        "seq_lens": spoil(lens, rng),
        "req_pool_indices": spoil(pool, rng),
        "req_to_token": spoil(table, rng),
    }
    if variant.is_ragged:
        extend = rng.integers(0, 6, bs).astype(variant.extend)
        inputs["extend_seq_lens"] = spoil(extend, rng)
    return make_case(variant, sizes, inputs, rng)


def make_case(
    variant: Variant, sizes: dict[str, int], inputs: dict[str, np.ndarray], rng: Any
) -> Case:
    """The case of these arguments; `rng` draws how its outputs lie in memory."""
    extend = inputs.get("extend_seq_lens", variant.extend)
    reference = reference_metadata(
        variant.mode,
        inputs["seq_lens"],
        inputs["req_pool_indices"],
        inputs["req_to_token"],
        sizes["max_len"],
        variant.topk,
        variant.page_size,
        variant.next_n,
        extend,
        capacity=sizes["row_bound"] if variant.is_ragged else None,
    )
    case = Case(variant, sizes, inputs, {}, {})
    _place(case, reference, extend, rng)
    return case


def requests_of_rows(variant: Variant, sizes: dict[str, int], extend: Any) -> np.ndarray:
    """The request of each row but the pad rows."""
    bs = sizes["bs"]
    if variant.mode == "target_verify":
        return np.repeat(np.arange(bs), variant.next_n)
    if variant.mode == "draft_extend":
        return extend_rows(extend, bs, sizes["row_bound"] if variant.is_ragged else None)[0]
    return np.arange(bs)


def _place(case: Case, reference: dict[str, np.ndarray], extend: Any, rng: Any) -> None:
    """Makes the outputs and what they become."""
    variant = case.variant
    bound = case.sizes["row_bound"]
    request = requests_of_rows(variant, case.sizes, extend)
    for backend, destination in enumerate(variant.fields):
        for name in destination:
            values = reference[name]
            shape = list(values.shape)
            has_rows = name in ROWS or name == "nsa_cu_seqlens_k"
            if has_rows:
                shape[0] = bound + (name == "nsa_cu_seqlens_k")
            output = _layout(rng, tuple(shape))
            expected = np.full(shape, POISON, np.int32)
            if variant.padded and has_rows:
                expected[:] = values[-1] if name == "nsa_cu_seqlens_k" else 0
            expected[tuple(slice(0, n) for n in values.shape)] = values
            port = steps.port(backend, name)
            case.outputs[port], case.expected[port] = output, expected
            if variant.live_only and name in TABLES:
                live = reference["cache_seqlens"].astype(np.int64)[request]
                if name == "real_page_table":
                    live = -(-live // variant.page_size)
                optional = np.zeros(shape, bool)
                optional[: len(request)] = np.arange(shape[1]) >= live[:, None]
                case.optional[port] = optional


def cases(seed: int, count: int, drawn_variants: list[Variant], max_bs: int = 4096):
    """`count` cases, variants in turn."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        yield draw(drawn_variants[number % len(drawn_variants)], rng, max_bs)


def hostile_cases(drawn_variants: list[Variant]):
    """Each variant at sizes around those of warps, blocks, vectors and pages, its
    destinations with room for too few of the rows, all of them, or more."""
    rng = np.random.default_rng(29)
    sizes = ((0, 5, 9), (1, 1027, 1030), (3, 64, 70), (33, 130, 67), (257, 6, 8))
    for number, variant in enumerate(drawn_variants):
        # Most rows of a table are one request's; few variants need many requests.
        more = ((4096, 1, 2),) if number % 6 == 5 else ()
        for bs, max_len, columns in (*sizes, *more):
            rows = bs * variant.next_n
            if variant.mode == "draft_extend":
                rows = bs * (3 if variant.is_ragged else int(variant.extend))
            choices = [0, 3, 40] if not variant.is_ragged else [-rows, -2, 0, 3, 40]
            bound = max(rows + int(rng.choice(choices)), 0)
            case_sizes = {"bs": bs, "max_len": max_len, "row_bound": bound}
            if not (variant.padded or variant.is_ragged):
                case_sizes["row_bound"] = rows
            yield draw_hostile(variant, case_sizes, columns, rng)


def arguments(case: Case, step: Any, place: Any = lambda array: array) -> dict[str, Any]:
    """The arguments of a launch, arrays through `place`."""
    everything = {
        **case.sizes,
        **{name: place(array) for name, array in case.inputs.items()},
        **{name: place(array) for name, array in case.outputs.items()},
    }
    return {k: v for k, v in everything.items() if k in step.signature.parameters}
