# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels, in the launch that makes the lengths that they are of."""

from __future__ import annotations

from typing import Any

from .. import _flashmla, _paged_mqa
from .._arguments import describe
from .._errors import constant, optional_constant, wrong
from ._formulas import index
from ._launch import Formulas, run

__all__ = ["flashmla_schedule", "paged_mqa_schedule"]


def write_paged_mqa_schedule(f: Formulas, options: _paged_mqa.Options, rank: int) -> None:
    rows, next_n = f.size("num_reqs"), options.next_n
    given = f.input("context_lens", (None,) * rank)

    def length(b: Any, j: Any) -> Any:
        place = (b, j) if rank == 2 else (b * next_n + j,)
        return index(given[place].otherwise(0))

    lens = f.s.map((rows, next_n), length, dtype="int64")
    runs = None
    if f.has("indices"):
        owners = f.input("indices", (None,))
        runs = f.s.map(rows, lambda t: index(owners[t].otherwise(-1)), dtype="int64")
    f.whole("out", _paged_mqa.write(f.s, lens, options, f.size("num_sms"), runs))


def paged_mqa_schedule(
    context_lens: Any,
    out: Any,
    *,
    convention: str,
    num_sms: int,
    split: int | None = None,
    next_n: int = 1,
    indices: Any = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """``nsa.ops.paged_mqa_schedule`` as one of the calls of a launch: of the lengths of the
    first `num_reqs` requests, ``context_lens`` [num_reqs, next_n], or the same one after the
    other.

    `num_reqs`: left out, as many as `context_lens` has. `indices`, `convention`, `split` and
    `out` as there.
    """
    options = _paged_mqa.options_of(convention, split, next_n)
    if indices is not None and (
        _paged_mqa.CONVENTIONS[convention].items != "runs" or options.next_n != 1
    ):
        raise wrong(
            ValueError, "indices", "expected none but with sm100 or vllm_sm100, and next_n 1"
        )
    shape = describe("context_lens", context_lens)[1]
    if len(shape) not in (1, 2):
        raise wrong(
            ValueError, "context_lens", f"expected 1 or 2 dimensions but got {len(shape)}"
        )
    if num_reqs is None:
        num_reqs = shape[0] if len(shape) == 2 else shape[0] // options.next_n
    run(
        write_paged_mqa_schedule,
        (options, len(shape)),
        {"context_lens": context_lens, "indices": indices},
        {"out": out},
        {
            "num_reqs": (num_reqs, None),
            "num_sms": (constant("num_sms", num_sms, 1), None),
        },
        stream,
    )


def write_flashmla_schedule(f: Formulas, options: _flashmla.Options) -> None:
    rows = f.size("num_reqs")
    lens = f.input("seq_lens", (None,)) if options.topk is None else None
    extra = f.input("extra_lens", (None,)) if options.extra == "lengths" else None
    parts, splits = _flashmla.write(f.s, rows, f.size("parts"), options, lens, extra)
    f.whole("out_metadata", parts)
    f.whole("out_num_splits", splits)


def flashmla_schedule(
    seq_lens: Any,
    out_metadata: Any,
    out_num_splits: Any,
    *,
    num_reqs: int | None = None,
    parts: int | None = None,
    topk: int | None = None,
    sparse: bool = False,
    extra_lens: Any = None,
    extra_topk: int | None = None,
    block: int = 64,
    overhead: int = 5,
    layout: str = "new",
    stream: Any = None,
) -> None:
    """``nsa.ops.flashmla_schedule`` as one of the calls of a launch. Arguments as there;
    `num_reqs` is its `bs`, left out: one less than `out_num_splits` has."""
    if extra_lens is not None and extra_topk is not None:
        raise wrong(ValueError, "extra_topk", "expected no more than one of both extras")
    extra = extra_topk if extra_lens is None else "lengths"
    options = _flashmla.options_of(topk, sparse, extra, block, overhead, layout)
    if options.topk is None and seq_lens is None:
        raise wrong(TypeError, "seq_lens", "missing without topk")
    run(
        write_flashmla_schedule,
        (options,),
        {
            "seq_lens": seq_lens if options.topk is None else None,
            "extra_lens": extra_lens,
        },
        {"out_metadata": out_metadata, "out_num_splits": out_num_splits},
        {
            "num_reqs": (num_reqs, ("out_num_splits", 0, -1)),
            "parts": (optional_constant("parts", parts, 1), ("out_metadata", 0, 0)),
        },
        stream,
    )
