# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of several backends beside a replay: what is asked for, and what each becomes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import flashmla_cases
import numpy as np
import schedule_cases
import topk_plan_cases
import v4_cases
import v4_reference
from reference import reference_metadata

import nsa
from nsa import _cache

FILL = -7
TOPK = 2048
MODES = {
    "decode": dict(mode="decode"),
    "decode-padded": dict(mode="decode", padding=5),
    "verify": dict(mode="target_verify", next_n=4),
    "verify-padded": dict(mode="target_verify", next_n=2, padding=3),
    "draft": dict(mode="draft_extend", extend=3),
    "draft-padded": dict(mode="draft_extend", extend=2, padding=40),
    "draft-empty": dict(mode="draft_extend", extend=0),
    "ragged": dict(mode="draft_extend", extend="array", padding=7),
    "ragged-cut": dict(mode="draft_extend", extend="array", padding=-4),
}


def count_kernels(monkeypatch: Any, module: str) -> list[int]:
    """How many kernels each step has that `module` asks for from now on."""
    counts = []

    def get_step(*arguments: Any) -> Any:
        step = _cache.get_step(*arguments)
        counts.append(len(step.kernels))
        return step

    monkeypatch.setattr(f"{module}.get_step", get_step)
    return counts


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

    def v4_flashmla(
        self, lens: np.ndarray, parts: int, extra: np.ndarray | None = None, **options: Any
    ) -> Any:
        """What a layer attends to beside the window follows from the schedule's name."""
        kind = None if extra is None else "lengths"
        made = flashmla_cases.Options(sparse=True, extra=kind, **options)
        schedule = self.flashmla(made, lens, parts, extra)
        del schedule["topk"], schedule["sparse"]
        return schedule


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


def for_v4(field: Any, next_n: int | None, place: Any = lambda array: array) -> Mix:
    """Of two backends. `field`: the wanted value of a field by name."""
    w = Writer(place)
    window = field("swa_topk_lengths")
    c4, c2 = field("c4_topk_lengths_raw"), field("c2_topk_lengths_clamp1")
    sparse, c128 = field("c4_sparse_topk_lengths"), field("c128_topk_lengths_clamp1")
    first: dict[str, Any] = {
        "c4_paged_mqa": w.paged_mqa(c4.reshape(-1, 1), "jit", 132, split=256),
        "c2_paged_mqa": w.paged_mqa(c2.reshape(-1, 1), "sm90", 132, split=512),
        "c4_topk_plan": w.topk_plan(c4, 3, "sm90"),
        "flashmla": w.v4_flashmla(window, 132),
        "c4_flashmla": w.v4_flashmla(window, 66, sparse),
    }
    second: dict[str, Any] = {"c128_flashmla": w.v4_flashmla(window, 9, c128, overhead=3)}
    if next_n is not None:
        lens = c4.reshape(-1, next_n)
        second["c4_paged_mqa"] = w.paged_mqa(lens, "sm100", 148, next_n=next_n, split=256)
    return Mix([first, second], w.outputs)


def draw(rng, bs, dtype):
    lens = np.where(rng.random(bs) < 0.4, rng.integers(0, 200_000, bs), rng.integers(-9, 600, bs))
    return lens.astype(dtype)


def replay(
    mode, bs, seed, *, extend=None, next_n=1, padding=None, dtype="int64", backends=5, more=False,
    gpu=None,
):
    """A replay with schedules, compared with references."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    rng = np.random.default_rng(seed)
    lens = draw(rng, bs, dtype)
    given = dict(next_n=next_n, topk=TOPK)
    capacity = None
    if mode == "draft_extend":
        given["extend_seq_lens"] = extend
        if extend == "array":
            extend = rng.integers(-2, 7, bs).astype(np.int32)
            given["extend_seq_lens"] = place(extend)
            capacity = max(int(np.maximum(extend, 0).sum()) + padding, 0)
    values = reference_metadata(
        mode, lens, np.zeros(bs, np.int64), np.zeros((1, 1), np.int32), 0, TOPK, 1, next_n,
        extend, capacity,
    )  # fmt: skip
    rows = values["seqlens_expanded"]
    if padding is not None:
        given["row_bound"] = bound = len(rows) + padding if capacity is None else capacity
        rows = np.concatenate([rows, np.zeros(max(bound - len(rows), 0), np.int32)])[:bound]
    wide = next_n if mode == "target_verify" else 1
    requests = values["cache_seqlens"] if wide > 1 or mode == "decode" else None
    if requests is None or padding is not None:
        # There a schedule of all requests is one of rows.
        mix = for_replay(rows, values["cache_seqlens"], TOPK, None, backends, place)
    else:
        mix = for_replay(rows, requests, TOPK, wide, backends, place)
    dsts = [{} for _ in mix.schedules]
    dsts[0]["cache_seqlens"] = place(np.full(bs + 1, FILL, np.int32))
    for dst in dsts if more else ():
        dst["seqlens_expanded"] = place(np.full(len(rows), FILL, np.int32))
        dst["nsa_cu_seqlens_k"] = place(np.full(len(rows) + 1, FILL, np.int32))
    nsa.ops.replay_metadata(dsts, mode, seq_lens=place(lens), schedules=mix.schedules, **given)
    mix.check(fetch)
    np.testing.assert_array_equal(fetch(dsts[0]["cache_seqlens"])[:bs], values["cache_seqlens"])
    for dst in dsts if more else ():
        np.testing.assert_array_equal(fetch(dst["seqlens_expanded"]), rows)


def v4(case, seed, gpu=None):
    """The same of a DeepSeek V4 step."""
    place = gpu.asarray if gpu else lambda array: array
    fetch = gpu.asnumpy if gpu else lambda array: array
    batch = v4_cases.draw(case, seed)
    values = {}

    def field(name):
        if name not in values:
            values[name] = v4_reference.reference(batch, name)
        return values[name]

    mix = for_v4(field, None if case.ragged else case.next_n, place)
    given = {}
    if batch.extends is not None:
        given = dict(extend_seq_lens=place(batch.extends), rows=batch.rows, num_tokens=batch.num_tokens)
    casual = place(np.full(len(field("seq_lens_casual")), FILL, np.int32))
    dsts = [{}, {"seq_lens_casual": casual}]
    floors = None if batch.floors is None else place(batch.floors)
    nsa.ops.replay_v4(
        dsts, batch.mode, seq_lens=place(batch.lens), next_n=batch.next_n, floors=floors,
        schedules=mix.schedules, **given,
    )  # fmt: skip
    mix.check(fetch)
    np.testing.assert_array_equal(fetch(casual), field("seq_lens_casual"))


def gpu_cases():
    """What the GPU test runs, as functions of a library."""
    for number, (mode, options) in enumerate(MODES.items()):
        for bs in (0, 40, 600):
            more = "padded" in mode
            yield lambda gpu, o=options, b=bs, n=number, m=more: replay(
                bs=b, seed=n, backends=2, more=m, gpu=gpu, **o
            )
    for mode in ("decode", "verify", "ragged"):
        yield lambda gpu, o=MODES[mode]: replay(bs=120, seed=4, more=True, gpu=gpu, **o)
    for case in v4_cases.CASES[:5]:
        for seed in range(4):
            yield lambda gpu, c=case, s=seed: v4(c, s, gpu)


class Recorded(Exception):
    """A text that was asked for."""


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    found = set()

    def get_step(name: str, text: str, target: str) -> Any:
        found.add(text)
        raise Recorded

    modules = (nsa._replay, nsa._v4)
    before = [module.get_step for module in modules]
    try:
        for module in modules:
            module.get_step = get_step
        for case in gpu_cases():
            with contextlib.suppress(Recorded):
                case(None)
    finally:
        for module, get in zip(modules, before):
            module.get_step = get
    return found
