# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sliding windows: which slots a query attends to, and what a prefill gathers for them."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from .._errors import constant
from ._formulas import Requests, clamp, index, is_valid_token, slot
from ._launch import FLAGS, Formulas, run

__all__ = [
    "image_visible",
    "prefill_gather_lens",
    "swa_indices",
    "swa_noncausal_indices",
]


class Window:
    """The tokens of a step that windows are about, from `first_token` on."""

    def __init__(self, f: Formulas, window: int) -> None:
        self.f, self.window = f, window
        self.requests = Requests(f)
        self.first = f.size("first_token")

    def is_valid(self, t: Any) -> nb.Element:
        """Whether a token is stored, and so no padding."""
        known = is_valid_token(self.f, t)
        return t < self.requests.num_tokens if known is None else known

    def request(self, t: Any) -> nb.Element:
        if self.f.has("token_to_req"):
            owners = self.f.input("token_to_req", (None,))
            return index(owners[t].otherwise(-1))
        return self.requests.of(t)

    def visible(self, side: str, t: Any) -> Any:
        """Tokens of the same image, if there are images."""
        if not self.f.has(side):
            return 0
        return index(self.f.input(side, (None,))[t].otherwise(0))

    def bounds(self, t: Any) -> tuple[nb.Element, nb.Element]:
        """The first position of a causal window, and the one past its last."""
        b = self.request(t)
        position = self.requests.position(t, b)
        start = position - (self.window - 1)
        if self.f.has("left_visible"):
            left = self.visible("left_visible", t)
            start = start - nb.maximum(left - (self.window - 1), 0)
        start = nb.maximum(start, 0)
        if self.f.has("replay_start"):
            replay = self.f.input("replay_start", (None,))
            start = nb.maximum(start, index(replay[b].otherwise(0)))
        return start, position + self.visible("right_visible", t) + 1

    def block(self, t: Any) -> tuple[nb.Element, nb.Element]:
        """Those of all that is before the request's tokens, and these."""
        b = self.request(t)
        end = self.requests.length(b)
        return nb.maximum(end - self.requests.query_length(b) - self.window, 0), end


def write_windows(f: Formulas, window: int, block_size: int, causal: bool) -> None:
    of = Window(f, window)
    rows, width = f.size("num_tokens"), f.size("width")
    table = f.input("block_table", (None, None))
    bounds = of.bounds if causal else of.block

    def length(r: nb.Element) -> nb.Element:
        t = r + of.first
        start, end = bounds(t)
        return nb.where(of.is_valid(t), clamp(end - start, 0, width), 0)

    def place(r: nb.Element, j: nb.Element) -> nb.Element:
        t = r + of.first
        start, end = bounds(t)
        inside = of.is_valid(t) & (start + j < end)
        return nb.where(inside, slot(table, of.request(t), start + j, block_size), -1)

    f.output("out_indices", (rows, width), place)
    f.output("out_lens", rows, length)
    if f.has("out_valid"):
        f.output("out_valid", rows, lambda r: of.is_valid(r + of.first).astype("int8"), FLAGS)


def run_windows(
    constants: tuple[Any, ...],
    inputs: dict[str, Any],
    outputs: dict[str, Any],
    first_token: int,
    num_tokens: int | None,
    width: int | None,
    num_reqs: int | None,
    stream: Any,
) -> None:
    run(
        write_windows,
        constants,
        inputs,
        outputs,
        {
            "num_tokens": (num_tokens, ("out_indices", 0, 0)),
            "first_token": (first_token, None),
            "width": (width, ("out_indices", 1, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )


def swa_indices(
    query_start_loc: Any,
    seq_lens: Any,
    block_table: Any,
    out_indices: Any,
    out_lens: Any,
    *,
    window: int,
    block_size: int,
    slot_mapping: Any = None,
    is_valid: Any = None,
    replay_start: Any = None,
    left_visible: Any = None,
    right_visible: Any = None,
    token_to_req: Any = None,
    out_valid: Any = None,
    first_token: int = 0,
    num_tokens: int | None = None,
    width: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The slots of the window that each token attends to, ascending, then -1.

    Row r is token ``t = first_token + r`` of request b. With p its position, its window of
    `window` tokens is from ``p - (window - 1)``, or as much earlier as ``left_visible[t]`` is
    more than that, at least 0 and ``replay_start[b]``, to ``p + right_visible[t]``.

    ==============  =====================  ==================================================
    array           elements               value
    ==============  =====================  ==================================================
    `out_indices`   [num_tokens, width]    the window's slots, cut to the width, then -1
    `out_lens`      [num_tokens]           how many positions the window has, at most `width`
    `out_valid`     [num_tokens]           whether the token is valid; bool or a byte
    ==============  =====================  ==================================================

    Valid are tokens with ``slot_mapping[t] >= 0``, or for which ``is_valid[t]`` (bool or a
    byte) is set; if neither is given, those of a request. Others have a row of -1 and length
    0. `block_table`: [requests, columns], pages of `block_size` tokens. `token_to_req`: the
    request of each token, else it is searched in `query_start_loc` [num_reqs + 1].
    `num_tokens`, `width`: left out, the rows and columns of `out_indices`.
    """
    run_windows(
        (constant("window", window, 1), constant("block_size", block_size, 1), True),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "block_table": block_table,
            "slot_mapping": slot_mapping,
            "is_valid": is_valid,
            "replay_start": replay_start,
            "left_visible": left_visible,
            "right_visible": right_visible,
            "token_to_req": token_to_req,
        },
        {"out_indices": out_indices, "out_lens": out_lens, "out_valid": out_valid},
        first_token,
        num_tokens,
        width,
        num_reqs,
        stream,
    )


def swa_noncausal_indices(
    query_start_loc: Any,
    seq_lens: Any,
    block_table: Any,
    out_indices: Any,
    out_lens: Any,
    *,
    window: int,
    block_size: int,
    slot_mapping: Any = None,
    is_valid: Any = None,
    token_to_req: Any = None,
    out_valid: Any = None,
    first_token: int = 0,
    num_tokens: int | None = None,
    width: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """The same where all tokens of a request see one another: the `window` tokens before
    them, and all of them. Arguments as in ``swa_indices``."""
    run_windows(
        (constant("window", window, 0), constant("block_size", block_size, 1), False),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "block_table": block_table,
            "slot_mapping": slot_mapping,
            "is_valid": is_valid,
            "token_to_req": token_to_req,
        },
        {"out_indices": out_indices, "out_lens": out_lens, "out_valid": out_valid},
        first_token,
        num_tokens,
        width,
        num_reqs,
        stream,
    )


#: Positions of spans are told apart by request: more than a sequence has.
SPAN_STRIDE = 1 << 32


def write_image_visible(f: Formulas, most: int) -> None:
    requests = Requests(f)
    bounds = f.input("span_indptr", (requests.count + 1,))
    starts, ends = f.input("span_starts", (None,)), f.input("span_ends", (None,))
    first, rows = f.size("first_token"), f.size("num_tokens")

    def key(i: nb.Element) -> nb.Element:
        request = bounds.search(i) - 1
        return request * SPAN_STRIDE + index(starts[i].otherwise(0))

    keys = f.s.map(f.size("num_spans"), key, dtype="int64")

    def visible(r: nb.Element) -> tuple[nb.Element, nb.Element, nb.Element]:
        t = r + first
        b = requests.of(t)
        position = requests.position(t, b)
        span = keys.search(b * SPAN_STRIDE + position) - 1
        start = index(starts[span].otherwise(0))
        end = index(ends[span].otherwise(-1))
        is_own = (span >= index(bounds[b].otherwise(0))) & (position >= 0)
        inside = is_own & (start <= position) & (position <= end)
        left = nb.where(inside, nb.minimum(position - start, most - 1), 0)
        return left, nb.where(inside, nb.minimum(end - position, most), 0)

    f.output("out_left", rows, lambda r: visible(r)[0])
    f.output("out_right", rows, lambda r: visible(r)[1])


def image_visible(
    query_start_loc: Any,
    seq_lens: Any,
    span_indptr: Any,
    span_starts: Any,
    span_ends: Any,
    out_left: Any,
    out_right: Any,
    *,
    max_image_tokens: int,
    first_token: int = 0,
    num_tokens: int | None = None,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """How many tokens of its image each token sees beyond its causal window.

    Request b has the spans ``span_indptr[b]`` to ``span_indptr[b + 1]``, which ascend and
    do not meet, of the positions ``span_starts[i]`` to ``span_ends[i]``, both inside. A
    token at position p in one of them gets ``min(p - start, max_image_tokens - 1)`` in
    `out_left` and ``min(end - p, max_image_tokens)`` in `out_right`, others get 0; element r
    is token ``first_token + r``.
    """
    run(
        write_image_visible,
        (constant("max_image_tokens", max_image_tokens, 1),),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "span_indptr": span_indptr,
            "span_starts": span_starts,
            "span_ends": span_ends,
        },
        {"out_left": out_left, "out_right": out_right},
        {
            "num_tokens": (num_tokens, ("out_left", 0, 0)),
            "first_token": (first_token, None),
            "num_spans": (None, ("span_starts", 0, 0)),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )


def write_prefill_gather_lens(f: Formulas, window: int) -> None:
    requests = Requests(f)
    first = f.size("first_req")

    def gathered(r: nb.Element) -> nb.Element:
        b = r + first
        query = requests.query_length(b)
        prefix = requests.length(b) - query
        if f.has("replay_start"):
            prefix = prefix - index(f.input("replay_start", (None,))[b].otherwise(0))
        return query + nb.minimum(nb.maximum(prefix, 0), window - 1)

    f.output("out", requests.count - first, gathered)


def prefill_gather_lens(
    query_start_loc: Any,
    seq_lens: Any,
    out: Any,
    *,
    window: int,
    replay_start: Any = None,
    first_req: int = 0,
    num_reqs: int | None = None,
    stream: Any = None,
) -> None:
    """How many tokens the windows of a request's queries span: ``out[r]`` of request b =
    `first_req` + r is its queries, and the `window` - 1 tokens before them, as far as there
    are such from ``replay_start[b]`` on."""
    run(
        write_prefill_gather_lens,
        (constant("window", window, 1),),
        {
            "query_start_loc": query_start_loc,
            "seq_lens": seq_lens,
            "replay_start": replay_start,
        },
        {"out": out},
        {
            "first_req": (first_req, None),
            "num_reqs": (num_reqs, ("query_start_loc", 0, -1)),
        },
        stream,
    )
