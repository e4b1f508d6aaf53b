# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions for single fields, and of nsa for the same fields: DSA's index
transforms, pooled index keys, and rows, lists, windows and plans of V4 and V4.1.

Contents are valid, as SGLang reads outside of arrays otherwise. What it needs of sparse prefill
is in sglang_peer_prefill_cases.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from nsa import ops
from nsa.compat import sglang
from nsa.compat._allocate import copy, empty

PAGE, WINDOW, TOPK, INDEX_PAGE, SWA_PAGE = 256, 128, 512, 64, 128
Fields = dict[str, Any]


@dataclass
class PeerCase:
    """`arrays` and constants of a call; both functions return arrays by name, and get the
    arrays where they are wanted as attributes. `theirs` may return several sets, of functions
    that say the same. `cuda`: SGLang's has to be compiled by nvcc."""

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


# ----------------------------------------------------------------------------
# DSA
# ----------------------------------------------------------------------------


def transform_decode(d: Draw) -> PeerCase:
    rows, topk = d.bs, d.some(100, 2048, 2051)
    arrays = {
        "page_table": d.table[d.pool],
        "topk_indices": d.rng.integers(-1, d.context, (rows, topk)).astype(
            d.some(np.int32, np.int64)
        ),
    }

    def call(module: Any, a: SimpleNamespace) -> Fields:
        return {"out": module.transform_index_page_table_decode(**vars(a))}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.transform, a))


def transform_prefill(d: Draw) -> PeerCase:
    expanded, rows = d.some(False, True), d.total + d.some(0, 5)
    of = np.minimum(np.repeat(np.arange(d.bs), d.extends), d.bs - 1)
    arrays = {
        "page_table": d.table[d.pool[of]] if expanded else d.table[d.pool],
        "topk_indices": d.rng.integers(-1, d.context, (rows, d.some(65, 512))).astype(
            d.some(np.int32, np.int64)
        ),
        "extend_lens_cpu": [int(e) for e in d.extends],
        "output_num_tokens": d.some(None, rows + 3),
        "page_table_is_expanded": expanded,
        "cu_seqlens_q": d.some(None, d.starts()),
    }

    def call(module: Any, a: SimpleNamespace) -> Fields:
        return {"out": module.transform_index_page_table_prefill(**vars(a))}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.transform, a))


def transform_dcp(d: Draw) -> PeerCase:
    size = d.some(2, 4, 8)
    arrays = {
        "page_table": d.rng.integers(-1, d.slots, (d.bs, d.some(7, 512))).astype(np.int32),
        "dcp_size": size,
        "dcp_rank": int(d.rng.integers(size)),
    }

    def call(module: Any, a: SimpleNamespace) -> Fields:
        out, counts = module.transform_index_page_table_dcp(**vars(a))
        return {"out": out, "counts": counts}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.transform, a))


def packed_rows(d: Draw) -> PeerCase:
    columns = d.some(5, 512)
    table = np.full((d.bs, columns), -1, np.int32)
    for row in table:
        count = int(d.rng.choice([0, 1, columns // 2, columns]))
        row[:count] = d.rng.integers(0, d.slots, count)

    def ours(a: SimpleNamespace) -> Fields:
        out, counts = empty(table.shape, a.table), empty((d.bs,), a.table)
        ops.transform_index(None, a.table, out, counts=counts, packed=True)
        return {"out": out, "counts": counts}

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        out = copy(a.table)
        counts = peer.transform.prepare_trtllm_nope_sparse_metadata(out)
        return {"out": out, "counts": counts}

    return PeerCase({"table": table}, ours, theirs)


def kpool(d: Draw) -> PeerCase:
    """Pooled tables and lengths, and the plan of writes, of each mode."""
    mode, pool, topk = d.some("decode", "target_verify", "draft_extend"), d.some(2, 4), 100
    n = 1 if mode == "decode" else d.some(2, 5)
    lens = np.maximum(d.lens, n)
    start = lens - {"decode": 1, "target_verify": 0, "draft_extend": n}[mode]
    arrays = {"seq_lens": lens, "pool": d.pool, "table": d.table, "start": start}
    columns, rows, pages = d.context // 64, d.bs * n, -(-n // pool)
    verify = mode != "decode"
    dtypes = {"kpool_req": "int64", "kpool_write_loc": "int64"}
    shapes: dict[str, tuple[int, ...]] = {
        "real_page_table": (rows, columns),
        "pooled_real_page_table": (rows, -(-columns // pool)),
        "nsa_cache_seqlens": (rows,),
        "kpool_req": (d.bs,),
        "kpool_write_start": (d.bs,),
        "kpool_tail_logical_start": (d.bs,),
        "kpool_write_loc": (d.bs, pages),
    }
    if verify:
        shapes |= dict.fromkeys(("kpool_seqlens_per_q", "kpool_pool_seqlens_per_q"), (rows,))

    def ours(a: SimpleNamespace) -> Fields:
        made = {
            name: empty(shape, a.seq_lens, dtypes.get(name, "int32"))
            for name, shape in shapes.items()
        }
        given = {"extend_seq_lens": n} if mode == "draft_extend" else {"next_n": n}
        ops.replay_metadata(
            [made], mode, seq_lens=a.seq_lens, req_pool_indices=a.pool, req_to_token=a.table,
            max_len=d.context, topk=topk, page_size=64, index_kpool=pool, **given,
        )  # fmt: skip
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        made = {
            name: empty(shape, a.seq_lens, dtypes.get(name, "int32"))
            for name, shape in shapes.items()
        }
        real = (a.table[a.pool][:, ::64] // 64).repeat_interleave(n, 0).contiguous()
        per_query = made.get("kpool_pool_seqlens_per_q"), made.get("kpool_seqlens_per_q")
        peer.kpool.update_kpool_write_plan_cuda_graph(
            a.start, a.pool, real, made["kpool_req"], made["kpool_write_start"],
            made["kpool_tail_logical_start"], made["kpool_write_loc"], *per_query, kpool=pool,
            num_draft_tokens=n, index_page_size=64,
        )  # fmt: skip
        lens = (a.start + 1).int() if n == 1 else made["kpool_seqlens_per_q"]
        clipped = peer.dsa.compute_dsa_seqlens(lens, topk, pool)
        return made | {
            "real_page_table": real,
            "pooled_real_page_table": peer.kpool.build_pooled_page_table_64(real, pool),
            "nsa_cache_seqlens": clipped,
        }

    return PeerCase(arrays, ours, theirs)


# ----------------------------------------------------------------------------
# Rows and fields of V4 and V4.1
# ----------------------------------------------------------------------------


def _replay(
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
        return _replay(a, shapes, "extend", rows=rows, num_tokens=d.total)

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

    return PeerCase(arrays, lambda a: _replay(a, shapes, topk=topk), theirs)


def high_ratios(d: Draw) -> PeerCase:
    arrays = _tokens(d)
    rows, columns = len(arrays["seq_lens"]), d.context // PAGE
    shapes: dict[str, Any] = {}
    for q in (4, 128):
        shapes[f"c{q}_out_loc"] = (rows,), "int64"
        shapes[f"c{q}_topk_lengths_raw"] = shapes[f"c{q}_topk_lengths_clamp1"] = (rows,)
    shapes["c128_page_indices"] = (rows, 64)

    def ours(a: SimpleNamespace) -> Fields:
        made = _replay(a, shapes, max_len=d.context, page_size=PAGE)
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
        return _replay(a, shapes, topk=topk, max_len=d.context, page_size=PAGE)

    return PeerCase(arrays, ours, theirs)


def index_tables(d: Draw) -> PeerCase:
    arrays, q = _tokens(d), d.some(1, 2, 4)
    rows, columns = len(arrays["seq_lens"]), d.context // q // INDEX_PAGE
    name = f"c{q}_index_page_table"

    def ours(a: SimpleNamespace) -> Fields:
        return _replay(
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
        made = _replay(a, shapes, "extend", rows=d.total)
        if not shapes[f"c{q}_index_k_slots"][0][0]:
            made |= {name: array[:0] for name, array in made.items()}
        return made

    return PeerCase(arrays, ours, theirs)


# ----------------------------------------------------------------------------
# Windows
# ----------------------------------------------------------------------------


def request_windows(d: Draw) -> PeerCase:
    """Windows that requests keep, of an extend, padded, with floors and without."""
    lens, of = d.rows()
    rows, groups, zero_row = d.total + d.some(0, 3), d.bs + d.some(0, 2), 4096
    capacity = d.some(256, 4)
    floors = np.maximum(lens - d.rng.integers(0, 2 * WINDOW, len(lens)), 0)
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req": d.pool[of], "pos": lens - 1,
    }  # fmt: skip
    if d.some(False, True):
        arrays["floors"] = np.pad(floors, (0, rows - d.total)).astype(np.int32)
    history = groups * WINDOW
    shapes: dict[str, Any] = {
        "window_req": ((rows,), "int64"), "window_pos": ((rows,), "int64"),
        "window_write_loc": (rows,), "window_indices": (rows, WINDOW),
        "window_lengths": (rows,), "window_commit_mask": ((rows,), "int8"),
        **{f"window_history_{name}": ((history,), "int64") for name in
           ("req", "pos", "loc", "src")},
        "window_history_valid": ((history,), "int8"),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        window = {"groups": groups, "zero_row": zero_row, "capacity": capacity}
        return _replay(
            a, shapes, "extend", rows=rows, num_tokens=d.total, window=WINDOW,
            request_window=window,
        )  # fmt: skip

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        given = {
            "zero_row": zero_row, "window": WINDOW, "capacity": capacity, "num_groups": groups,
            "padded_rows": rows,
            "floor": a.floors[: d.total] if hasattr(a, "floors") else None,
        }  # fmt: skip
        found = vars_of(peer.windows.window_layout(a.req, a.pos, **given))
        # What that launches on a GPU, with what it scans before.
        scans = peer.windows._first_row_offsets(a.req)
        kernel = peer.layouts.build_window_layout(a.req, a.pos, *scans, **given)
        return [
            {name: each[name.removeprefix("window_")] for name in shapes}
            for each in (found, kernel)
        ]

    def vars_of(layout: Any) -> Fields:
        return {name: getattr(layout, name) for name in layout.__struct_fields__}

    return PeerCase(arrays, ours, theirs)


def tails(d: Draw) -> PeerCase:
    """The tail of an extend: its tokens, floors, and windows from those on."""
    whole = d.some(None, d.rng.integers(0, 2, d.bs).astype(bool))
    every = np.zeros(d.bs, bool) if whole is None else whole
    count = np.where(every, d.extends, np.minimum(WINDOW, d.extends))
    rows = int(count.sum())
    of = np.repeat(np.arange(d.bs), count)
    arrays = {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req_to_token": d.table, "full_to_swa": d.full_to_swa, "of_rows": d.pool[of],
        "lens": np.concatenate(
            [np.arange(s - n + 1, s + 1) for s, n in zip(d.lens, count, strict=True)]
        ).astype(np.int32),
    }  # fmt: skip
    if whole is not None:
        arrays["whole"] = whole.astype(np.int8)
    shapes: dict[str, Any] = {
        "tail_token_indices": ((rows,), "int64"), "tail_floors": (rows,),
        "tail_swa_page_indices": (rows, WINDOW),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        return _replay(a, shapes, "extend", rows=d.total, tail_rows=rows, window=WINDOW)

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        tokens, lens, floors = peer.rows.late_layer_tail_layout(
            extend_lens_cpu=d.extends.tolist(), seq_lens_cpu=d.lens.tolist(), tail_len=WINDOW,
            device=a.seq_lens.device, whole_extend=None if whole is None else whole.tolist(),
        )  # fmt: skip
        assert lens == count.tolist()
        windows = peer.rows.build_causal_swa_page_indices_triton(
            req_to_token=a.req_to_token, full_to_swa_mapping=a.full_to_swa,
            req_pool_indices_repeated=a.of_rows, seq_lens_casual=a.lens, swa_window=WINDOW,
            page_index_aligned_size=64, swa_replay_start=floors,
        )  # fmt: skip
        return dict(zip(shapes, (tokens, floors, windows), strict=True))

    return PeerCase(arrays, ours, theirs)


def draft_blocks(d: Draw) -> PeerCase:
    """DSpark's: the window and the block, in pages and in a ring of each request."""
    block, ring = d.some(3, 8), d.some(None, 160)
    rows = d.bs * block
    lens = (d.lens[:, None] + 1 + np.arange(block)).reshape(-1)
    arrays = {
        "seq_lens": d.lens, "req_pool_indices": d.pool, "req_to_token": d.table,
        "full_to_swa": d.full_to_swa, "out_cache_loc": d.rng.integers(0, d.slots - 1, rows),
        "rows": lens.astype(np.int32), "of_rows": np.repeat(d.pool, block),
    }  # fmt: skip
    if ring or d.some(False, True):
        arrays["valid_from"] = d.rng.choice([0, 1, 100, 300], 13).astype(np.int64)
    shapes = {
        "swa_page_indices": (rows, -(-(WINDOW + block) // 64) * 64),
        "swa_topk_lengths": (rows,),
    }

    def ours(a: SimpleNamespace) -> Fields:
        return _replay(a, shapes, "draft_block", next_n=block, window=WINDOW, ring=ring)

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        common = {"swa_window": WINDOW, "page_index_aligned_size": 64, "block_size": block}
        of = {"seq_lens_casual": a.rows, "req_pool_indices_repeated": a.of_rows}
        valid = getattr(a, "valid_from", None)
        if ring:
            every = peer.blocks.BuildDsparkSwaRingIndices
            found = [every.execute(**of, **common, valid_from=valid, ring_size=ring)]
            return [dict(zip(shapes, pair, strict=True)) for pair in found]
        found = []
        for name in ("triton", "torch"):
            gather = getattr(peer.blocks.ComputeDsparkWindowGather, name)(
                **of, block_size=block, swa_window=WINDOW, valid_from=valid
            )
            found.append(
                getattr(peer.blocks.BuildDsparkSwaPageIndices, name)(
                    req_to_token=a.req_to_token, full_to_swa_mapping=a.full_to_swa,
                    req_pool_indices_per_request=gather.req_pool_indices_per_request,
                    offsets=gather.offsets, invalid=gather.invalid, out_loc=a.out_cache_loc,
                    context_lens=gather.context_lens, **common,
                )  # fmt: skip
            )
        return [dict(zip(shapes, pair, strict=True)) for pair in found]

    return PeerCase(arrays, ours, theirs)


# ----------------------------------------------------------------------------
# Plans
# ----------------------------------------------------------------------------


def decode_plans(d: Draw) -> PeerCase:
    q = d.some(4, 128)
    arrays = {
        "compress_ratio": q, "req_pool_indices": d.pool, "req_to_token": d.table,
        "full_to_state": d.full_to_swa % (d.slots - SWA_PAGE), "seq_lens": d.lens,
        "swa_page_size": SWA_PAGE, "ring_size": d.some(1, 2) * (8 if q == 4 else 128),
        "use_req_ring": d.some(False, True),
    }  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        return {"plan_d": module.CompressorDecodePlan.generate(**vars(a)).plan_d}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.plans, a), cuda=True)


def prefill_plans(d: Draw) -> PeerCase:
    q = d.some(4, 128)
    arrays = {
        "compress_ratio": q, "req_pool_indices": d.pool, "seq_lens": d.lens,
        "extend_lens": d.extends, "req_to_token": d.table,
        "full_to_state": d.full_to_swa % (d.slots - SWA_PAGE), "swa_page_size": SWA_PAGE,
        "ring_size": d.some(1, 2) * (8 if q == 4 else 128), "num_q_tokens": d.total,
        "use_cuda_graph": True, "use_req_ring": d.some(False, True),
    }  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        plan = module.CompressorPrefillPlan.generate(**vars(a))
        return {"plan_c": plan.plan_c, "plan_w": plan.plan_w}

    return PeerCase(
        arrays, lambda a: call(sglang, a), lambda p, a: call(p.plans, a), cuda=True,
        unordered=("plan_c", "plan_w"),
    )  # fmt: skip


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "transform_index_page_table_decode": transform_decode,
    "transform_index_page_table_prefill": transform_prefill,
    "transform_index_page_table_dcp": transform_dcp,
    "prepare_trtllm_nope_sparse_metadata": packed_rows,
    "update_kpool_write_plan_cuda_graph": kpool,
    "expand_prefill_causally": expand_causally,
    "build_page_table_positions": page_tables,
    "build_causal_swa_page_indices": window_indices,
    "build_low_ratio_metadata": low_ratios,
    "init_compression_metadata": high_ratios,
    "fill_all_compressed_indices": all_indices,
    "expand_index_page_table": index_tables,
    "prefill_k_slots": index_keys,
    "window_layout": request_windows,
    "late_layer_tail_layout": tails,
    "get_dspark_swa_page_indices": draft_blocks,
    "CompressorDecodePlan": decode_plans,
    "CompressorPrefillPlan": prefill_plans,
}
