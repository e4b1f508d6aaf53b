# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions of V4's and V4.1's sparse prefill, and of nsa's: ids of windows
and of compressed tokens, and the rows that queries attend to."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from sglang_peer_cases import PAGE, WINDOW, Draw, Fields, PeerCase

from nsa import ops
from nsa.compat import sglang
from nsa.compat._allocate import empty


def _int32(**arrays: Any) -> dict[str, Any]:
    return {name: np.ascontiguousarray(array, np.int32) for name, array in arrays.items()}


def window_ids(d: Draw) -> PeerCase:
    total = int(np.minimum(d.lens, d.extends + WINDOW - 1).sum())
    arrays = {
        **_int32(seq_lens=d.lens, extend_seq_lens=d.extends, req_pool_indices=d.pool),
        "req_to_token": d.table, "full_to_swa": d.full_to_swa, "swa_window": WINDOW,
        "total_swa": total,
    }  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        return dict(enumerate(module.build_swa_token_ids(**vars(a))))  # type: ignore[arg-type]

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.prefill, a))


def combined(d: Draw) -> PeerCase:
    """Rows of queries, windows in place or given; some belong to no request."""
    q, topk = d.some(1, 2, 4, 128), d.some(0, 1, 64, 512)
    lens, _ = d.rows()
    queries = d.total + d.some(0, 3)
    gathered = np.minimum(d.lens, d.extends + WINDOW - 1)
    counts = d.lens // q
    total = int(counts.sum())
    base = np.concatenate([[0], np.cumsum(counts)[:-1]])
    swa_base = total + np.concatenate([[0], np.cumsum(gathered)[:-1]])
    positions = np.pad(lens - 1, (0, queries - d.total))
    chosen = d.rng.integers(-1, 900, (queries, max(topk, 1) + d.some(0, 3)))
    arrays = {
        **_int32(
            topk_indices=chosen, query_start_loc=d.starts() + d.some(0, 1000),
            query_pos=positions, seq_lens=d.lens, gather_lens=gathered, compressed_base=base,
            swa_base=swa_base,
        ),
        "window_size": WINDOW, "compress_ratio": q, "topk": topk,
    }  # fmt: skip
    if d.some(False, True):
        lengths = d.rng.integers(0, WINDOW + 1, queries)
        windows = d.rng.integers(-1, 5000, (queries, WINDOW))
        windows[np.arange(WINDOW) >= lengths[:, None]] = -1
        arrays |= _int32(swa_indices=windows, swa_lengths=lengths)

    def call(module: Any, a: SimpleNamespace) -> Fields:
        indices, lens = module.combine_topk_swa_indices(**vars(a))
        return {"indices": indices, "lens": lens}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.prefill, a))


def _chunk(peer: Any, d: Draw, a: SimpleNamespace, windows: Any = None) -> Any:
    """SGLang's cache of what a chunk's layers have in common."""
    return peer.prefill.SparsePrefillChunkCache.build(
        seq_lens=a.seq_lens, extend_seq_lens=a.extend_seq_lens, query_lens=a.extend_seq_lens,
        query_pos=a.query_pos, req_pool_indices=a.req_pool_indices,
        req_to_token=a.req_to_token, full_to_swa=a.full_to_swa, swa_window_size=WINDOW,
        swa_page_size=PAGE, num_qo_tokens=d.total, max_seq_len=int(d.lens.max()),
        total_swa=int(np.minimum(d.lens, d.extends + WINDOW - 1).sum()),
        seq_lens_cpu=d.lens.tolist(), request_window_layout=windows,
    )  # fmt: skip


def _chunk_arrays(d: Draw) -> dict[str, Any]:
    lens, of = d.rows()
    return {
        **_int32(
            seq_lens=d.lens, extend_seq_lens=d.extends, req_pool_indices=d.pool,
            query_pos=lens - 1, query_start_loc=d.starts(), page_table=d.pages(of),
        ),
        "req_to_token": d.table, "full_to_swa": d.full_to_swa,
    }  # fmt: skip


def ragged_rows(d: Draw) -> PeerCase:
    """Compressed tokens of ratios 1, 2 and 4, one request after the other."""
    q = d.some(1, 2, 4)
    shapes = {
        "flat_token_ids": (int((d.lens // q).sum()),), "compressed_base": (d.bs,),
        "swa_base": (d.bs,),
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        made = {name: empty(shape, a.seq_lens) for name, shape in shapes.items()}
        ids, base, swa_base = made.values()
        ops.build_ragged_compressed_ids(
            a.page_table, a.query_start_loc, a.seq_lens, ids, q, PAGE,
            extend_seq_lens=a.extend_seq_lens, window=WINDOW, out_base=base,
            out_swa_base=swa_base,
        )  # fmt: skip
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = _chunk(peer, d, a).ensure_compressed(q, a.page_table, PAGE // q)
        return {name: getattr(found, name) for name in shapes}

    return PeerCase(_chunk_arrays(d), ours, theirs)


def rows_of_128(d: Draw) -> PeerCase:
    """Compressed tokens of ratio 128, as many for each request, and all combined."""
    arrays = _chunk_arrays(d)
    lens, _ = d.rows()
    most = max(int(d.lens.max()) // 128, 1)
    columns = 64
    j = np.arange(columns)
    pages = np.pad(arrays["page_table"], ((0, 0), (0, columns)))[:, j // (PAGE // 128)]
    slots = pages * (PAGE // 128) + j % (PAGE // 128)
    arrays["c128"] = np.where(j < lens[:, None] // 128, slots, -1).astype(np.int32)
    gathered = np.minimum(d.lens, d.extends + WINDOW - 1)
    arrays |= _int32(
        gather_lens=gathered, compressed_base=np.arange(d.bs) * most,
        swa_base=d.bs * most + np.concatenate([[0], np.cumsum(gathered)[:-1]]),
    )  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        ids = empty((d.bs, most), a.seq_lens)
        ops.build_compressed_token_ids(a.c128, a.query_start_loc, ids, 128)
        width = sglang.combined_topk_width(most, WINDOW)
        indices, counts = empty((d.total, width), a.seq_lens), empty((d.total,), a.seq_lens)
        ops.combine_topk_swa_indices(
            None, a.query_start_loc, a.seq_lens, a.gather_lens, a.compressed_base, a.swa_base,
            WINDOW, 128, most, indices, counts, query_pos=a.query_pos,
        )  # fmt: skip
        return {"flat_token_ids": ids.reshape(-1), "combined_indices": indices, "combined_lens": counts,
                "compressed_base": a.compressed_base, "swa_base": a.swa_base}  # fmt: skip

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        found = _chunk(peer, d, a).ensure_c128(a.c128)
        return {
            name: getattr(found, name)
            for name in ("flat_token_ids", "combined_indices", "combined_lens",
                         "compressed_base", "swa_base")
        }  # fmt: skip

    return PeerCase(arrays, ours, theirs)


def whole_chunk(d: Draw) -> PeerCase:
    """All that its layers have in common, in one launch; with windows of requests as well."""
    arrays = _chunk_arrays(d)
    lens, _ = d.rows()
    most, columns = max(int(d.lens.max()) // 128, 1), 64
    j = np.arange(columns)
    pages = np.pad(arrays["page_table"], ((0, 0), (0, columns)))[:, j // (PAGE // 128)]
    slots = pages * (PAGE // 128) + j % (PAGE // 128)
    arrays["c128_page_indices"] = np.where(j < lens[:, None] // 128, slots, -1).astype(np.int32)
    if given := d.some(False, True):
        lengths = d.rng.integers(0, WINDOW + 1, d.total)
        windows = d.rng.integers(0, 5000, (d.total, WINDOW))
        windows[np.arange(WINDOW) >= lengths[:, None]] = -1
        arrays |= _int32(swa_indices=windows, swa_lengths=lengths)
    width = sglang.combined_topk_width(most, WINDOW)
    shapes: dict[str, tuple[int, ...]] = {
        "c128_ids": (d.bs, most), "c128_base": (d.bs,), "c128_swa_base": (d.bs,),
        "c128_indices": (d.total, width), "c128_lens": (d.total,),
        "c0_indices": (d.total, WINDOW), "c0_lens": (d.total,),
    }  # fmt: skip
    for q in (1, 2, 4):
        shapes[f"c{q}_ids"] = (int((d.lens // q).sum()),)
        shapes |= dict.fromkeys((f"c{q}_base", f"c{q}_swa_base"), (d.bs,))
    if not given:
        shapes["swa_ids"] = (int(np.minimum(d.lens, d.extends + WINDOW - 1).sum()),)
        shapes |= {"swa_first": (d.bs,), "swa_lens": (d.bs,), "swa_offsets": (d.bs + 1,)}

    def ours(a: SimpleNamespace) -> Fields:
        made = {name: empty(shape, a.seq_lens) for name, shape in shapes.items()}
        ops.prefill_v4(made, **vars(a), page_size=PAGE, window=WINDOW)
        made["c128_ids"] = made["c128_ids"].reshape(-1)
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        windows = None
        if given:
            windows = SimpleNamespace(size=0, indices=a.swa_indices, lengths=a.swa_lengths)
        chunk = _chunk(peer, d, a, windows)
        found = {
            "swa_ids": chunk.swa_token_ids, "swa_first": chunk.swa_first_pos,
            "swa_lens": chunk.swa_gather_lens, "swa_offsets": chunk.swa_offsets,
            "c0_indices": chunk.c0_combined_indices, "c0_lens": chunk.c0_combined_lens,
        }  # fmt: skip
        for q in (1, 2, 4, 128):
            if q == 128:
                gather = chunk.ensure_c128(a.c128_page_indices)
                found["c128_indices"] = gather.combined_indices
                found["c128_lens"] = gather.combined_lens
            else:
                gather = chunk.ensure_compressed(q, a.page_table, PAGE // q)
            found[f"c{q}_ids"] = gather.flat_token_ids
            found[f"c{q}_base"] = gather.compressed_base
            found[f"c{q}_swa_base"] = gather.swa_base
        return found

    return PeerCase(arrays, ours, theirs)


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "build_swa_token_ids": window_ids,
    "combine_topk_swa_indices": combined,
    "SparsePrefillChunkCache.ensure_compressed": ragged_rows,
    "SparsePrefillChunkCache.ensure_c128": rows_of_128,
    "SparsePrefillChunkCache": whole_chunk,
}
