# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of SGLang's functions of context parallelism and of TensorRT-LLM's tables, and of nsa's.

SGLang's are methods of its metadata of V4 and V4.1, and of its backend. The metadata that they
change is made by SGLang's own kernels.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from sglang_peer_cases import PAGE, WINDOW, Draw, Fields, PeerCase, replay

from nsa import ops
from nsa.compat import sglang
from nsa.compat._allocate import copy, empty

TOPK = 512
RATIOS = {"v4": (4, 128), "v41": (1, 2)}


def _core(peer: Any, a: SimpleNamespace, lens: Any, pool: Any, floors: Any, **more: Any) -> Any:
    """SGLang's metadata of rows of these lengths and requests, with the compressed ratios'."""
    of = {"req_to_token": a.req_to_token, "req_pool_indices_repeated": pool}
    tables = peer.rows.BuildPageTablePositions.triton(
        **of, seq_lens_casual=lens, max_seq_len=a.req_to_token.shape[1], page_size=PAGE,
        swa_window=WINDOW,
    )  # fmt: skip
    windows = peer.rows.BuildCausalSwaPageIndices.triton(
        **of, full_to_swa_mapping=a.full_to_swa, seq_lens_casual=tables.seq_lens_casual,
        swa_window=WINDOW, page_index_aligned_size=64, swa_replay_start=floors,
    )  # fmt: skip
    lengths = tables.swa_topk_lengths
    if floors is not None:
        lengths = lengths.minimum((tables.seq_lens_casual - floors).clamp_min(0))
    ratios = RATIOS[a.model]
    core = peer.backend.DSV4AttnMetadata(
        page_size=PAGE, page_table=tables.page_table, raw_out_loc=a.out_cache_loc,
        cuda_int32_kwargs={"device": lens.device, "dtype": lens.int().dtype},
        seq_lens_casual=tables.seq_lens_casual, positions_casual=tables.positions_casual,
        swa_page_indices=windows, swa_topk_lengths=lengths.int(), index_topk=TOPK,
        present_ratios=ratios, low_ratios=tuple(q for q in ratios if q < 4), **more,
    )  # fmt: skip
    core.init_compression_metadata(len(a.out_cache_loc))
    return core


def _row_fields(model: str) -> dict[str, int | None]:
    """Names of fields with a row for each row, with their columns."""
    columns = 1024 // PAGE
    widths: dict[str, int | None] = dict.fromkeys(
        ("seq_lens_casual", "positions_casual", "swa_topk_lengths")
    )
    widths |= {"swa_page_indices": WINDOW, "page_table": columns}
    for q in RATIOS[model]:
        widths[f"c{q}_topk_lengths_clamp1"] = None
        if q == 4:
            widths["c4_topk_lengths_raw"] = None
        if q == 128:
            widths["c128_page_indices"] = 64
        else:
            widths[f"c{q}_sparse_topk_lengths"] = None
            widths[f"c{q}_sparse_page_indices"] = TOPK
    return widths


def _shape(rows: int, columns: int | None) -> tuple[int, ...]:
    return (rows,) if columns is None else (rows, columns)


def _extend(d: Draw, model: str, rows: int) -> dict[str, Any]:
    """An extend, padded to `rows`."""
    return {
        "seq_lens": d.lens, "extend_seq_lens": d.extends, "req_pool_indices": d.pool,
        "req_to_token": d.table, "full_to_swa": d.full_to_swa,
        "extend_start_loc": d.starts()[:-1],
        "out_cache_loc": d.rng.integers(0, d.slots - 1, rows), "model": model,
    }  # fmt: skip


def _expand(peer: Any, a: SimpleNamespace, d: Draw, rows: int) -> tuple[Any, Any]:
    found = peer.rows.ExpandPrefillCausally.triton(
        req_pool_indices=a.req_pool_indices, seq_lens=a.seq_lens,
        extend_seq_lens=a.extend_seq_lens, extend_start_loc=a.extend_start_loc,
        seq_lens_cpu=d.lens.tolist(), extend_seq_lens_cpu=d.extends.tolist(),
        num_tokens=d.total, padded_num_tokens=rows,
    )  # fmt: skip
    return found.seq_lens_casual, found.req_pool_indices_repeated


def rank_rows(d: Draw) -> PeerCase:
    """A rank's rows of an extend; locations stay those of all."""
    model, size = d.some("v4", "v41"), d.some(1, 2, 3, 8)
    rank = int(d.rng.integers(size))
    rows = -(-d.total // size) * size + size * d.some(0, 1)
    arrays = _extend(d, model, rows)
    mine = _row_fields(model)
    shapes: dict[str, Any] = {
        f"rank_{name}": _shape(rows // size, columns) for name, columns in mine.items()
    }
    shapes |= {f"c{q}_out_loc": ((rows,), "int64") for q in RATIOS[model]}

    def ours(a: SimpleNamespace) -> Fields:
        return replay(
            a, shapes, "extend", rows=rows, num_tokens=d.total, max_len=d.context, topk=TOPK,
            page_size=PAGE, ranks=size, rank=rank,
        )  # fmt: skip

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        core = _core(peer, a, *_expand(peer, a, d, rows), None)
        peer.parallel.attn_cp_size, peer.parallel.attn_cp_rank = size, rank
        core.apply_cp_reindex(rows)
        core.init_flashmla_related(is_prefill=True)
        return {name: getattr(core, name.removeprefix("rank_")) for name in shapes}

    return PeerCase(arrays, ours, theirs)


def rank_tails(d: Draw) -> PeerCase:
    """A rank's rows of the tail of an extend, and where all ranks' are when they are gathered."""
    model, size = d.some("v4", "v41"), d.some(2, 3, 8)
    rank = int(d.rng.integers(size))
    count = np.minimum(WINDOW, d.extends)
    total = int(count.sum())
    ends = np.cumsum(d.extends)
    tokens = np.concatenate([np.arange(e - n, e) for e, n in zip(ends, count, strict=True)])
    most = int(np.bincount(tokens % size, minlength=size).max())
    arrays = _extend(d, model, d.total)
    arrays["positions"] = d.rows()[0] - 1
    arrays["locations"] = arrays["out_cache_loc"][tokens]
    mine = _row_fields(model) | {"req_indices": None}
    live = int((tokens % size == rank).sum())
    shapes: dict[str, Any] = {
        "tail_gather_indices": ((total,), "int64"),
        "rank_tail_token_indices": ((most,), "int64"),
        "rank_tail_extend_lens": (d.bs,),
        **{f"rank_tail_{name}": _shape(most, columns) for name, columns in mine.items()},
    }
    shapes["rank_tail_req_indices"] = (most,), "int64"
    shapes |= {f"tail_c{q}_out_loc": ((total,), "int64") for q in RATIOS[model]}

    def ours(a: SimpleNamespace) -> Fields:
        made = replay(
            a, shapes, "extend", rows=d.total, tail_rows=total, max_len=d.context, topk=TOPK,
            page_size=PAGE, window=WINDOW, ranks=size, rank=rank, rank_tail_rows=most,
        )  # fmt: skip
        made["rank_tail_token_indices"] = made["rank_tail_token_indices"][:live]
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        module = peer.backend
        peer.parallel.attn_cp_size, peer.parallel.attn_cp_rank = size, rank
        indices, lens, floors = peer.rows.late_layer_tail_layout(
            extend_lens_cpu=d.extends.tolist(), seq_lens_cpu=d.lens.tolist(), tail_len=WINDOW,
            device=a.seq_lens.device, whole_extend=None,
        )  # fmt: skip
        tail_lens = a.extend_seq_lens.clamp(max=WINDOW)
        batch = SimpleNamespace(batch_size=d.bs, positions=a.positions)
        layout = module.DeepseekV4AttnBackend._late_layer_tail_cp_layout(
            None, batch, indices, tail_lens
        )
        cp = layout["cp_metadata"]
        rows = sum(cp.per_rank_actual_token)
        expanded = peer.rows.ExpandPrefillCausally.triton(
            req_pool_indices=a.req_pool_indices, seq_lens=a.seq_lens,
            extend_seq_lens=tail_lens, extend_start_loc=tail_lens.cumsum(0) - tail_lens,
            seq_lens_cpu=d.lens.tolist(), extend_seq_lens_cpu=lens, num_tokens=total,
            padded_num_tokens=rows,
        )  # fmt: skip
        pool = expanded.req_pool_indices_repeated
        padded = floors.new_zeros(rows)
        padded[:total] = floors
        a.out_cache_loc = a.locations
        core = _core(peer, a, expanded.seq_lens_casual, pool, padded)
        core.apply_cp_reindex(total, cp.local_index)
        core.init_flashmla_related(is_prefill=True)
        found = {f"rank_tail_{name}": getattr(core, name, None) for name in mine}
        found |= {f"tail_c{q}_out_loc": getattr(core, f"c{q}_out_loc") for q in RATIOS[model]}
        found["rank_tail_req_indices"] = pool[cp.local_index].long()
        found["tail_gather_indices"] = cp.gather_index
        found["rank_tail_token_indices"] = layout["local_token_indices"]
        found["rank_tail_extend_lens"] = tail_lens.new_tensor(layout["local_lens_cpu"]).int()
        return found

    return PeerCase(arrays, ours, theirs)


def rank_lengths(d: Draw) -> PeerCase:
    """How many rows of each request a rank has."""
    size = d.some(1, 2, 3, 8)
    rank = int(d.rng.integers(size))
    extends = d.extends * d.rng.integers(0, 2, d.bs)
    rows = int(extends.sum())

    def ours(a: SimpleNamespace) -> Fields:
        return replay(
            a, {"rank_extend_lens": (d.bs,)}, "extend", rows=rows, ranks=size, rank=rank
        )

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        counts = peer.cp.interleave_rows_per_request(extends.tolist(), rank, size)
        return {"rank_extend_lens": a.extend_seq_lens.new_tensor(counts).int()}

    return PeerCase({"seq_lens": d.lens, "extend_seq_lens": extends}, ours, theirs)


def rank_requests(d: Draw) -> PeerCase:
    """The requests that a rank has rows of, and how many."""
    size = d.some(1, 2, 3, 8)
    rank = int(d.rng.integers(size))
    extends = (d.extends * d.rng.integers(0, 2, d.bs)).astype(np.int32)
    starts = np.cumsum(extends) - extends
    owned = [(s + np.arange(e)) % size == rank for s, e in zip(starts, extends, strict=True)]
    requests = sum(bool(each.any()) for each in owned)
    arrays = {"extends": extends}

    def call(module: Any, a: SimpleNamespace) -> Fields:
        found = module.dsa_cp_interleave_q_seqs(a.extends, requests, size, rank)
        return dict(zip(("lens", "requests"), found, strict=True))

    def theirs(peer: Any, a: SimpleNamespace) -> list[Fields]:
        peer.parallel.attn_cp_size, peer.parallel.attn_cp_rank = size, rank
        _, lens, _, found = peer.cp.InterleaveCPStrategy(size).shard_per_request(
            extends.tolist(), a.extends
        )
        return [call(peer.shares, a), {"lens": lens, "requests": found}]

    return PeerCase(arrays, lambda a: call(sglang, a), theirs)


def trtllm_tables(d: Draw) -> PeerCase:
    """Tables of TensorRT-LLM's attention, of a decode."""
    model = d.some("v4", "v41")
    lens, of = d.rows()
    rows = len(lens)
    padded = -(-rows // 64) * 64
    arrays = {
        "seq_lens": lens, "req_pool_indices": d.pool[of], "req_to_token": d.table,
        "full_to_swa": d.full_to_swa,
        "out_cache_loc": d.rng.integers(0, d.slots - 1, rows), "model": model,
    }  # fmt: skip
    shapes: dict[str, Any] = {
        "trtllm_seq_lens_casual": (padded,), "trtllm_swa_page_indices": (padded, WINDOW),
        "trtllm_swa_lens": (padded,), "trtllm_c4_indices": (padded, WINDOW + TOPK),
        "trtllm_c4_lens": (padded,),
    }  # fmt: skip
    if model == "v4":
        shapes |= {
            "trtllm_c128_indices": (padded, WINDOW + 64), "trtllm_c128_lens": (padded,)
        }  # fmt: skip
    else:
        names = (f"trtllm_c{q}_sparse_topk_lengths" for q in (1, 2))
        shapes |= dict.fromkeys(names, (rows,))

    def ours(a: SimpleNamespace) -> Fields:
        return replay(a, shapes, max_len=d.context, topk=TOPK, page_size=PAGE)

    def whole(view: Any) -> Any:
        """The rows up to the end of the last tile, that a view of the live ones is of."""
        return view.as_strided((padded, *view.shape[1:]), view.stride())

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        core = _core(peer, a, a.seq_lens, a.req_pool_indices, None)
        core.init_flashmla_related()
        core.init_trtllm_sparse_buffers()
        found = {}
        for name in shapes:
            short = name.removeprefix("trtllm_")
            value = getattr(core, name) if hasattr(core, name) else getattr(core, short)
            found[name] = value if "sparse" in name else whole(value)
        return found

    return PeerCase(arrays, ours, theirs)


def sparse_tail(d: Draw) -> PeerCase:
    """What a layer's indexer chose, in rows of a table that has more."""
    rows, columns = d.bs, d.some(64, 100, 512)
    arrays = {
        "indices": d.rng.integers(-1, d.slots, (rows, columns)).astype(np.int32),
        "lengths": d.rng.integers(0, columns + 1, rows).astype(d.some(np.int32, np.int64)),
        "table": d.rng.integers(0, 99, (64, WINDOW + columns)).astype(np.int32),
        "total": d.rng.integers(0, 99, 64).astype(np.int32),
    }

    def call(module: Any, a: SimpleNamespace) -> Fields:
        table, total = copy(a.table), copy(a.total)
        module.pack_sparse_tail(a.indices, a.lengths, table[:rows], total[:rows])
        return {"table": table, "total": total}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.trtllm, a))


def windows_of_rows(d: Draw) -> PeerCase:
    """Layouts of request windows from rows alone."""
    lens, of = d.rows()
    arrays = {"req": d.pool[of], "pos": lens - 1}
    options = {
        "zero_row": 4096, "window": WINDOW, "capacity": d.some(256, 4),
        "num_groups": d.bs + d.some(0, 2), "padded_rows": d.some(None, len(lens) + 3),
    }  # fmt: skip
    if d.some(False, True):
        floors = np.maximum(lens - d.rng.integers(0, 2 * WINDOW, len(lens)), 0)
        arrays["floor"] = floors.astype(np.int32)
    names = (
        "req", "pos", "write_loc", "indices", "lengths", "history_req", "history_pos",
        "history_loc", "history_valid", "history_src", "commit_mask",
    )  # fmt: skip

    def call(module: Any, a: SimpleNamespace) -> Fields:
        floor = getattr(a, "floor", None)
        layout = module.window_layout(a.req, a.pos, floor=floor, **options)
        return {name: getattr(layout, name) for name in names}

    return PeerCase(arrays, lambda a: call(sglang, a), lambda p, a: call(p.windows, a))


def pool_owners(d: Draw) -> PeerCase:
    """Which rank writes each pool of index keys that a chunk makes whole."""
    size, pool = d.some(2, 3, 8), 4
    rank = int(d.rng.integers(size))
    lens, extends = d.lens, d.extends
    count = int((lens // pool - (lens - extends) // pool).sum())
    arrays = {
        "seq_lens": lens, "extend_seq_lens": extends, "req_pool_indices": d.pool,
        "req_to_token": d.table,
    }  # fmt: skip

    def ours(a: SimpleNamespace) -> Fields:
        made = {
            "pool_owner_rank": empty((count,), a.seq_lens),
            "pool_local_write_mask": empty((count,), a.seq_lens, "int8"),
        }
        ops.dsa_prefill(
            made, **vars(a), num_tokens=d.total, max_len=d.context, index_kpool=pool,
            ranks=size, rank=rank,
        )  # fmt: skip
        return made

    def theirs(peer: Any, a: SimpleNamespace) -> Fields:
        peer.parallel.attn_cp_size, peer.parallel.attn_cp_rank = size, rank
        # What a batch and the model's configuration are asked.
        peer.kpool_plan.dsa_use_prefill_cp = lambda batch: True
        found = peer.kpool_plan._kpool_cp_owner_rank(None, count, a.seq_lens.device)
        return {
            "pool_owner_rank": found.owner_rank,
            "pool_local_write_mask": found.local_write_mask,
        }

    return PeerCase(arrays, ours, theirs)


#: By what of SGLang's is called.
CASES: dict[str, Callable[[Draw], PeerCase]] = {
    "apply_cp_reindex": rank_rows,
    "_late_layer_tail_cp_layout": rank_tails,
    "interleave_rows_per_request": rank_lengths,
    "dsa_cp_interleave_q_seqs": rank_requests,
    "KPoolCpInfo": pool_owners,
    "init_trtllm_sparse_buffers": trtllm_tables,
    "pack_sparse_tail": sparse_tail,
    "window_layout of rows": windows_of_rows,
}
