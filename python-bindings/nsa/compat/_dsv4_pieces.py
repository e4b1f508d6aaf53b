# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions for parts of a DeepSeek V4 or V4.1 step's metadata, and for what a rank of
context parallelism has, for torch tensors and for NumPy arrays.

Each is a launch, and allocates what it returns. All fields in one launch, in place:
``nsa.ops.replay_v4``, ``nsa.ops.dsa_prefill``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .. import ops
from .._errors import INT32_MAX, constant, wrong
from ._allocate import empty, from_list
from ._dsv4 import build_page_table_positions

__all__ = [
    "build_low_ratio_metadata",
    "build_page_table_positions_small",
    "dsa_cp_interleave_q_seqs",
    "expand_index_page_table",
    "expand_prefill_causally",
    "fill_all_compressed_indices",
    "init_compression_metadata",
    "pack_sparse_tail",
    "prefill_k_slots",
    "window_layout",
]

_LIST_MULTIPLE = 64

build_page_table_positions_small = build_page_table_positions


def _round_up(size: int) -> int:
    return -(-size // _LIST_MULTIPLE) * _LIST_MULTIPLE


class ExpandPrefillCausallyResult(NamedTuple):
    """Of ``expand_prefill_causally``."""

    seq_lens_casual: Any
    req_pool_indices_repeated: Any


def expand_prefill_causally(
    *,
    req_pool_indices: Any,
    seq_lens: Any,
    extend_seq_lens: Any,
    extend_start_loc: Any = None,
    seq_lens_cpu: Any = None,
    extend_seq_lens_cpu: Any = None,
    num_tokens: int,
    padded_num_tokens: int | None = None,
) -> ExpandPrefillCausallyResult:
    """Length (int32) and pool index (int64) of each row of an extend, then of padding: SGLang's
    ``expand_prefill_causally``. Lists of lengths and `extend_start_loc` are not looked at.
    Raises ``ValueError`` or ``TypeError`` with the argument's name."""
    rows = max(num_tokens, padded_num_tokens or 0)
    lens, pool = empty((rows,), seq_lens), empty((rows,), seq_lens, "int64")
    ops.replay_v4(
        [{"seq_lens_casual": lens, "req_indices": pool}],
        "extend",
        seq_lens=seq_lens,
        extend_seq_lens=extend_seq_lens,
        req_pool_indices=req_pool_indices,
        rows=rows,
        num_tokens=num_tokens,
    )
    return ExpandPrefillCausallyResult(lens, pool)


def init_compression_metadata(
    seq_lens: Any,
    positions: Any,
    raw_out_loc: Any,
    page_table: Any = None,
    page_size: int = 0,
    compute_page_indices: bool = True,
) -> tuple[Any, ...]:
    """Locations, positions and lengths of ratios 4 and 128, and the slots of the latter:
    SGLang's ``init_compression_metadata``.

    `positions` are taken as ``seq_lens - 1``. Returns, of 4 and then of 128, out_loc (int64),
    positions, lengths and lengths of 1 or more (int32), then page indices (int32, a view of
    padded rows), or None. Raises ``ValueError`` or ``TypeError`` with the argument's name.
    """
    rows, fields, pages = len(seq_lens), {}, None
    for ratio in (4, 128):
        fields[f"c{ratio}_out_loc"] = empty((len(raw_out_loc),), seq_lens, "int64")
        for name in ("positions", "topk_lengths_raw", "topk_lengths_clamp1"):
            fields[f"c{ratio}_{name}"] = empty((rows,), seq_lens)
    made = list(fields.values())
    if compute_page_indices:
        page_size = constant("page_size", page_size, 128)
        if page_table is None or page_size % 128:
            name = "page_table" if page_table is None else "page_size"
            raise wrong(ValueError, name, "expected a table, and a multiple of 128")
        columns = page_table.shape[1] * (page_size // 128)
        padded = empty((rows, _round_up(columns)), seq_lens)
        fields["c128_page_indices"], pages = padded, padded[:, :columns]
    ops.replay_v4(
        [fields],
        seq_lens=seq_lens,
        out_cache_loc=raw_out_loc,
        page_table=page_table if compute_page_indices else None,
        page_size=page_size if compute_page_indices else 256,
    )
    return (*made, pages)


class LowRatioMetadata(NamedTuple):
    """Of ``build_low_ratio_metadata``."""

    c1_out_loc: Any
    c1_seq_lens: Any
    c1_sparse_lens: Any
    c1_page_indices: Any
    c2_out_loc: Any
    c2_seq_lens: Any
    c2_sparse_lens: Any
    c2_page_indices: Any


def build_low_ratio_metadata(seq_lens: Any, out_loc: Any, topk: int) -> LowRatioMetadata:
    """Locations (int64), lengths and empty lists of indices (int32) of ratios 1 and 2: SGLang's
    ``build_low_ratio_metadata``. Raises ``ValueError`` or ``TypeError`` with the argument's
    name."""
    rows, fields = len(seq_lens), {}
    topk = constant("topk", topk, 1)
    for ratio in (1, 2):
        fields[f"c{ratio}_out_loc"] = empty((rows,), seq_lens, "int64")
        fields[f"c{ratio}_topk_lengths_clamp1"] = empty((rows,), seq_lens)
        fields[f"c{ratio}_sparse_topk_lengths"] = empty((rows,), seq_lens)
        fields[f"c{ratio}_sparse_page_indices"] = empty((rows, _round_up(topk)), seq_lens)
    ops.replay_v4([fields], seq_lens=seq_lens, out_cache_loc=out_loc, topk=topk)
    return LowRatioMetadata(*fields.values())


def expand_index_page_table(
    page_table: Any, *, full_page_size: int, compress_ratio: int, index_page_size: int
) -> Any:
    """The pages of an indexer's keys, `index_page_size` in each: SGLang's
    ``expand_index_page_table``. Returns int32 [rows, columns * pages of a page], or
    `page_table` itself where that is one. Raises ``ValueError`` or ``TypeError`` with the
    argument's name."""
    ratio = constant("compress_ratio", compress_ratio, 1)
    slots = constant("full_page_size", full_page_size, ratio) // ratio
    index_page_size = constant("index_page_size", index_page_size, 1)
    if slots % index_page_size:
        text = f"expected what divides {slots} but got {index_page_size}"
        raise wrong(ValueError, "index_page_size", text)
    pages = slots // index_page_size
    if pages == 1:
        return page_table
    rows, columns = page_table.shape
    expanded = empty((rows, columns * pages), page_table)
    ops.replay_v4(
        [{"c1_index_page_table": expanded}],
        seq_lens=None,
        page_table=page_table,
        page_size=slots,
        index_page_size=index_page_size,
        bs=rows,
    )
    return expanded


def fill_all_compressed_indices(
    page_table: Any,
    compressed_seq_lens: Any,
    page_indices: Any,
    *,
    compress_ratio: int,
    page_size: int,
    raw_indices: Any = None,
) -> None:
    """All slots that there are, in place of what an indexer chooses: SGLang's
    ``fill_all_compressed_indices``.

    Writes `page_indices` (int32 [rows, top-k]) and, if it is given, `raw_indices`, the numbers
    of the slots; -1 past `compressed_seq_lens`, which count 1 where they are less. Raises
    ``ValueError`` or ``TypeError`` with the argument's name.
    """
    ratio = constant("compress_ratio", compress_ratio, 1)
    fields = {"c1_all_page_indices": page_indices}
    if raw_indices is not None:
        fields["c1_all_raw_indices"] = raw_indices
    ops.replay_v4(
        [fields],
        seq_lens=compressed_seq_lens,
        page_table=page_table,
        page_size=constant("page_size", page_size, ratio) // ratio,
        topk=page_indices.shape[1],
    )


def prefill_k_slots(
    *, req_to_token: Any, req_pool_indices: Any, seq_lens_cpu: Any, ratio: int
) -> Any:
    """The slots of the keys that an extend's indexer gathers, request after request: SGLang's
    ``prefill_k_slots``. `ratio`: 1 or 2. Returns int64 [sum of lengths // ratio]. Raises
    ``ValueError`` or ``TypeError`` with the argument's name."""
    if ratio not in (1, 2):
        raise wrong(ValueError, "ratio", f"expected 1 or 2 but got {ratio!r}")
    slots = empty((sum(length // ratio for length in seq_lens_cpu),), req_to_token, "int64")
    lens = from_list(list(seq_lens_cpu), req_to_token)
    ops.replay_v4(
        [{f"c{ratio}_index_k_slots": slots}],
        "extend",
        seq_lens=lens,
        extend_seq_lens=lens,
        req_pool_indices=req_pool_indices,
        req_to_token=req_to_token,
        rows=0,
    )
    return slots


def dsa_cp_interleave_q_seqs(
    extend_seqs: Any, num_rank_seqs: int, cp_size: int, cp_rank: int
) -> tuple[Any, Any]:
    """How many rows of each of its requests a rank has, and which requests these are: SGLang's
    ``dsa_cp_interleave_q_seqs``. Returns int32 [num_rank_seqs] each; see
    ``nsa.ops.dsa_prefill``. Raises ``ValueError`` or ``TypeError`` with the argument's name.
    """
    q_lens, requests = (empty((num_rank_seqs,), extend_seqs) for _ in range(2))
    ops.dsa_prefill(
        {"rank_extend_lens": q_lens, "rank_requests": requests},
        seq_lens=None,
        extend_seq_lens=extend_seqs,
        num_tokens=INT32_MAX,
        ranks=cp_size,
        rank=cp_rank,
        rank_bs=num_rank_seqs,
        bs=len(extend_seqs),
    )
    return q_lens, requests


def pack_sparse_tail(
    indices: Any, lengths: Any, table: Any, total_lengths: Any, swa_width: int = 128
) -> None:
    """What a layer's indexer chose, behind the window's columns of a table: SGLang's
    ``pack_sparse_tail``; see ``nsa.ops.pack_sparse_tail``. Raises ``ValueError`` or
    ``TypeError`` with the argument's name."""
    ops.pack_sparse_tail(
        indices, lengths, table[:, swa_width:], total_lengths, swa_width=swa_width
    )


class WindowLayout(NamedTuple):
    """Of ``window_layout``; `size`: the rows of the workspace."""

    req: Any
    pos: Any
    write_loc: Any
    indices: Any
    lengths: Any
    history_req: Any
    history_pos: Any
    history_loc: Any
    history_valid: Any
    history_src: Any
    commit_mask: Any
    size: int


def window_layout(
    req: Any,
    pos: Any,
    *,
    zero_row: int,
    window: int = 128,
    capacity: int = 256,
    floor: Any = None,
    num_groups: int | None = None,
    padded_rows: int | None = None,
) -> WindowLayout:
    """Where rows find windows that requests keep in rings: SGLang's ``window_layout``; see
    ``nsa.ops.window_layout``. Flags are bool. Raises ``ValueError`` or ``TypeError`` with the
    argument's name."""
    n = len(req)
    if n == 0:
        raise wrong(ValueError, "req", "expected a row or more but got none")
    rows = max(n, padded_rows or 0)
    history = (n if num_groups is None else num_groups) * constant("window", window, 1)
    int64 = {name: empty((rows,), pos, "int64") for name in ("req", "pos")}
    int64 |= {
        f"history_{name}": empty((history,), pos, "int64")
        for name in ("req", "pos", "loc", "src")
    }
    int32 = {name: empty((rows,), pos) for name in ("write_loc", "lengths")}
    int32["indices"] = empty((rows, window), pos)
    flags = {
        "history_valid": empty((history,), pos, "bool"),
        "commit_mask": empty((rows,), pos, "bool"),
    }
    made = int64 | int32 | {name: _as_int8(array) for name, array in flags.items()}
    ops.window_layout(
        made, req, pos, zero_row=zero_row, window=window, capacity=capacity, floor=floor,
        num_groups=num_groups, padded_rows=padded_rows,
    )  # fmt: skip
    return WindowLayout(**int64, **int32, **flags, size=history + rows)


def _as_int8(array: Any) -> Any:
    """A view of flags as the bytes that they are."""
    if hasattr(array, "new_empty"):
        import torch

        return array.view(torch.int8)
    return array.view("int8")
