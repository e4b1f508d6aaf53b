# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The batch that a model runs on: which token is where, and which logits are wanted."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import Requests, index
from ._launch import Formulas, run

__all__ = [
    "computed_tokens",
    "expand_idx_mapping",
    "input_ids",
    "pos_seq_lens",
    "prefill_inputs",
    "sampled_and_draft_inputs",
    "sampled_and_rejected",
]


class Batch(Requests):
    """Requests and where what is known of each is kept: `idx_mapping` [num_reqs]."""

    def __init__(self, f: Formulas, lens: bool = True) -> None:
        super().__init__(f, lens)
        self.f = f
        self.states = f.input("idx_mapping", (self.count,))

    def state(self, b: Any) -> nb.Element:
        return index(self.states[b].otherwise(-1))

    def kept(self, name: str, b: Any) -> nb.Element:
        """What the request has in an array of all states."""
        return index(self.f.input(name, (None,))[self.state(b)].otherwise(0))

    def is_prefill(self, b: Any) -> nb.Element:
        """Whether the request's tokens begin in its prompt."""
        inside = (self.state(b) >= 0) & (b < self.count)
        return inside & (self.kept("num_computed_tokens", b) < self.kept("prefill_len", b))

    def prompt_token(self, t: Any, b: Any) -> nb.Element:
        tokens = self.f.input("all_token_ids", (None, None))
        position = self.kept("num_computed_tokens", b) + t - self.start(b)
        return index(tokens[self.state(b), position].otherwise(0))


def write_pos_seq_lens(f: Formulas) -> None:
    batch = Batch(f, lens=False)

    def length(b: nb.Element) -> nb.Element:
        there = batch.kept("num_computed_tokens", b) + batch.query_length(b)
        return nb.where(b < batch.count, there, 0)

    f.output("out_seq_lens", "capacity", length)

    def position(t: nb.Element) -> nb.Element:
        b = batch.of(t)
        return batch.kept("num_computed_tokens", b) + t - batch.start(b)

    f.output("out_positions", "num_tokens", position, when=lambda t: t < batch.num_tokens)


def pos_seq_lens(
    idx_mapping: Any,
    query_start_loc: Any,
    num_computed_tokens: Any,
    out_positions: Any = None,
    out_seq_lens: Any = None,
    *,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """Positions of a batch's tokens, and lengths of its requests with them.

    Request b has ``num_computed_tokens[idx_mapping[b]]`` tokens already: its new ones'
    positions follow in `out_positions`, whose elements past the last token are left as they
    are, and ``out_seq_lens[b]`` is all of them together, 0 from `num_reqs` on.

    `idx_mapping`: [num_reqs]; `query_start_loc`: [num_reqs + 1]. `num_tokens`: a bound of the
    tokens, left out: the elements of `out_positions`.
    """
    run(
        write_pos_seq_lens,
        (),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "num_computed_tokens": num_computed_tokens,
        },
        {"out_positions": out_positions, "out_seq_lens": out_seq_lens},
        {
            "num_tokens": (num_tokens, ("out_positions", 0, 0)),
            "capacity": (None, ("out_seq_lens", 0, 0)),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
        },
        stream,
    )


def write_prefill_inputs(f: Formulas) -> None:
    batch = Batch(f, lens=False)
    tokens = f.input("all_token_ids", (None, None))

    f.output(
        "out_input_ids",
        "num_tokens",
        lambda t: batch.prompt_token(t, batch.of(t)),
        when=lambda t: (t < batch.num_tokens) & batch.is_prefill(batch.of(t)),
    )

    def following(l: nb.Element, b: nb.Element) -> nb.Element:
        position = batch.kept("num_computed_tokens", b) + batch.query_length(b) + l
        token = tokens[batch.state(b), position].otherwise(0)
        return nb.where(position < batch.kept("prefill_len", b), token, 0)

    f.output(
        "out_next_prefill_tokens",
        ("num_lookahead", batch.count),
        following,
        when=lambda l, b: batch.is_prefill(b),
        at=[lambda l, b: l, lambda l, b: batch.state(b)],
    )


def prefill_inputs(
    idx_mapping: Any,
    query_start_loc: Any,
    all_token_ids: Any,
    prefill_len: Any,
    num_computed_tokens: Any,
    out_input_ids: Any = None,
    out_next_prefill_tokens: Any = None,
    *,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The tokens of requests that are still in their prompt, and what follows them.

    With s = ``idx_mapping[b]`` and c = ``num_computed_tokens[s]``, if c is less than
    ``prefill_len[s]``, token i of request b is ``all_token_ids[s, c + i]`` in `out_input_ids`,
    and ``out_next_prefill_tokens[l, s]`` is the l-th after the request's tokens, 0 from
    `prefill_len` on. Nothing else is written.

    `idx_mapping`: [num_reqs]; `query_start_loc`: [num_reqs + 1]; `all_token_ids`: [states,
    columns]; `out_next_prefill_tokens`: [lookahead, states]. `num_tokens`: a bound of the
    tokens, left out: the elements of `out_input_ids`.
    """
    run(
        write_prefill_inputs,
        (),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "all_token_ids": all_token_ids,
            "prefill_len": prefill_len,
            "num_computed_tokens": num_computed_tokens,
        },
        {"out_input_ids": out_input_ids, "out_next_prefill_tokens": out_next_prefill_tokens},
        {
            "num_tokens": (num_tokens, ("out_input_ids", 0, 0)),
            "num_lookahead": (None, ("out_next_prefill_tokens", 0, 0)),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
        },
        stream,
    )


class Logits:
    """Rows of logits and the requests that they belong to."""

    def __init__(self, f: Formulas) -> None:
        self.count = f.size("num_reqs")
        self.starts = f.input("cu_num_logits", (self.count + 1,))

    def start(self, b: Any) -> nb.Element:
        return index(self.starts[b].otherwise(0))

    def of(self, row: Any) -> nb.Element:
        """The request of a row, num_reqs past all of them."""
        return self.starts.search(row) - 1

    def number(self, b: Any) -> nb.Element:
        return self.start(b + 1) - self.start(b)


def write_expand_idx_mapping(f: Formulas) -> None:
    logits = Logits(f)
    states = f.input("idx_mapping", (logits.count,))
    rows = f.size("num_logits")
    f.output("out_idx", rows, lambda r: states[logits.of(r)].otherwise(-1))
    if f.has("out_local_pos"):

        def number(r: nb.Element) -> nb.Element:
            b = logits.of(r)
            return nb.where((b >= 0) & (b < logits.count), r - logits.start(b), -1)

        f.output("out_local_pos", rows, number)


def expand_idx_mapping(
    idx_mapping: Any,
    cu_num_logits: Any,
    out_idx: Any,
    out_local_pos: Any = None,
    *,
    num_logits: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """For each row of logits the state of its request, ``idx_mapping[b]``, and the row's
    number among those of the request; -1 for rows of none.

    `idx_mapping`: [num_reqs]; `cu_num_logits`: [num_reqs + 1], ascending. `out_idx`,
    `out_local_pos`: [num_logits], left out: the elements of `out_idx`.
    """
    run(
        write_expand_idx_mapping,
        (),
        {"idx_mapping": idx_mapping, "cu_num_logits": cu_num_logits},
        {"out_idx": out_idx, "out_local_pos": out_local_pos},
        {
            "num_logits": (num_logits, ("out_idx", 0, 0)),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
        },
        stream,
    )


def write_sampled_and_draft_inputs(f: Formulas, sampled: int) -> None:
    logits = Logits(f)
    if f.has("out_logits_indices"):
        requests = Requests(f, lens=False)

        def place(r: nb.Element) -> nb.Element:
            b = logits.of(r)
            end = requests.start(b + 1)
            known = (b >= 0) & (b < requests.count)
            return nb.where(known, end - logits.number(b) + r - logits.start(b), -1)

        f.output("out_logits_indices", "num_logits", place)
    if not f.has("out_input_ids"):
        return
    batch = Batch(f)
    drafts = f.input("draft_tokens", (None, None))
    columns = drafts.shape[1] + sampled

    def token(b: nb.Element, j: nb.Element) -> nb.Element:
        draft = index(drafts[batch.state(b), j - sampled].otherwise(0))
        if not sampled:
            return draft
        return nb.where(j == 0, batch.kept("last_sampled_tokens", b), draft)

    def is_written(b: nb.Element, j: nb.Element) -> nb.Element:
        number, length = logits.number(b), batch.length(b)
        prompt = batch.kept("prefill_len", b)
        is_own = (j >= sampled) | (length - number >= prompt)
        return (batch.state(b) >= 0) & (length > prompt) & (j < number) & is_own

    f.output(
        "out_input_ids",
        (batch.count, columns),
        token,
        when=is_written,
        at=[lambda b, j: batch.start(b + 1) - logits.number(b) + j],
    )


def sampled_and_draft_inputs(
    idx_mapping: Any,
    query_start_loc: Any,
    seq_lens: Any,
    cu_num_logits: Any,
    *,
    prefill_len: Any = None,
    last_sampled_tokens: Any = None,
    draft_tokens: Any = None,
    out_input_ids: Any = None,
    out_logits_indices: Any = None,
    num_sampled: int = 1,
    num_logits: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The tokens that were sampled and those that are drafts, among a batch's tokens.

    Request b has n = ``cu_num_logits[b + 1] - cu_num_logits[b]`` rows of logits, for its last
    n tokens: ``out_logits_indices[cu_num_logits[b] + j] = query_start_loc[b + 1] - n + j``, -1
    for rows of no request. If ``seq_lens[b]`` is more than ``prefill_len[s]``, with s =
    ``idx_mapping[b]``, those tokens in `out_input_ids` become, with `num_sampled` 1,
    ``last_sampled_tokens[s]``, which stays away where its position is in the prompt, and the
    first n - 1 of ``draft_tokens[s]``; with 0, the first n of these. Nothing else is written.

    `idx_mapping`, `seq_lens`: [num_reqs]; `query_start_loc`, `cu_num_logits`: [num_reqs + 1];
    `draft_tokens`: [states, columns]. Those that are None are left out.
    """
    wanted = out_input_ids is not None
    sampled = constant("num_sampled", num_sampled, 0, 1)
    run(
        write_sampled_and_draft_inputs,
        (sampled,),
        {
            "idx_mapping": idx_mapping if wanted else None,
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens if wanted else None,
            "cu_num_logits": cu_num_logits,
            "prefill_len": prefill_len if wanted else None,
            "last_sampled_tokens": last_sampled_tokens if wanted and sampled else None,
            "draft_tokens": draft_tokens if wanted else None,
        },
        {"out_input_ids": out_input_ids, "out_logits_indices": out_logits_indices},
        {
            "num_logits": (num_logits, ("out_logits_indices", 0, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )


def write_input_ids(f: Formulas, sampled: int) -> None:
    batch, logits = Batch(f), Logits(f)
    drafts = f.input("draft_tokens", (None, None))

    def row(t: Any, b: Any) -> nb.Element:
        """The number of a token's logits among those of its request, negative without."""
        return t - batch.start(b + 1) + logits.number(b)

    def is_sampled(t: Any, b: Any) -> nb.Element:
        number, length = logits.number(b), batch.length(b)
        prompt, j = batch.kept("prefill_len", b), row(t, b)
        is_own = (j >= sampled) | (length - number >= prompt)
        has_one = j < drafts.shape[1] + sampled
        return (batch.state(b) >= 0) & (length > prompt) & (j >= 0) & is_own & has_one

    def token(t: nb.Element) -> nb.Element:
        b = batch.of(t)
        j = row(t, b)
        new = index(drafts[batch.state(b), j - sampled].otherwise(0))
        if sampled:
            new = nb.where(j == 0, batch.kept("last_sampled_tokens", b), new)
        return nb.where(is_sampled(t, b), new, batch.prompt_token(t, b))

    def is_written(t: nb.Element) -> nb.Element:
        b = batch.of(t)
        return (t < batch.num_tokens) & (is_sampled(t, b) | batch.is_prefill(b))

    f.output("out", "num_tokens", token, when=is_written)


def input_ids(
    idx_mapping: Any,
    query_start_loc: Any,
    seq_lens: Any,
    cu_num_logits: Any,
    all_token_ids: Any,
    prefill_len: Any,
    num_computed_tokens: Any,
    last_sampled_tokens: Any,
    draft_tokens: Any,
    out: Any,
    *,
    num_sampled: int = 1,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The tokens that a batch runs on: what ``prefill_inputs`` writes, and over it what
    ``sampled_and_draft_inputs`` does. Arguments as there; a request's tokens only are written.
    """
    sampled = constant("num_sampled", num_sampled, 0, 1)
    run(
        write_input_ids,
        (sampled,),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "cu_num_logits": cu_num_logits,
            "all_token_ids": all_token_ids,
            "prefill_len": prefill_len,
            "num_computed_tokens": num_computed_tokens,
            "last_sampled_tokens": last_sampled_tokens if sampled else None,
            "draft_tokens": draft_tokens,
        },
        {"out": out},
        {
            "num_tokens": (num_tokens, ("out", 0, 0)),
            "num_reqs": (num_reqs, ("idx_mapping", 0, 0)),
        },
        stream,
    )


def write_sampled_and_rejected(f: Formulas) -> None:
    count, logits = f.size("num_reqs"), Logits(f)
    states, lens = f.input("idx_mapping", (count,)), f.input("seq_lens", (count,))
    prompts, given = f.input("prefill_len", (None,)), f.input("num_sampled", (count,))

    def is_chunk(b: Any) -> nb.Element:
        prompt = index(prompts[states[b].otherwise(-1)].otherwise(0))
        return index(lens[b].otherwise(0)) < prompt

    def sampled(b: Any) -> nb.Element:
        return nb.where(is_chunk(b), 0, index(given[b].otherwise(0)))

    def rejected(b: nb.Element) -> nb.Element:
        return nb.where(is_chunk(b), 0, logits.number(b) - sampled(b))

    f.output("out_num_sampled", count, sampled)
    f.output("out_num_rejected", count, rejected)


def sampled_and_rejected(
    num_sampled: Any,
    seq_lens: Any,
    cu_num_logits: Any,
    idx_mapping: Any,
    prefill_len: Any,
    out_num_sampled: Any,
    out_num_rejected: Any,
    *,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """How many of a request's tokens were sampled and how many rejected: ``num_sampled[b]``,
    and what is left of ``cu_num_logits[b + 1] - cu_num_logits[b]``; both 0 while
    ``seq_lens[b]`` is less than ``prefill_len[idx_mapping[b]]``, in the middle of a prompt."""
    run(
        write_sampled_and_rejected,
        (),
        {
            "num_sampled": num_sampled,
            "seq_lens": seq_lens,
            "cu_num_logits": cu_num_logits,
            "idx_mapping": idx_mapping,
            "prefill_len": prefill_len,
        },
        {"out_num_sampled": out_num_sampled, "out_num_rejected": out_num_rejected},
        {"num_reqs": (num_reqs, ("idx_mapping", 0, 0))},
        stream,
    )


def write_computed_tokens(f: Formulas) -> None:
    batch = Batch(f, lens=False)

    def computed(b: nb.Element) -> nb.Element:
        there = batch.kept("num_computed_tokens", b) + batch.query_length(b)
        if f.has("num_rejected"):
            rejected = f.input("num_rejected", (batch.count,))
            there = there - index(rejected[b].otherwise(0))
        return there

    f.output("out", batch.count, computed, at=[batch.state])


def computed_tokens(
    idx_mapping: Any,
    query_start_loc: Any,
    num_computed_tokens: Any,
    out: Any,
    *,
    num_rejected: Any = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """How many tokens of each request are computed after a step: with s = ``idx_mapping[b]``,
    ``out[s] = num_computed_tokens[s]`` and the tokens of the request in the step, less
    ``num_rejected[b]``. Nothing else is written."""
    run(
        write_computed_tokens,
        (),
        {
            "idx_mapping": idx_mapping,
            "query_start_loc": query_start_loc,
            "num_computed_tokens": num_computed_tokens,
            "num_rejected": num_rejected,
        },
        {"out": out},
        {"num_reqs": (num_reqs, ("idx_mapping", 0, 0))},
        stream,
    )
