# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions for single fields, and of nsa for the same fields: rows and lists
of V4 and V4.1 here, all else in sglang_peer_*_cases.py.

Contents are valid, as SGLang reads outside of arrays otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from nsa import ops
from nsa.compat import sglang
from nsa.compat._allocate import empty

PAGE, WINDOW, INDEX_PAGE, SWA_PAGE = 256, 128, 64, 128
Fields = dict[str, Any]


@dataclass
class PeerCase:
    """`arrays` and constants of a call; both functions return arrays by name, and get the
    arrays where they are wanted as attributes. `theirs` may return several sets, of functions
    that say the same. `cuda`: SGLang's has to be compiled by nvcc, or asks for a GPU's arrays."""

    arrays: dict[str, Any]
    ours: Callable[[SimpleNamespace], Fields]
    theirs: Callable[[SimpleNamespace, SimpleNamespace], Fields | list[Fields]]
    cuda: bool = False
    #: Arrays whose rows are in any order.
    unordered: tuple[str, ...] = field(default=())


class Draw:
    """A valid batch: lengths, rows of requests, tables."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        self.bs = bs = int(rng.choice([1, 2, 3, 9]))
        common = [1, 3, 4, 127, 128, 129, 255, 256, 257]
        self.lens = np.where(
            rng.random(bs) < 0.5, rng.choice(common, bs), rng.integers(1, 900, bs)
        )
        self.extends = np.minimum(rng.integers(1, 9, bs), self.lens)
        if seed % 3 == 0:
            self.extends = np.minimum(rng.integers(1, 300, bs), self.lens)
        self.total = int(self.extends.sum())
        self.context = 1024
        self.pool = rng.permutation(12)[:bs] + 1
        self.slots = 1 << 14
        pages = rng.permutation(self.slots // PAGE)[: 13 * 4].reshape(13, 4)
        # Pages of a request are whole, as an engine's are.
        table = pages[:, :, None] * PAGE + np.arange(PAGE)
        self.table = table.reshape(13, self.context).astype(np.int32)
        self.full_to_swa = rng.integers(0, self.slots, self.slots)
        # What SGLang's torch functions read for "none".
        self.full_to_swa[-1] = -1
        self.table[self.table == self.slots - 1] = 0

    def some(self, *values: Any) -> Any:
        return values[int(self.rng.integers(len(values)))]

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Of an extend: their lengths and requests."""
        lens = [
            np.arange(s - e + 1, s + 1) for s, e in zip(self.lens, self.extends, strict=True)
        ]
        return np.concatenate(lens), np.repeat(np.arange(self.bs), self.extends)

    def starts(self) -> np.ndarray:
        return np.concatenate([[0], np.cumsum(self.extends)]).astype(np.int32)

    def pages(self, requests: np.ndarray) -> np.ndarray:
        return self.table[self.pool[requests], ::PAGE] // PAGE



def replay(
    a: SimpleNamespace, shapes: dict[str, Any], mode: str = "decode", **options: Any
) -> Fields:
    """Fields of nsa.ops.replay_v4: `shapes`, or (shape, dtype), by name."""
    made = {}
    for name, shape in shapes.items():
        shape, dtype = shape if isinstance(shape[-1], str) else (shape, "int32")
        made[name] = empty(shape, a.seq_lens, dtype)
    names = ("seq_lens", "extend_seq_lens", "req_pool_indices", "req_to_token", "full_to_swa",
             "out_cache_loc", "floors", "whole", "valid_from")  # fmt: skip
    given = {name: getattr(a, name) for name in names if hasattr(a, name)}
    ops.replay_v4([made], mode, **given, **options)
    return made


def expand_causally(d: Draw) -> PeerCase:
    """Rows of an extend, padded."""
    rows = d.total + d.some(0, 7)
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "extend_start_loc": d.starts()[:-1],
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        shapes = {"seq_lens_casual": (rows,), "req_indices": ((rows,), "int64")}
        return replay(a, shapes, "extend", rows=rows, num_tokens=d.total)

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        given = dict(
            vars(a), num_tokens=d.total, padded_num_tokens=rows,
            seq_lens_cpu=d.lens.tolist(), extend_seq_lens_cpu=d.extends.tolist(),
        )  # fmt: skip
        every = peer.rows.ExpandPrefillCausally
        return [
            {"seq_lens_casual": found.seq_lens_casual,
             "req_indices": found.req_pool_indices_repeated}
            for found in (every.triton(**given), every.torch(**given))
        ]  # fmt: skip

    return PeerCase(arrays, ours, theirs)


def same_rows(d: Draw) -> PeerCase:
    """Rows of a verification and of a draft extend, as many for each request."""
    mode, n = d.some("target_verify", "draft_extend"), d.some(2, 4, 8)
    lens = np.maximum(d.lens, n)
    arrays = {"seq_lens": lens, "req_pool_indices": d.pool}
    shapes = {"seq_lens_casual": (d.bs * n,), "req_indices": ((d.bs * n,), "int64")}

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        kwargs = {"device": a.seq_lens.device, "dtype": a.seq_lens.int().dtype}
        more = n if mode == "target_verify" else 0
        found = peer.backend.DeepseekV4AttnBackend.expand_extend_with_same_length(
            SimpleNamespace(cuda_int32_kwargs=kwargs), bs=d.bs, qo_len=n,
            seq_lens=a.seq_lens.int() + more, req_pool_indices=a.req_pool_indices,
        )  # fmt: skip
        return dict(zip(shapes, found, strict=True))

    return PeerCase(arrays, lambda a: replay(a, shapes, mode, next_n=n), theirs)


def page_tables(d: Draw) -> PeerCase:
    lens, of = d.rows()
    arrays = {
        "req_to_token": d.table,
        "req_pool_indices_repeated": d.pool[of],
        "seq_lens_casual": d.some(np.int32, np.int64)(lens),
        "max_seq_len": d.some(d.context, 700), "page_size": PAGE, "swa_window": WINDOW,
    }  # fmt: skip
    names = ("seq_lens_casual", "positions_casual", "page_table", "swa_topk_lengths")

    def fields(found: Any) -> Fields:
        return {name: getattr(found, name) for name in names}

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        every = peer.rows.BuildPageTablePositions
        small = peer.rows.build_page_table_positions_small
        return [fields(make(**vars(a))) for make in (every.triton, every.torch, small)]

    return PeerCase(
        arrays, lambda a: fields(sglang.build_page_table_positions(**vars(a))), theirs
    )


def window_indices(d: Draw) -> PeerCase:
    lens, of = d.rows()
    floors = np.maximum(lens - d.rng.integers(0, 2 * WINDOW, len(lens)), 0).astype(np.int32)
    arrays = {
        "req_to_token": d.table, "full_to_swa_mapping": d.full_to_swa,
        "req_pool_indices_repeated": d.pool[of], "seq_lens_casual": lens.astype(np.int32),
        "swa_window": d.some(WINDOW, 100), "page_index_aligned_size": 64,
        "swa_replay_start": d.some(None, floors),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        return {"indices": sglang.build_causal_swa_page_indices(**vars(a))}

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        every = peer.rows.BuildCausalSwaPageIndices
        return [{"indices": make(**vars(a))} for make in (every.triton, every.torch)]

    return PeerCase(arrays, ours, theirs)


def _tokens(d: Draw) -> dict[str, Any]:
    """Rows as those of a decode."""
    lens, of = d.rows()
    return {
        "seq_lens": lens.astype(np.int32), "req_pool_indices": d.pool[of],
        "req_to_token": d.table, "page_table": d.pages(of),
        "out_cache_loc": d.rng.integers(0, d.slots, len(lens)),
    }  # fmt: skip


def low_ratios(d: Draw) -> PeerCase:
    arrays = _tokens(d)
    rows, topk = len(arrays["seq_lens"]), d.some(512, 1000)
    shapes: dict[str, Any] = {}
    for q in (1, 2):
        shapes[f"c{q}_out_loc"] = (rows,), "int64"
        shapes[f"c{q}_topk_lengths_clamp1"] = shapes[f"c{q}_sparse_topk_lengths"] = (rows,)
        shapes[f"c{q}_sparse_page_indices"] = (rows, -(-topk // 64) * 64)

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = peer.fields.build_low_ratio_metadata(a.seq_lens, a.out_cache_loc, topk)
        return dict(zip(shapes, found, strict=True))

    return PeerCase(arrays, lambda a: replay(a, shapes, topk=topk), theirs)


def high_ratios(d: Draw) -> PeerCase:
    arrays = _tokens(d)
    rows, columns = len(arrays["seq_lens"]), d.context // PAGE
    shapes: dict[str, Any] = {}
    for q in (4, 128):
        shapes[f"c{q}_out_loc"] = (rows,), "int64"
        shapes[f"c{q}_topk_lengths_raw"] = shapes[f"c{q}_topk_lengths_clamp1"] = (rows,)
    shapes["c128_page_indices"] = (rows, 64)

    def ours(a: SimpleNamespace) -> Fields:
        made = replay(a, shapes, max_len=d.context, page_size=PAGE)
        made["c128_page_indices"] = made["c128_page_indices"][:, : columns * PAGE // 128]
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = peer.fields.init_compression_metadata(
            a.seq_lens, a.seq_lens - 1, a.out_cache_loc, a.page_table, PAGE
        )
        # The second of each ratio are positions, which nothing of ours reads.
        return dict(zip(shapes, [*found[:1], *found[2:5], *found[6:]], strict=True))

    return PeerCase(arrays, ours, theirs)


def all_indices(d: Draw) -> PeerCase:
    arrays, q = _tokens(d), d.some(1, 2, 4)
    rows, topk = len(arrays["seq_lens"]), 1024
    arrays["compressed"] = np.maximum(arrays["seq_lens"] // q, 1).astype(np.int32)
    shapes = {f"c{q}_all_page_indices": (rows, topk), f"c{q}_all_raw_indices": (rows, topk)}

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = [empty((rows, topk), a.seq_lens) for _ in range(2)]
        peer.fields.fill_all_compressed_indices(
            a.page_table, a.compressed, found[0], compress_ratio=q, page_size=PAGE,
            raw_indices=found[1],
        )  # fmt: skip
        return dict(zip(shapes, found, strict=True))

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, shapes, topk=topk, max_len=d.context, page_size=PAGE)

    return PeerCase(arrays, ours, theirs)


def index_tables(d: Draw) -> PeerCase:
    arrays, q = _tokens(d), d.some(1, 2, 4)
    rows, columns = len(arrays["seq_lens"]), d.context // q // INDEX_PAGE
    name = f"c{q}_index_page_table"

    def ours(a: SimpleNamespace) -> Fields:
        return replay(
            a, {name: (rows, columns)}, max_len=d.context, page_size=PAGE,
            index_page_size=INDEX_PAGE,
        )  # fmt: skip

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        return {
            name: peer.metadata.expand_index_page_table(
                a.page_table, full_page_size=PAGE, compress_ratio=q, index_page_size=INDEX_PAGE
            )
        }

    return PeerCase(arrays, ours, theirs)


def index_keys(d: Draw) -> PeerCase:
    """Slots of an extend's index keys, and what rows see of them."""
    q, (lens, _) = d.some(1, 2), d.rows()
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req_to_token": d.table, "positions": lens - 1,
    }  # fmt: skip
    shapes: dict[str, Any] = {
        f"c{q}_index_k_slots": ((int((d.lens // q).sum()),), "int64"),
        f"c{q}_request_starts": (d.total,),
        f"c{q}_compress_lens": (d.total,),
    }

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        slots = peer.indexer.prefill_k_slots(
            req_to_token=a.req_to_token, req_pool_indices=a.req_pool_indices,
            seq_lens_cpu=d.lens.tolist(), ratio=q,
        )  # fmt: skip
        plan = peer.indexer.prefill_index_plan(
            SimpleNamespace(
                compress_ratio=q, positions=a.positions, seq_lens_cpu=d.lens.tolist(),
                rows_per_request=d.extends.tolist(), rows_per_request_device=a.extend_seq_lens,
            )  # fmt: skip
        )
        # Of no column there is no plan.
        nothing = [a.positions[:0].int()] * 2
        found = [plan.request_starts, plan.compress_lens] if plan else nothing
        return dict(zip(shapes, [slots, *found], strict=True))

    def ours(a: SimpleNamespace) -> Fields:
        made = replay(a, shapes, "extend", rows=d.total)
        if not shapes[f"c{q}_index_k_slots"][0][0]:
            made |= {name: array[:0] for name, array in made.items()}
        return made

    return PeerCase(arrays, ours, theirs)


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "expand_prefill_causally": expand_causally,
    "expand_extend_with_same_length": same_rows,
    "build_page_table_positions": page_tables,
    "build_causal_swa_page_indices": window_indices,
    "build_low_ratio_metadata": low_ratios,
    "init_compression_metadata": high_ratios,
    "fill_all_compressed_indices": all_indices,
    "expand_index_page_table": index_tables,
    "prefill_k_slots": index_keys,
}
