# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls with vLLM's own argument lists, which ``nsa.compat.vllm`` and vLLM itself take.

Contents are valid, as vLLM reads outside of arrays otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import numpy as np
import vllm_batch_reference
import vllm_peer_batch_cases
import vllm_reference as reference
from vllm_draw import Draw
from vllm_peer_call import BLOCK, PeerCase, new


def case_token_to_req(d: Draw) -> PeerCase:
    n = d.total + 3
    arguments = {
        "query_start_loc": d.q, "out": new(n + 2), "num_mapped_tokens": d.total + 1,
        "num_tokens": n,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        reference.token_to_req_indices(a.query_start_loc, a.out, d.total + 1, n)
        return a.out[:n]

    return PeerCase("compute_token_to_req_indices", arguments, expect, ("out",))


def case_uniform(d: Draw) -> PeerCase:
    k, columns = d.some(1, 2, 4), 9
    n = d.R * k
    arguments = {
        "seq_lens": d.S, "decode_seq_lens": new(n + 6), "block_table": d.table(d.R, columns),
        "expanded_block_table": new(n, columns), "decode_lens": new(n),
        "num_decode_tokens": n, "max_decode_len": k,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.uniform_decode(
            a.seq_lens, k, a.decode_seq_lens, a.block_table, a.expanded_block_table,
            a.decode_lens,
        )  # fmt: skip

    outs = ("decode_seq_lens", "expanded_block_table", "decode_lens")
    return PeerCase("prepare_uniform_decode", arguments, expect, outs)


def case_varlen(d: Draw) -> PeerCase:
    n, columns = d.total + 2, 9
    arguments = {
        "query_start_loc": d.q, "seq_lens": d.S, "block_table": d.table(d.R, columns),
        "output_seq_lens": new(n + 5), "output_block_table": new(n, columns),
        "decode_lens": new(n), "indices": new(n), "per_req_lens": new(d.R),
        "num_reqs": d.R, "num_tokens": n,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.varlen_decode(
            a.query_start_loc, a.seq_lens, n, a.output_seq_lens, a.block_table,
            a.output_block_table, a.decode_lens, a.indices, a.per_req_lens,
        )  # fmt: skip

    outs = (
        "output_seq_lens", "output_block_table", "decode_lens", "indices", "per_req_lens",
    )  # fmt: skip
    return PeerCase("indexer_decode_metadata", arguments, expect, outs)


def case_compressed(d: Draw) -> PeerCase:
    ratio = d.some(4, 128)
    arguments = {
        "num_tokens": d.total, "slot_mapping": d.slots(d.total), "query_start_loc": d.q,
        "seq_lens": d.S, "block_table": d.table(d.R, 12), "block_size": 256 // ratio,
        "compress_ratio": ratio, "out": new(d.total + 4, dtype=np.int64),
        "dcp_world_size": d.some(1, 2), "cp_interleave": 128,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        reference.compressed_slot_mapping(
            a.query_start_loc, a.seq_lens, a.slot_mapping, a.block_table, a.out,
            a.block_size, ratio, (a.dcp_world_size, 0, 128),
        )  # fmt: skip
        return a.out[: d.total]

    return PeerCase("get_compressed_slot_mapping", arguments, expect, ("out",))


def case_slot_mappings(d: Draw) -> PeerCase:
    states, sizes = 9, [64, 256, 64]
    idx = d.rng.integers(0, states, d.R).astype(np.int32)
    idx[d.rng.random(d.R) < 0.2] = -1
    cp = d.some(1, 4)
    tables = SimpleNamespace(
        block_sizes=sizes,
        num_kv_cache_groups=3,
        cp_size=cp,
        cp_rank=cp // 2,
        cp_interleave=4,
        _slot_mapping_enabled=[True, True, False],
        dcp_sharded=np.array([True, False, True]),
        block_tables=[SimpleNamespace(gpu=d.table(states, 20)) for _ in sizes],
        slot_mappings=new(3, d.total + 7, dtype=np.int64),
    )
    arguments = {
        "tables": tables, "idx_mapping": idx, "query_start_loc": d.q,
        "positions": d.positions(), "num_tokens_padded": d.total + 1,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out = np.copy(a.tables.slot_mappings)
        reference.slot_mappings(
            a.idx_mapping, a.query_start_loc, a.positions,
            [table.gpu for table in tables.block_tables], out, sizes, [True, True, False],
            [True, False, True], (cp, cp // 2, 4) if cp > 1 else None,
        )  # fmt: skip
        return out[:, : d.total + 1]

    return PeerCase("compute_slot_mappings", arguments, expect)


def case_dcp(d: Draw) -> PeerCase:
    arguments = {
        "dcp_local_seq_lens": new(d.R + 9), "seq_lens": d.S, "num_reqs": d.R,
        "dcp_size": 4, "dcp_rank": d.some(0, 3), "cp_interleave": d.some(1, 16),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        cp = (4, a.dcp_rank, a.cp_interleave)
        reference.dcp_local_seq_lens(a.seq_lens, a.dcp_local_seq_lens, cp)
        return a.dcp_local_seq_lens

    return PeerCase("prepare_dcp_local_seq_lens", arguments, expect, ("dcp_local_seq_lens",))


def case_kpool(d: Draw) -> PeerCase:
    positions = d.positions()
    n = len(positions)
    table = d.table(d.R, 2)
    table[::3] = 0
    arguments = {
        "slot_mapping": d.slots(n), "block_table": table, "query_start_loc": d.q,
        "positions": positions, "num_actual_tokens": min(d.total + 1, n), "num_reqs": d.R,
        "kpool": 4, "out": new(n, dtype=np.int64),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        reference.kpool_tail_slot_mapping(
            a.query_start_loc, a.positions, a.slot_mapping, a.block_table, a.out, 4,
            a.num_actual_tokens,
        )  # fmt: skip
        return a.out

    return PeerCase("compute_kpool_tail_slot_mapping", arguments, expect, ("out",))


def windows(d: Draw, width: int) -> dict[str, Any]:
    batch = reference.Batch(d.q, d.S)
    owners = np.array([batch.of(t) for t in range(d.total)], np.int32)
    first = min(d.some(0, 2), d.total)
    n = d.total - first
    return {
        "swa_indices": new(n, width), "swa_lens": new(n), "window_size": 128,
        "index_width": width, "query_start_loc": d.q, "seq_lens": d.S,
        "token_to_req_indices": owners, "is_valid_token": d.rng.random(d.total) < 0.8,
        "block_table": d.table(d.R, 12), "block_size": BLOCK, "num_tokens": n,
        "token_offset": first,
    }  # fmt: skip


def case_swa(d: Draw) -> PeerCase:
    image = d.some(0, 16)
    arguments = windows(d, 128 + 2 * image)
    starts = d.S - (d.q[1:] - d.q[:-1])
    arguments["replay_start"] = np.maximum(starts - d.some(0, 50), 0).astype(d.index)
    for name in ("left_visible", "right_visible"):
        arguments[name] = d.rng.integers(0, image + 1, d.total).astype(np.int32)
    # What is to the right of a token is in the table.
    arguments["has_image"] = image > 0

    def expect(a: SimpleNamespace) -> None:
        reference.swa_indices(
            a.query_start_loc, a.seq_lens, a.block_table, a.swa_indices, a.swa_lens, 128,
            BLOCK, is_valid=a.is_valid_token, replay_start=a.replay_start,
            left_visible=a.left_visible if image else None,
            right_visible=a.right_visible if image else None, first_token=a.token_offset,
        )  # fmt: skip

    outs = ("swa_indices", "swa_lens")
    return PeerCase("compute_swa_indices_and_lens", arguments, expect, outs)


def case_noncausal(d: Draw) -> PeerCase:
    arguments = windows(d, 192)

    def expect(a: SimpleNamespace) -> None:
        reference.swa_noncausal_indices(
            a.query_start_loc, a.seq_lens, a.block_table, a.swa_indices, a.swa_lens, 128,
            BLOCK, is_valid=a.is_valid_token, first_token=a.token_offset,
        )  # fmt: skip

    outs = ("swa_indices", "swa_lens")
    return PeerCase("compute_dspark_noncausal_swa_indices", arguments, expect, outs)


def case_gather_lens(d: Draw) -> PeerCase:
    decodes = d.R // 2
    starts = d.S - (d.q[1:] - d.q[:-1])
    arguments = {
        "prefill_gather_lens": new(d.R - decodes), "seq_lens": d.S, "query_start_loc": d.q,
        "replay_start": np.maximum(starts - 40, 0).astype(d.index),
        "num_prefills": d.R - decodes, "num_decodes": decodes, "window_size": 128,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        reference.prefill_gather_lens(
            a.query_start_loc, a.seq_lens, a.prefill_gather_lens, 128, a.replay_start, decodes
        )

    outs = ("prefill_gather_lens",)
    return PeerCase("compute_prefill_metadata", arguments, expect, outs)


def case_image(d: Draw) -> PeerCase:
    batch = reference.Batch(d.q, d.S)
    owners = np.array([batch.of(t) for t in range(d.total)], np.int32)
    starts = np.tile(np.array([0, 100, 200], np.int32), d.R)
    arguments = {
        "left_visible": new(d.total), "right_visible": new(d.total),
        "span_indptr": np.arange(0, 3 * d.R + 1, 3, dtype=np.int32), "span_starts": starts,
        "span_ends": starts + 63, "query_start_loc": d.q, "seq_lens": d.S,
        "token_to_req_indices": owners, "max_image_tokens": 20,
        "token_offset": min(1, d.total),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        first = a.token_offset
        reference.image_visible(
            a.query_start_loc, a.seq_lens, a.span_indptr, a.span_starts, a.span_ends,
            a.left_visible[first:], a.right_visible[first:], 20, first,
        )  # fmt: skip

    outs = ("left_visible", "right_visible")
    return PeerCase("compute_image_visibility", arguments, expect, outs)


def chosen(d: Draw, T: int, columns: int) -> np.ndarray:
    made = d.rng.integers(0, 700, (T, columns)).astype(np.int32)
    made[d.rng.random(made.shape) < 0.4] = -1
    made[T // 2] = -1
    return made


def case_convert(d: Draw) -> PeerCase:
    T, columns = 6, d.some(128, 2048)
    count = bool(d.some(0, 1))
    arguments = {
        "req_id": d.rng.integers(0, d.R, T).astype(np.int32), "block_table": d.table(d.R, 12),
        "token_indices": chosen(d, T, columns), "NUM_TOPK_TOKENS": columns,
        "BLOCK_STRIDE_ROWS": d.some(64, 70), "return_valid_counts": count,
    }  # fmt: skip
    if d.some(0, 1):
        arguments["HAS_PREFILL_WORKSPACE"] = True
        ids = d.rng.integers(-1, 2, T).astype(np.int32)
        arguments["prefill_workspace_request_ids"] = ids
        arguments["prefill_workspace_starts"] = np.array([0, 900], np.int32)

    def expect(a: SimpleNamespace) -> Any:
        out, counts = new(T, columns), new(T)
        reference.req_to_global(
            a.req_id, a.block_table, a.token_indices, out, 64, a.BLOCK_STRIDE_ROWS, count,
            counts, prefill_request_ids=getattr(a, "prefill_workspace_request_ids", None),
            workspace_starts=getattr(a, "prefill_workspace_starts", None),
        )  # fmt: skip
        return (out, counts) if count else out

    return PeerCase("triton_convert_req_index_to_global_index", arguments, expect)


def case_filter(d: Draw) -> PeerCase:
    T, columns = 5, d.some(128, 2048)
    compact = bool(d.some(0, 1))
    arguments = {
        "req_id": d.rng.integers(0, d.R, T).astype(np.int32), "block_table": d.table(d.R, 12),
        "token_indices": chosen(d, T, columns), "dcp_size": 2, "dcp_rank": d.some(0, 1),
        "cp_kv_cache_interleave_size": d.some(1, 16), "NUM_TOPK_TOKENS": columns,
        "return_valid_counts": True, "compact_valid_to_front": compact,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out, counts = new(T, columns), new(T)
        cp = (2, a.dcp_rank, a.cp_kv_cache_interleave_size)
        reference.req_to_global(
            a.req_id, a.block_table, a.token_indices, out, 64, None, compact, counts,
            context_parallel=cp,
        )  # fmt: skip
        return out, counts

    return PeerCase("triton_filter_and_convert_dcp_index", arguments, expect)


def case_global_topk(d: Draw) -> PeerCase:
    T, columns = 7, 512
    arguments = {
        "topk_indices": chosen(d, T, columns),
        "token_to_req_indices": d.rng.integers(0, d.R, T).astype(np.int32),
        "block_table": d.table(d.R, 12), "block_size": BLOCK,
        "is_valid_token": d.rng.random(T) < 0.7,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out, lens = new(T, columns), new(T)
        reference.global_topk_indices(
            a.topk_indices, a.token_to_req_indices, a.block_table, out, lens,
            block_size=BLOCK, is_valid=a.is_valid_token,
        )  # fmt: skip
        return out, lens

    return PeerCase("compute_global_topk_indices_and_lens", arguments, expect)


def case_combine(d: Draw) -> PeerCase:
    ratio, topk = d.some(4, 128), 64
    gathers = d.q[1:] - d.q[:-1] + np.minimum(d.S - (d.q[1:] - d.q[:-1]), 127)
    arguments = {
        "topk_indices": d.rng.integers(0, 150, (d.total, topk)).astype(np.int32),
        "query_start_loc": (d.q + 5).astype(d.index), "seq_lens": d.S,
        "gather_lens": gathers.astype(d.index), "window_size": 128, "compress_ratio": ratio,
        "topk": topk, "M": 700, "N": 200,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out, lens = new(d.total, 256), new(d.total)
        reference.combine_topk_swa_indices(
            a.topk_indices, a.query_start_loc, a.seq_lens, a.gather_lens, out, lens, 128,
            ratio, topk, 700, 200,
        )  # fmt: skip
        return out, lens

    return PeerCase("combine_topk_swa_indices", arguments, expect)


def case_c128a(d: Draw) -> PeerCase:
    batch = reference.Batch(d.q, d.S)
    owners = np.array([batch.of(t) for t in range(d.total)], np.int32)
    positions = d.rng.integers(0, 4000, d.total)
    decodes = d.total // 2
    arguments = {
        "positions": positions, "compress_ratio": 128, "num_decode_tokens": decodes,
        "token_to_req_indices": owners, "block_table": d.table(d.R, 20), "block_size": 2,
        "slot_mapping": d.slots(d.total), "global_decode_buffer": new(d.total + 1, 256),
        "decode_lens_buffer": new(d.total + 1), "prefill_buffer": new(d.total + 1, 256),
        "max_compressed_tokens": 128,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        reference.c128a_indices(
            a.positions, decodes, 128, 2, a.token_to_req_indices, a.block_table,
            a.slot_mapping, a.global_decode_buffer, a.decode_lens_buffer, a.prefill_buffer,
        )  # fmt: skip
        return (
            a.global_decode_buffer[:decodes, :128],
            a.decode_lens_buffer[:decodes],
            a.prefill_buffer[: d.total - decodes, :128],
        )

    outs = ("global_decode_buffer", "decode_lens_buffer", "prefill_buffer")
    return PeerCase("build_c128a_topk_metadata", arguments, expect, outs)


def case_gather(d: Draw) -> PeerCase:
    states, columns = 9, [12, 8]
    reach = [128, 0]
    tables = SimpleNamespace(
        num_kv_cache_groups=2,
        block_sizes=[64, 256],
        block_tables=[SimpleNamespace(gpu=d.table(states, c)) for c in columns],
        num_blocks=SimpleNamespace(gpu=d.rng.integers(0, 9, (2, states)).astype(np.int32)),
        input_block_tables=[new(d.R + 4, c) for c in columns],
        has_sliding_window_groups=True,
        _sliding_window_reach=reach,
        _num_dirty_rows=d.R + 3,
    )
    arguments = {
        "tables": tables, "idx_mapping": d.rng.integers(0, states, d.R).astype(np.int32),
        "num_reqs_padded": d.R + 1,
        "num_computed_tokens": d.rng.integers(0, 500, states).astype(np.int32),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        outs = [np.copy(table) for table in a.tables.input_block_tables]
        reference.gather_block_tables(
            a.idx_mapping, [table.gpu for table in a.tables.block_tables],
            a.tables.num_blocks.gpu, outs, [64, 256], d.R + 3, a.num_computed_tokens, reach,
        )  # fmt: skip
        return tuple(out[: d.R + 1] for out in outs)

    return PeerCase("gather_block_tables", arguments, expect)


def case_chunk(d: Draw) -> PeerCase:
    ratio, world = d.some(1, 4), d.some(1, 2)
    keys = d.S // ratio
    own = np.array([reference.dcp(int(n), (world, 0, 1)) for n in keys])
    first = min(d.some(0, 1), d.total)
    total = int(keys.sum())
    arguments = {
        "query_start_loc": d.q, "uncompressed_seq_lens": d.S,
        "cu_compressed_seq_lens": np.concatenate([[0], np.cumsum(keys)]).astype(np.int32),
        "row_start_cu_compressed_seq_lens": np.concatenate([[0], np.cumsum(own)]).astype(
            np.int32
        ),
        "token_to_seq": new(total + 3), "cu_compressed_seq_len_ks": new(d.total - first),
        "cu_compressed_seq_len_ke": new(d.total - first), "query_slice_start": first,
        "query_slice_stop": d.total, "DCP_RANK": 0, "DCP_WORLD": world, "DCP_INTERLEAVE": 1,
        "num_reqs": d.R, "COMPRESS_RATIO": ratio,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        vllm_batch_reference.prefill_chunk(
            a.query_start_loc, a.uncompressed_seq_lens, ratio, a.cu_compressed_seq_lens,
            a.row_start_cu_compressed_seq_lens, a.cu_compressed_seq_len_ks,
            a.cu_compressed_seq_len_ke, a.token_to_seq, None, None, (world, 0, 1), first,
            d.total - first,
        )  # fmt: skip

    outs = ("token_to_seq", "cu_compressed_seq_len_ks", "cu_compressed_seq_len_ke")
    return PeerCase("build_prefill_chunk", arguments, expect, outs)


def case_safe_lengths(d: Draw) -> PeerCase:
    arguments = {
        "physical_indices": new(d.total, 6),
        "valid_counts": d.rng.integers(0, 3, d.total).astype(np.int32),
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> Any:
        out = new(d.total)
        reference.safe_lengths(a.valid_counts, a.physical_indices, out)
        return out

    outs = ("physical_indices",)
    return PeerCase("prepare_sparse_mla_safe_lengths", arguments, expect, outs)


def case_dequantize(d: Draw) -> PeerCase:
    lens = np.minimum(d.S, 40).astype(np.int32)
    # e4m3 without its NaN, and scales that any exp2 has.
    page = -(-(584 * BLOCK) // 576) * 576
    bytes_ = d.rng.integers(0, 0x7F, (6, page), np.uint8)
    bytes_[:, 576 * BLOCK : 584 * BLOCK] = d.rng.integers(120, 134, (6, 8 * BLOCK))
    cache = np.lib.stride_tricks.as_strided(
        bytes_, (6, BLOCK, 584), (page, 584, 1), writeable=False
    )
    arguments = {
        "out": np.full((d.R, 50, 512), 77, np.uint16), "k_cache": cache,
        "seq_lens": lens, "gather_lens": np.minimum(lens, 9), "block_size": BLOCK,
        "block_table": d.table(d.R, 2, blocks=6), "offset": 3,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        vllm_batch_reference.dequantize_and_gather(
            bytes_, a.seq_lens, a.block_table, a.out.reshape(-1, 512), "v4", BLOCK, 50,
            a.gather_lens, 3,
        )  # fmt: skip

    return PeerCase("dequantize_and_gather_k_cache", arguments, expect, ("out",))


def case_dequantize_nvfp4(d: Draw) -> PeerCase:
    lens = np.minimum(d.S, 40).astype(np.int32)
    cache = d.rng.integers(0, 0x7F, (6, BLOCK, 288), np.uint8)
    arguments = {
        "out": np.full((d.R, 50, 512), 77, np.uint16), "k_cache": cache,
        "seq_lens": lens, "gather_lens": np.minimum(lens, 9), "block_size": BLOCK,
        "block_table": d.table(d.R, 2, blocks=6), "offset": 3,
    }  # fmt: skip

    def expect(a: SimpleNamespace) -> None:
        vllm_batch_reference.dequantize_and_gather(
            cache.reshape(6, -1), a.seq_lens, a.block_table, a.out.reshape(-1, 512),
            "v41_nvfp4", BLOCK, 50, a.gather_lens, 3,
        )  # fmt: skip

    return PeerCase("dequantize_and_gather_k_cache", arguments, expect, ("out",))


PEER_CASES: dict[str, Callable[[Draw], PeerCase]] = {
    name.removeprefix("case_"): make
    for name, make in [*globals().items(), *vars(vllm_peer_batch_cases).items()]
    if name.startswith("case_")
}


def valid_draw(seed: int) -> Draw:
    """A batch as vLLM has it: int32 numbers, and at least one request and one token."""
    while True:
        draw = Draw(seed)
        draw.index = "int32"
        draw.q, draw.S = draw.q.astype(np.int32), draw.S.astype(np.int32)
        if draw.total:
            return draw
        seed += 1000


def place(value: Any, change: Callable[[np.ndarray], Any]) -> Any:
    """The argument with its arrays changed."""
    if isinstance(value, np.ndarray):
        return change(value)
    if isinstance(value, list):
        return [place(item, change) for item in value]
    if isinstance(value, SimpleNamespace):
        return SimpleNamespace(**{k: place(v, change) for k, v in vars(value).items()})
    return value


def arrays_of(returned: Any) -> list[Any]:
    if returned is None:
        return []
    return list(returned) if isinstance(returned, tuple) else [returned]


def expected(case: PeerCase) -> list[np.ndarray]:
    """What is returned, and then what is written."""
    copies = SimpleNamespace(**place(SimpleNamespace(**case.arguments), np.copy).__dict__)
    returned = [array.copy() for array in arrays_of(case.expect(copies))]
    return returned + [attrgetter(name)(copies) for name in case.outs]


def results(case: PeerCase, function: Callable[..., Any], change: Any = np.copy) -> list[Any]:
    """The same of a function."""
    arguments = {name: place(value, change) for name, value in case.arguments.items()}
    returned = arrays_of(function(**arguments))
    return returned + [attrgetter(name)(SimpleNamespace(**arguments)) for name in case.outs]


def texts() -> set[str]:
    """The steps that the GPU test asks for."""
    from nsa.compat import vllm
    from nsa.vllm import step_text

    found = set()
    for make in PEER_CASES.values():
        for seed in range(4):
            case = make(valid_draw(seed))
            function = getattr(vllm, case.name)
            found.add(step_text(partial(function, **case.arguments)))
    return found
