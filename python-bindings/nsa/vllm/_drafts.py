# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Speculative decoding: what was accepted, and the inputs of draft steps."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import flags, index, slot
from ._inputs import Batch
from ._launch import FLAGS, INTEGERS, Formulas, run

__all__ = [
    "draft_decode_inputs",
    "draft_prefill_inputs",
    "draft_step_inputs",
    "eagle_next_tokens",
    "eagle_sampling_indices",
    "eagle_step",
]


def write_eagle_sampling_indices(f: Formulas) -> None:
    bs = f.size("num_reqs")
    sums = f.input("cu_num_draft_tokens", (bs,))
    counts = f.input("valid_sampled_tokens_count", (bs,))
    starts = f.input("query_start_loc", (bs + 1,))

    def rejected(r: nb.Element) -> nb.Element:
        drafts = index(sums[r].otherwise(0)) - index(sums[r - 1].otherwise(0))
        return nb.where(drafts > 0, drafts + 1 - index(counts[r].otherwise(0)), 0)

    f.output(
        "out_indices", bs, lambda r: index(starts[r + 1].otherwise(0)) - 1 - rejected(r)
    )
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
    drafts, and ``out_indices[r]`` is as many before the request's last token, ``query_start_loc[r
    + 1] - 1``.
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
            "discard_mask": flags(discard_mask),
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
    lens = f.input("seq_lens", (bs,))
    table = f.input("block_table", (None, None))

    def position(r: Any) -> nb.Element:
        return index(positions[r].otherwise(0)) + 1

    def length(r: nb.Element) -> nb.Element:
        grown = nb.minimum(index(lens[r].otherwise(0)) + 1, most)
        return nb.where(position(r) >= most, nb.minimum(1, most), grown)

    def place(r: nb.Element) -> nb.Element:
        inside = (r < bs) & (position(r) < most)
        return nb.where(inside, slot(table, r, position(r), block_size), -1)

    f.output(
        "out_positions", bs, lambda r: nb.where(position(r) >= most, 0, position(r))
    )
    f.output("out_slot_mapping", "num_slots", place)
    f.output("out_seq_lens", bs, length)


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

    With p = ``positions[r] + 1``, position, slot and length are p, its slot by the block table's
    row r, and ``min(seq_lens[r] + 1, max_model_len)``; 0, -1 and 1 where p is not less than
    `max_model_len`. Slots from `num_reqs` to `num_slots` (left out: all of `out_slot_mapping`)
    are -1.
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


def write_draft_prefill_inputs(f: Formulas) -> None:
    batch = Batch(f, lens=f.has("out_seq_lens"))
    rejected = f.input("num_rejected", (batch.count,))

    def kept(b: Any) -> nb.Element:
        """The request's tokens that were not rejected."""
        return nb.maximum(batch.query_length(b) - index(rejected[b].otherwise(0)), 0)

    def is_kept(t: nb.Element) -> nb.Element:
        b = batch.of(t)
        return (t < batch.num_tokens) & (t - batch.start(b) < kept(b))

    if f.has("out_input_ids"):
        ids = f.input("input_ids", (None,))
        sampled = f.input("num_sampled", (batch.count,))

        def token(t: nb.Element) -> nb.Element:
            b = batch.of(t)
            follows = nb.where(
                index(sampled[b].otherwise(0)) > 0,
                batch.kept("last_sampled", b),
                batch.kept("next_prefill_tokens", b),
            )
            is_last = t - batch.start(b) == kept(b) - 1
            return nb.where(is_last, follows, index(ids[t + 1].otherwise(0)))

        f.output("out_input_ids", "num_ids", token, when=is_kept)
    if f.has("out_positions"):
        positions = f.input("positions", (None,))
        f.output(
            "out_positions",
            "num_positions",
            lambda t: positions[t].otherwise(0),
            when=is_kept,
        )
    f.output(
        "out_query_start_loc",
        "num_starts",
        lambda b: batch.start(nb.minimum(b, batch.count)),
    )
    f.output(
        "out_seq_lens",
        "num_lens",
        lambda b: nb.where(b < batch.count, batch.length(b), 0),
    )
    f.output(
        "out_last_token_indices",
        "num_last",
        lambda b: nb.where(b < batch.count, batch.start(b) + kept(b) - 1, 0),
        when=lambda b: (b >= batch.count) | (kept(b) > 0),
    )
    f.output("out_current_step", 1, lambda i: nb.constant(0, "int32"))


def draft_prefill_inputs(
    idx_mapping: Any,
    query_start_loc: Any,
    seq_lens: Any,
    num_rejected: Any,
    *,
    input_ids: Any = None,
    positions: Any = None,
    num_sampled: Any = None,
    last_sampled: Any = None,
    next_prefill_tokens: Any = None,
    out_input_ids: Any = None,
    out_positions: Any = None,
    out_query_start_loc: Any = None,
    out_seq_lens: Any = None,
    out_last_token_indices: Any = None,
    out_current_step: Any = None,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """A draft model's first step: the target's batch, shifted by one token.

    Request b keeps its first k = max(its tokens - ``num_rejected[b]``, 0). With s =
    ``idx_mapping[b]``:

    ========================  ============================================================
    array                     elements
    ========================  ============================================================
    `out_input_ids`           of its first k - 1 tokens the next one in `input_ids`, then
                              ``last_sampled[s]`` if ``num_sampled[b]`` is more than 0, else
                              ``next_prefill_tokens[s]``
    `out_positions`           `positions` of its k tokens
    `out_last_token_indices`  ``query_start_loc[b] + k - 1``, if k > 0; 0 from `num_reqs` on
    `out_query_start_loc`     `query_start_loc`, and its last element from there on
    `out_seq_lens`            `seq_lens`, 0 from `num_reqs` on
    `out_current_step`        [1], 0
    ========================  ============================================================

    Nothing else is written. Those that are None are left out. `num_tokens`: a bound of the
    tokens, left out: the elements of the arrays.
    """
    ids, places = out_input_ids is not None, out_positions is not None
    run(
        write_draft_prefill_inputs,
        (),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens if out_seq_lens is not None else None,
            "num_rejected": num_rejected,
            "input_ids": input_ids if ids else None,
            "positions": positions if places else None,
            "num_sampled": num_sampled if ids else None,
            "last_sampled": last_sampled if ids else None,
            "next_prefill_tokens": next_prefill_tokens if ids else None,
        },
        {
            "out_input_ids": out_input_ids,
            "out_positions": out_positions,
            "out_query_start_loc": out_query_start_loc,
            "out_seq_lens": out_seq_lens,
            "out_last_token_indices": out_last_token_indices,
            "out_current_step": out_current_step,
        },
        {
            "num_ids": (num_tokens, ("out_input_ids", 0, 0)),
            "num_positions": (num_tokens, ("out_positions", 0, 0)),
            "num_starts": (None, ("out_query_start_loc", 0, 0)),
            "num_lens": (None, ("out_seq_lens", 0, 0)),
            "num_last": (None, ("out_last_token_indices", 0, 0)),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
        },
        stream,
    )


class Draft:
    """What becomes of positions and lengths from one draft step to the next."""

    def __init__(self, f: Formulas, advance: bool) -> None:
        self.f, self.advance = f, advance
        self.count, self.most = f.size("num_reqs"), f.size("max_model_len")

    def read(self, name: str, r: Any) -> nb.Element:
        return index(self.f.input(name, (self.count,))[r].otherwise(0))

    def position(self, r: Any) -> nb.Element:
        position = self.read("positions", r)
        return nb.minimum(position + 1, self.most - 1) if self.advance else position

    def length(self, length: nb.Element) -> nb.Element:
        return nb.minimum(length + 1, self.most) if self.advance else length


def write_draft_decode_inputs(f: Formulas, advance: bool) -> None:
    draft = Draft(f, advance)
    bs = draft.count

    def length(r: nb.Element) -> nb.Element:
        kept = draft.read("seq_lens", r) - draft.read("num_rejected", r)
        return nb.where(r < bs, draft.length(kept), 0)

    f.output("out_seq_lens", "num_lens", length)
    f.output("out_query_start_loc", "num_starts", lambda r: nb.minimum(r, bs))
    if f.has("out_positions"):
        f.output("out_positions", bs, draft.position)
    if f.has("out_sample_positions"):
        f.output("out_sample_positions", bs, lambda r: draft.read("sample_positions", r) + 1)
    if f.has("out_input_ids"):
        drafts = f.input("draft_tokens", (bs, None))
        f.output("out_input_ids", bs, lambda r: drafts[r, 0].otherwise(0))


def draft_decode_inputs(
    seq_lens: Any,
    num_rejected: Any,
    *,
    max_model_len: int,
    draft_tokens: Any = None,
    positions: Any = None,
    sample_positions: Any = None,
    out_input_ids: Any = None,
    out_positions: Any = None,
    out_sample_positions: Any = None,
    out_query_start_loc: Any = None,
    out_seq_lens: Any = None,
    advance: bool = True,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """A draft model's second step: one token a request.

    ========================  ============================================================
    array                     elements
    ========================  ============================================================
    `out_input_ids`           [num_reqs], ``draft_tokens[r, 0]``
    `out_positions`           [num_reqs], min(positions[r] + 1, max_model_len - 1)
    `out_sample_positions`    [num_reqs], sample_positions[r] + 1
    `out_query_start_loc`     all, min(r, num_reqs)
    `out_seq_lens`            all, min(seq_lens[r] - num_rejected[r] + 1, max_model_len), 0
                              from `num_reqs` on
    ========================  ============================================================

    If `advance` is False, positions stay, and lengths are without the 1 and its bound. Those
    that are None are left out.
    """
    run(
        write_draft_decode_inputs,
        (bool(advance),),
        {
            "seq_lens": seq_lens if out_seq_lens is not None else None,
            "num_rejected": num_rejected if out_seq_lens is not None else None,
            "draft_tokens": draft_tokens if out_input_ids is not None else None,
            "positions": positions if out_positions is not None else None,
            "sample_positions": (
                sample_positions if out_sample_positions is not None else None
            ),
        },
        {
            "out_input_ids": out_input_ids,
            "out_positions": out_positions,
            "out_sample_positions": out_sample_positions,
            "out_query_start_loc": out_query_start_loc,
            "out_seq_lens": out_seq_lens,
        },
        {
            "max_model_len": (max_model_len, None),
            "num_starts": (None, ("out_query_start_loc", 0, 0)),
            "num_lens": (None, ("out_seq_lens", 0, 0)),
            "num_reqs": (num_reqs, ("num_rejected", 0, 0)),
        },
        stream,
    )


def write_draft_step_inputs(f: Formulas, advance: bool) -> None:
    draft = Draft(f, advance)
    bs = draft.count
    step = f.input("current_step", (1,))

    def goes_on(r: nb.Element) -> nb.Element:
        return index(step[0].otherwise(0)) < f.size("num_steps") - 1

    f.output(
        "out_draft_tokens",
        bs,
        lambda r: draft.read("draft_tokens", r),
        at=[lambda r: r, lambda r: index(step[0].otherwise(0))],
    )
    if f.has("out_input_ids"):
        f.output("out_input_ids", bs, lambda r: draft.read("draft_tokens", r), when=goes_on)
    if f.has("out_sample_positions"):
        f.output(
            "out_sample_positions",
            bs,
            lambda r: draft.read("sample_positions", r) + 1,
            when=goes_on,
        )
    if f.has("out_positions"):
        f.output("out_positions", bs, draft.position, when=goes_on)
    if f.has("out_seq_lens"):
        f.output(
            "out_seq_lens",
            bs,
            lambda r: draft.length(draft.read("seq_lens", r)),
            when=goes_on,
        )


def draft_step_inputs(
    draft_tokens: Any,
    current_step: Any,
    *,
    max_model_len: int,
    num_steps: int,
    positions: Any = None,
    sample_positions: Any = None,
    seq_lens: Any = None,
    out_draft_tokens: Any = None,
    out_input_ids: Any = None,
    out_positions: Any = None,
    out_sample_positions: Any = None,
    out_seq_lens: Any = None,
    advance: bool = True,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """From one draft step to the next one.

    With s = ``current_step[0]``, ``draft_tokens[r]`` goes to ``out_draft_tokens[r, s]``. Unless s is the
    last of `num_steps`, it also goes to ``out_input_ids[r]``, and positions, sample positions and
    lengths go on by one, bounded as in ``draft_decode_inputs``, into `out_positions`,
    `out_sample_positions` and `out_seq_lens` [num_reqs]; positions and lengths do so if `advance` is set,
    and are copied otherwise. Those that are None are left out.
    """
    run(
        write_draft_step_inputs,
        (bool(advance),),
        {
            "draft_tokens": draft_tokens,
            "current_step": current_step,
            "positions": positions if out_positions is not None else None,
            "sample_positions": (
                sample_positions if out_sample_positions is not None else None
            ),
            "seq_lens": seq_lens if out_seq_lens is not None else None,
        },
        {
            "out_draft_tokens": out_draft_tokens,
            "out_input_ids": out_input_ids,
            "out_positions": out_positions,
            "out_sample_positions": out_sample_positions,
            "out_seq_lens": out_seq_lens,
        },
        {
            "max_model_len": (max_model_len, None),
            "num_steps": (num_steps, None),
            "num_reqs": (num_reqs, ("draft_tokens", 0, 0)),
        },
        stream,
    )
