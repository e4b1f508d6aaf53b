# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Speculative decoding of vLLM's first runner: what was accepted, and one step more."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import index, slot
from ._launch import FLAGS, INTEGERS, Formulas, run

__all__ = ["eagle_next_tokens", "eagle_sampling_indices", "eagle_step"]


def write_eagle_sampling_indices(f: Formulas) -> None:
    bs = f.size("num_reqs")
    sums = f.input("cu_num_draft_tokens", (bs,))
    counts = f.input("valid_sampled_tokens_count", (bs,))
    starts = f.input("query_start_loc", (bs + 1,))

    def rejected(r: nb.Element) -> nb.Element:
        drafts = index(sums[r].otherwise(0)) - index(sums[r - 1].otherwise(0))
        return nb.where(drafts > 0, drafts + 1 - index(counts[r].otherwise(0)), 0)

    f.output("out_indices", bs, lambda r: index(starts[r + 1].otherwise(0)) - 1 - rejected(r))
    f.output("out_num_rejected", bs, rejected)


def eagle_sampling_indices(
    cu_num_draft_tokens: Any,
    valid_sampled_tokens_count: Any,
    query_start_loc: Any,
    out_indices: Any,
    out_num_rejected: Any,
    *,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """Where the last accepted token of each request is, and how many were rejected.

    With d drafts of request r, the differences of the inclusive sums `cu_num_draft_tokens`
    [num_reqs], ``out_num_rejected[r] = d + 1 - valid_sampled_tokens_count[r]``, or 0 without
    drafts, and ``out_indices[r]`` is as many before the request's last token,
    ``query_start_loc[r + 1] - 1``.
    """
    run(
        write_eagle_sampling_indices,
        (),
        {
            "cu_num_draft_tokens": cu_num_draft_tokens,
            "valid_sampled_tokens_count": valid_sampled_tokens_count,
            "query_start_loc": query_start_loc,
        },
        {"out_indices": out_indices, "out_num_rejected": out_num_rejected},
        {"num_reqs": (num_reqs, ("cu_num_draft_tokens", 0, 0))},
        stream,
    )


def write_eagle_next_tokens(f: Formulas) -> None:
    bs, vocab = f.size("num_reqs"), f.size("vocab_size")
    sampled = f.input("sampled_token_ids", (bs, None))
    discarded = f.input("discard_mask", (bs,), (*FLAGS, *INTEGERS))
    backups = f.input("backup_token_ids", (bs,))
    columns = sampled.shape[1]

    def is_valid(r: Any, j: Any) -> nb.Element:
        token = index(sampled[r, j].otherwise(-1))
        return (token != -1) & (token < vocab) & (discarded[r].otherwise(1) == 0)

    counts = f.s.count((bs, columns), is_valid)
    ends = f.s.max(
        f.s.map((bs, columns), lambda r, j: nb.where(is_valid(r, j), j, -1), dtype="int32")
    )

    def token(r: nb.Element) -> nb.Element:
        last = index(sampled[r, ends[r]].otherwise(-1))
        return nb.where(counts[r] > 0, last, index(backups[r].otherwise(-1)))

    f.output("out_token_ids", bs, token)
    f.output("out_counts", bs, lambda r: counts[r])


def eagle_next_tokens(
    sampled_token_ids: Any,
    discard_mask: Any,
    backup_token_ids: Any,
    out_token_ids: Any,
    out_counts: Any,
    *,
    vocab_size: int,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The token that each request goes on with: the last valid one of its row, and how many of
    these there are.

    `sampled_token_ids`: [num_reqs, columns]; valid are those that are not -1 and less than
    `vocab_size`. Where there is none, or ``discard_mask[r]`` (bool or a byte) is set, it is
    ``backup_token_ids[r]`` and 0.
    """
    run(
        write_eagle_next_tokens,
        (),
        {
            "sampled_token_ids": sampled_token_ids,
            "discard_mask": discard_mask,
            "backup_token_ids": backup_token_ids,
        },
        {"out_token_ids": out_token_ids, "out_counts": out_counts},
        {
            "vocab_size": (vocab_size, None),
            "num_reqs": (num_reqs, ("sampled_token_ids", 0, 0)),
        },
        stream,
    )


def write_eagle_step(f: Formulas, block_size: int) -> None:
    bs, most = f.size("num_reqs"), f.size("max_model_len")
    positions = f.input("positions", (bs,))
    table = f.input("block_table", (None, None))

    def position(r: Any) -> nb.Element:
        return index(positions[r].otherwise(0)) + 1

    def length(r: nb.Element) -> nb.Element:
        lens = f.input("seq_lens", (bs,))
        grown = nb.minimum(index(lens[r].otherwise(0)) + 1, most)
        return nb.where(position(r) >= most, nb.minimum(1, most), grown)

    def place(r: nb.Element) -> nb.Element:
        inside = (r < bs) & (position(r) < most)
        return nb.where(inside, slot(table, r, position(r), block_size), -1)

    f.output("out_positions", bs, lambda r: nb.where(position(r) >= most, 0, position(r)))
    f.output("out_slot_mapping", "num_slots", place)
    f.output("out_seq_lens", bs, length, updates="seq_lens")


def eagle_step(
    positions: Any,
    seq_lens: Any,
    block_table: Any,
    out_positions: Any,
    out_slot_mapping: Any,
    out_seq_lens: Any,
    *,
    block_size: int,
    max_model_len: int,
    num_reqs: int | None = None,
    num_slots: int | None = None,
    stream: Any = None,
) -> None:
    """One token more for each request, as a draft model goes on.

    With p = ``positions[r] + 1``, position, slot and length are p, its slot by the block
    table's row r, and ``min(seq_lens[r] + 1, max_model_len)``; 0, -1 and 1 where p is not less
    than `max_model_len`. Slots from `num_reqs` to `num_slots` (left out: all of
    `out_slot_mapping`) are -1. `out_seq_lens` may be `seq_lens`, which are updated in place then.
    """
    run(
        write_eagle_step,
        (constant("block_size", block_size, 1),),
        {"positions": positions, "seq_lens": seq_lens, "block_table": block_table},
        {
            "out_positions": out_positions,
            "out_slot_mapping": out_slot_mapping,
            "out_seq_lens": out_seq_lens,
        },
        {
            "max_model_len": (max_model_len, None),
            "num_reqs": (num_reqs, ("positions", 0, 0)),
            "num_slots": (num_slots, ("out_slot_mapping", 0, 0)),
        },
        stream,
    )
