# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Which columns of page tables are right, as far as the host knows."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from ._errors import check_mode, constant, optional_constant, wrong

MODES = ("decode", "target_verify", "draft_extend")


class ReplayChanges(NamedTuple):
    """What the tables need in a step."""

    #: For each request of the batch, the first column that may not be right; int32, with the
    #: buffer protocol, as ``numpy.frombuffer`` and ``torch.frombuffer`` take it.
    since: array[int]
    #: The tracker's bound, where no row needs more columns; None where one does, and the
    #: tables have to be written whole.
    new_columns: int | None


class ReplayTracker:
    """Keeps account of which columns of a set of page tables are right from one step to the
    next, for ``nsa.ops.replay_metadata(..., since=, new_columns=)``.

    A tracker belongs to the arrays of page_table_1 and real_page_table that the same launches
    write: one for each set of buffers, and so for each mode. It is told what the host knows,
    and takes as right only what follows from that. Columns of a request count as right where

    - the step before wrote them, to the same rows of the tables, for the same request: one
      that joins, moves in the batch, or comes back after a step without it is written whole;
    - they are settled: the last `unsettled` columns of a step are written again by the next;
    - the request has grown since: one that has not lost tokens, so that it is written
      whole, unless ``rejected`` has said which it kept;
    - nothing was said that denies it: ``rejected``, ``rewritten``, ``reused``.

    So what an engine has to tell is only what its batches do not show: rows of req_to_token
    that change before the end of what is settled. A request is whatever identifies it
    (hashable; an engine's request id). Where that is the index of its row of req_to_token,
    each new request in a row takes a call of ``reused``.

    Parameters
    ----------
    mode : str
        ``"decode"``, ``"target_verify"`` or ``"draft_extend"``.
    new_columns : int
        The bound that incremental launches are given, in columns of page_table_1. A decode
        step needs 1, a verify step at most 2 * next_n.
    next_n : int
        Rows of a request in target_verify.
    unsettled : int, optional
        How many columns at the end of a step's cache_seqlens the engine may give other slots
        afterwards, without saying so. Left out: none in decode, `next_n` in target_verify,
        the rows of the request in draft_extend.

    Examples
    --------
    >>> tracker = ReplayTracker(new_columns=8)
    >>> tracker.step(["a", "b"], [1000, 70])
    ReplayChanges(since=array('i', [0, 0]), new_columns=None)
    >>> tracker.step(["a", "b"], [1001, 71])
    ReplayChanges(since=array('i', [1000, 70]), new_columns=8)
    >>> tracker.step(["a", "c"], [1002, 5])
    ReplayChanges(since=array('i', [1001, 0]), new_columns=8)
    """

    def __init__(
        self,
        mode: str = "decode",
        *,
        new_columns: int = 8,
        next_n: int = 1,
        unsettled: int | None = None,
    ) -> None:
        self.mode = check_mode(mode, MODES)
        self.new_columns = constant("new_columns", new_columns, 0)
        self.next_n = constant("next_n", next_n, 1)
        self.unsettled = optional_constant("unsettled", unsettled, 0)
        if self.next_n != 1 and mode != "target_verify":
            raise wrong(ValueError, "next_n", f"expected 1 in {mode} but got {next_n}")
        #: By row of the tables, the request that the step before wrote.
        self._owners: list[Hashable] = []
        #: Requests of the step before: (length, columns that are right and settled).
        self._known: dict[Hashable, tuple[int, int]] = {}

    def step(
        self,
        requests: Sequence[Hashable],
        seq_lens: Sequence[int],
        *,
        extend_seq_lens: int | Sequence[int] | None = None,
        max_len: int | None = None,
    ) -> ReplayChanges:
        """What the next launch has to write; the launch has to follow.

        Parameters
        ----------
        requests : sequence of hashable
            The batch, in its order. None is nobody in particular, as where a batch is padded,
            and is written whole.
        seq_lens : sequence of int
            Their lengths, as the device has them.
        extend_seq_lens : int or sequence of int, optional
            Rows of each request in draft_extend, as the launch gets them.
        max_len : int, optional
            That of the launch, if a request is longer.

        Returns
        -------
        ReplayChanges
            ``since``, and ``new_columns``, which is None where the launch has to go without.

        Raises
        ------
        ValueError, TypeError
            Naming the argument; the tracker is as it was.
        """
        counts = self._rows_of(len(requests), extend_seq_lens)
        if len(seq_lens) != len(requests):
            text = f"expected {len(requests)}, one a request, but got {len(seq_lens)}"
            raise wrong(ValueError, "seq_lens", text)
        max_len = optional_constant("max_len", max_len, 0)
        plus = self.next_n if self.mode == "target_verify" else 0
        owners: list[Hashable] = []
        known: dict[Hashable, tuple[int, int]] = {}
        since = array("i")
        most = 0
        for request, given, count in zip(requests, seq_lens, counts):
            length = constant("seq_lens", given, 0)
            live = length + plus
            unsettled = self.unsettled
            if unsettled is None:
                unsettled = 0 if self.mode == "decode" else count
            settled = max(live - unsettled, 0)
            if max_len is not None:
                live, settled = min(live, max_len), min(settled, max_len)
            right = self._right(request, length, len(owners), count)
            if count:
                most = max(most, live - right)
            since.append(right)
            owners += [request] * count
            if request is not None:
                if request in known:
                    raise wrong(ValueError, "requests", f"{request!r} is there twice")
                known[request] = (length, settled)
        self._owners, self._known = owners, known
        return ReplayChanges(since, self.new_columns if most <= self.new_columns else None)

    def _rows_of(self, count: int, extend: int | Sequence[int] | None) -> Sequence[int]:
        """The rows of each request."""
        if (extend is None) == (self.mode == "draft_extend"):
            takes = "needs them" if extend is None else "takes none"
            raise wrong(ValueError, "extend_seq_lens", f"{self.mode} {takes}")
        if extend is None:
            return [self.next_n] * count
        if hasattr(extend, "__index__"):
            return [constant("extend_seq_lens", extend, 0)] * count
        if len(extend) != count:
            text = f"expected {count}, one a request, but got {len(extend)}"
            raise wrong(ValueError, "extend_seq_lens", text)
        return [constant("extend_seq_lens", rows, 0) for rows in extend]

    def _right(self, request: Hashable, length: int, row: int, count: int) -> int:
        """How many columns of the rows from `row` on are right for the request."""
        if request is None or request not in self._known:
            return 0
        if self._owners[row : row + count] != [request] * count:
            return 0
        before, settled = self._known[request]
        return settled if length > before else 0

    def rejected(self, request: Hashable, length: int) -> None:
        """Of the request's tokens only the first `length` stay; those after them may get
        other slots.

        Parameters
        ----------
        request : hashable
        length : int
        """
        length = constant("length", length, 0)
        if request in self._known:
            before, settled = self._known[request]
            self._known[request] = (min(before, length), min(settled, length))

    def rewritten(self, request: Hashable, column: int = 0) -> None:
        """The request's row of req_to_token has changed from `column` on.

        Parameters
        ----------
        request : hashable
        column : int
        """
        column = constant("column", column, 0)
        if request in self._known:
            before, settled = self._known[request]
            self._known[request] = (before, min(settled, column))

    def reused(self, request: Hashable) -> None:
        """What identified this request identifies another one now.

        Parameters
        ----------
        request : hashable
        """
        self._known.pop(request, None)

    def reset(self) -> None:
        """Nothing is right any more: the arrays are others, somebody else has written to
        them, or a launch has failed."""
        self._owners, self._known = [], {}
