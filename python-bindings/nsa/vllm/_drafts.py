# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The inputs of draft steps, from the target's batch and from one step to the next."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from ._formulas import index
from ._inputs import Batch
from ._launch import Formulas, run

__all__ = ["draft_decode_inputs", "draft_prefill_inputs", "draft_step_inputs"]

#: What hidden states are moved as.
WORDS = ("int16", "int32")


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
        self.count = f.size("num_reqs")

    @property
    def most(self) -> nb.Size:
        return self.f.size("max_model_len")

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
        f.output("out_positions", bs, draft.position, updates="positions")
    if f.has("out_sample_positions"):
        f.output(
            "out_sample_positions",
            bs,
            lambda r: draft.read("sample_positions", r) + 1,
            updates="sample_positions",
        )
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
    that are None are left out. `out_positions` may be `positions`, `out_sample_positions` may
    be `sample_positions`: they are updated in place then.
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
            updates="sample_positions",
        )
    if f.has("out_positions"):
        f.output("out_positions", bs, draft.position, when=goes_on, updates="positions")
    if f.has("out_seq_lens"):
        f.output(
            "out_seq_lens",
            bs,
            lambda r: draft.length(draft.read("seq_lens", r)),
            when=goes_on,
            updates="seq_lens",
        )
    if f.has("out_hidden_states"):
        hidden = f.input("hidden_states", (bs, None), WORDS)
        f.output(
            "out_hidden_states",
            (bs, hidden.shape[1]),
            lambda r, c: hidden[r, c].otherwise(0),
            WORDS,
            when=lambda r, c: goes_on(r),
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
    hidden_states: Any = None,
    out_hidden_states: Any = None,
    advance: bool = True,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """From one draft step to the next one.

    With s = ``current_step[0]``, ``draft_tokens[r]`` goes to ``out_draft_tokens[r, s]``.
    Unless s is the last of `num_steps`, it also goes to ``out_input_ids[r]``, and positions,
    sample positions and lengths go on by one, bounded as in ``draft_decode_inputs``, into
    `out_positions`, `out_sample_positions` and `out_seq_lens` [num_reqs]; positions and
    lengths do so if `advance` is set, and are copied otherwise. `hidden_states` [num_reqs,
    columns], int16 or int32 as whose bits these are, go to `out_hidden_states`. Those that
    are None are left out. An output may be the array that it goes on from.
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
            "hidden_states": hidden_states if out_hidden_states is not None else None,
        },
        {
            "out_draft_tokens": out_draft_tokens,
            "out_input_ids": out_input_ids,
            "out_positions": out_positions,
            "out_sample_positions": out_sample_positions,
            "out_seq_lens": out_seq_lens,
            "out_hidden_states": out_hidden_states,
        },
        {
            "max_model_len": (max_model_len, None),
            "num_steps": (num_steps, None),
            "num_reqs": (num_reqs, ("draft_tokens", 0, 0)),
        },
        stream,
    )
