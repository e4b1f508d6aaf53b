# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of V4 and V4.1 that serve any subset of a model's fields, any top-k, rings and pages, of
the caches and of windows: what is shipped, and what is run where the step of exactly the fields and constants asked
for can neither be found nor compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ._v4_rows import Options
from ._v4_step import V4_RATIOS

CORE = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc",
)  # fmt: skip
LOW_RATIOS = (1, 2)


def _fields(options: Options, ratios: Sequence[int]) -> tuple[str, ...]:
    names = list(CORE)
    for ratio in ratios:
        of_ratio = ["out_loc", "topk_lengths_clamp1"]
        if ratio == 128:
            of_ratio.append("page_indices")
        else:
            of_ratio += ["sparse_topk_lengths", "sparse_page_indices"]
        if ratio == 4:
            of_ratio.append("topk_lengths_raw")
        if ratio in LOW_RATIOS:
            of_ratio += ["index_page_table", "all_page_indices", "all_raw_indices"]
        else:
            of_ratio += ["plan_d"] if options.mode == "decode" else ["plan_c", "plan_w"]
        names += [f"c{ratio}_{name}" for name in of_ratio]
    if LOW_RATIOS[0] in ratios:
        names += ["req_indices", "pos_i64"]
    return tuple(names)


def of_any_constants(options: Options) -> Options:
    """The same with constants that a launch says."""
    plans = replace(options.plans, rings=None, swa_page_size=None)
    return replace(options, topk=None, page_size=None, plans=plans)


def all_fields(options: Options, wanted: Sequence[Sequence[str]]) -> tuple[str, ...] | None:
    """The fields of the smallest model that has all those of each destination in `wanted`, or
    None. Several destinations share a step where they are draft steps, which have the core
    alone."""
    if len(wanted) != options.steps:
        return None
    models: tuple[tuple[int, ...], ...] = ((), V4_RATIOS, LOW_RATIOS)
    if options.steps > 1 or options.mode in ("draft_extend", "draft_block"):
        models = models[:1]
    for ratios in models:
        fields = _fields(options, ratios)
        if all(set(names) <= set(fields) for names in wanted):
            return fields
    return None
