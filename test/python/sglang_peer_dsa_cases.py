# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions of DSA, and of nsa's: index transforms, and pooled index keys."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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


def fused(d: Draw, mode: str) -> PeerCase:
    """Lengths and tables of a mode by SGLang's fused kernels, as far as requests have tokens."""
    pool, topk, n, bs = d.some(2, 4), 100, 1 if mode == "decode" else 3, d.bs
    static = mode == "draft_extend" and d.some(False, True)
    extends = np.minimum(d.extends, n)
    if mode != "draft_extend" or static:
        extends = np.full(bs, n)
    rows, of = int(extends.sum()), np.repeat(np.arange(bs), extends)
    lens = np.maximum(d.lens, n)
    after = lens[of] + (n if mode == "target_verify" else 0)
    tables = {"page_table_1": 1, "real_page_table": 64}
    shapes: dict[str, tuple[int, ...]] = {
        "cache_seqlens": (bs,), "cu_seqlens_k": (bs + 1,), "dsa_cache_seqlens": (rows,),
        "dsa_cu_seqlens_k": (rows + 1,),
        **{name: (rows, d.context // tokens) for name, tokens in tables.items()},
    }  # fmt: skip
    arrays = {"seq_lens": lens, "req_pool_indices": d.pool, "req_to_token": d.table}
    constants = {
        "bs": bs, "dsa_index_topk": topk, "physical_page_size": 64, "index_kpool": pool,
        "max_len" if mode == "decode" else "max_seqlen_k": d.context,
    }  # fmt: skip
    if mode != "decode":
        shapes["seqlens_expanded"] = (rows,)
    if mode == "target_verify":
        constants["next_n"] = n
        shapes["paged_mqa_ctx_lens_2d"] = (bs, n)
    elif mode == "draft_extend":
        arrays["extend_seq_lens"] = extends.astype(np.int32)
        constants |= {
            "total_len": rows, "max_extend_len": n, "max_total_len": bs * n,
            "static_extend_len": static,
        }  # fmt: skip
    live = {
        f"live_{name}": (np.arange(d.context // tokens) * tokens < after[:, None]).astype(np.int32)
        for name, tokens in tables.items()
    }

    def call(module: Any, a: SimpleNamespace) -> Fields:
        made = {name: empty(shape, a.seq_lens) for name, shape in shapes.items()}
        for name in ("cu_seqlens_k", "dsa_cu_seqlens_k"):
            made[name][0] = 0
        given = {name: getattr(a, name) for name in arrays}
        getattr(module, f"fused_dsa_{mode}_metadata_kpool")(**given, **made, **constants)
        return made | {name: made[name] * getattr(a, f"live_{name}") for name in tables}

    return PeerCase(
        arrays | live, lambda a: call(sglang, a),
        lambda p, a: call(getattr(p, f"fused_{mode}"), a), cuda=True,
    )  # fmt: skip


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "transform_index_page_table_decode": transform_decode,
    "transform_index_page_table_prefill": transform_prefill,
    "transform_index_page_table_dcp": transform_dcp,
    "prepare_trtllm_nope_sparse_metadata": packed_rows,
    "update_kpool_write_plan_cuda_graph": kpool,
    **{
        f"fused_dsa_{mode}_metadata_kpool": partial(fused, mode=mode)
        for mode in ("decode", "target_verify", "draft_extend")
    },
}
