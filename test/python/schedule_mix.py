# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of several backends beside a replay: what is asked for, and what each becomes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import flashmla_cases
import numpy as np
import schedule_cases
import topk_plan_cases

FILL = -7


@dataclass
class Mix:
    """The argument `schedules`, and the (name, array, wanted) of all that is written."""

    schedules: list[dict[str, Any] | None]
    outputs: list[tuple[str, Any, np.ndarray]]

    def check(self, fetch: Any = lambda array: array) -> None:
        for name, array, wanted in self.outputs:
            got = fetch(array)
            image = np.full(got.shape, FILL, np.int32)
            image[tuple(slice(size) for size in wanted.shape)] = wanted
            np.testing.assert_array_equal(got, image, err_msg=name)


class Writer:
    """Makes the arrays of schedules."""

    def __init__(self, place: Any = lambda array: array) -> None:
        self.place, self.outputs = place, []

    def array(self, name: str, wanted: np.ndarray, more: int = 0) -> Any:
        shape = (wanted.shape[0] + more, *wanted.shape[1:])
        made = self.place(np.full(shape, FILL, np.int32))
        self.outputs.append((name, made, wanted))
        return made

    def paged_mqa(self, lens: np.ndarray, convention: str, num_sms: int, **options: Any) -> Any:
        """`lens`: [bs, next_n]"""
        if "chunk" in options:
            wanted = schedule_cases.in_chunks(lens, convention, num_sms, options["chunk"])
        else:
            wanted = schedule_cases.reference(lens, convention, num_sms, options.get("split"))
        out = self.array(f"paged_mqa {convention}", wanted)
        return dict(out=out, convention=convention, num_sms=num_sms, **options)

    def topk_plan(self, lens: np.ndarray, clusters: int, arch: str, **options: Any) -> Any:
        wanted = topk_plan_cases.reference(lens, clusters, arch, **options)
        out = self.array(f"topk_plan {arch}", wanted, more=3)
        return dict(out=out, clusters=clusters, arch=arch, **options)

    def flashmla(
        self, options: flashmla_cases.Options, lens: np.ndarray, parts: int, extra: Any = None
    ) -> Any:
        rows, splits = flashmla_cases.reference(options, lens, parts, extra)
        return dict(
            out_metadata=self.array(f"{options} rows", rows),
            out_num_splits=self.array(f"{options} splits", splits, more=2),
            parts=parts,
            **options.arguments,
        )


def for_replay(
    rows: np.ndarray,
    requests: np.ndarray,
    topk: int,
    next_n: int | None = 1,
    backends: int = 5,
    place: Any = lambda array: array,
) -> Mix:
    """Of the first so many backends. `rows`, `requests`: their lengths; `next_n`: the rows of
    a request where a schedule may be one of requests."""
    w = Writer(place)
    column = rows.reshape(-1, 1)
    sparse = flashmla_cases.Options(sparse=True)
    constant = flashmla_cases.Options(topk=2048, layout="old")

    def first() -> Any:
        return {
            "paged_mqa": w.paged_mqa(column, "sm90", 132),
            "topk_plan": w.topk_plan(rows, 30, "sm90"),
            "flashmla": w.flashmla(sparse, np.minimum(rows, topk), 78),
        }

    def like_the_first() -> Any:
        return {
            "paged_mqa": w.paged_mqa(column, "sm90", 132),
            "topk_plan": w.topk_plan(rows, 12, "sm90"),
            "flashmla": w.flashmla(constant, rows, 132),
        }

    def other() -> Any:
        made = {
            "topk_plan": w.topk_plan(rows, 8, "sm100", static=40_000),
            "flashmla": w.flashmla(flashmla_cases.Options(), requests, 5),
        }
        if next_n is not None:
            lens = np.repeat(requests[:, None], next_n, axis=1)
            made["paged_mqa"] = w.paged_mqa(lens, "sm100", 148, next_n=next_n, split=128)
        return made

    def chunked() -> Any:
        return {"paged_mqa": w.paged_mqa(column, "jit", 16, chunk=16)}

    kinds = (first, lambda: None, like_the_first, other, chunked)
    return Mix([make() for make in kinds[:backends]], w.outputs)
