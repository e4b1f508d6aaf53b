# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions of DSA, and of nsa's: index transforms, and pooled index keys."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from sglang_peer_cases import Draw, Fields, PeerCase

from nsa import ops
from nsa.compat import sglang
from nsa.compat._allocate import copy, empty



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
    arrays["real"] = np.repeat(d.table[d.pool][:, ::64] // 64, n, axis=0)
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

    def room(a: SimpleNamespace) -> Fields:
        return {
            name: empty(shape, a.seq_lens, dtypes.get(name, "int32"))
            for name, shape in shapes.items()
        }

    def plan(module: Any, a: SimpleNamespace) -> Fields:
        made = {name: array for name, array in room(a).items() if name.startswith("kpool")}
        per_query = made.get("kpool_pool_seqlens_per_q"), made.get("kpool_seqlens_per_q")
        module.update_kpool_write_plan_cuda_graph(
            a.start, a.pool, a.real, made["kpool_req"], made["kpool_write_start"],
            made["kpool_tail_logical_start"], made["kpool_write_loc"], *per_query, kpool=pool,
            num_draft_tokens=n, index_page_size=64,
        )  # fmt: skip
        made["pooled_real_page_table"] = module.build_pooled_page_table_64(a.real, pool)
        return made

    def ours(a: SimpleNamespace) -> Fields:
        made = room(a)
        given = {"extend_seq_lens": n} if mode == "draft_extend" else {"next_n": n}
        ops.replay_metadata(
            [made], mode, seq_lens=a.seq_lens, req_pool_indices=a.pool, req_to_token=a.table,
            max_len=d.context, topk=topk, page_size=64, index_kpool=pool, **given,
        )  # fmt: skip
        for name, array in plan(sglang, a).items():
            assert (array == made[name]).all(), name
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        made = plan(peer.kpool, a)
        lens = (a.start + 1).int() if n == 1 else made["kpool_seqlens_per_q"]
        clipped = peer.dsa.compute_dsa_seqlens(lens, topk, pool)
        return made | {"real_page_table": a.real, "nsa_cache_seqlens": clipped}

    return PeerCase(arrays, ours, theirs)


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "transform_index_page_table_decode": transform_decode,
    "transform_index_page_table_prefill": transform_prefill,
    "transform_index_page_table_dcp": transform_dcp,
    "prepare_trtllm_nope_sparse_metadata": packed_rows,
    "update_kpool_write_plan_cuda_graph": kpool,
}
