# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What an engine decides on the host before a step: sizes, modes, batch sizes to capture.

Plain arithmetic on integers (anything with ``__index__``), in 64 bits. ``ValueError`` for
a number that is out of range or leaves 64 bits, ``TypeError`` for what is no integer; both
name the argument. `workspace`, `row_bound`, `implementation`, `sparse_prefill_usable` and
`capture_batch_sizes` are in C (``nsa-c/plan.h``) and C++ (``nsa/Runtime/Plan.h``) as well.
``ReplayTracker`` keeps account of page tables from step to step.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from . import _nsa_runtime
from ._errors import optional_constant, wrong
from ._shapes import (
    ExtendPools,
    dsa_prefill_shapes,
    extend_pools,
    rank_rows,
    tail_rows,
    v4_shapes,
)
from ._topk_plan import is_written
from ._tracker import ReplayChanges, ReplayTracker

__all__ = [
    "ExtendPools",
    "ReplayChanges",
    "ReplayTracker",
    "Workspace",
    "capture_batch_sizes",
    "dsa_prefill_shapes",
    "extend_pools",
    "implementation",
    "rank_rows",
    "row_bound",
    "schedule_refresh",
    "sparse_prefill_usable",
    "tail_rows",
    "v4_shapes",
    "workspace",
]


class Workspace(NamedTuple):
    """The rows of a sparse-prefill workspace: first the compressed rows, `c_max` a request,
    then the window rows, one request's after the other's."""

    #: Compressed rows of a request.
    c_max: int
    #: All rows.
    rows: int
    #: The first window row.
    swa_begin: int

    def compressed_base(self, request: Any) -> Any:
        """The first compressed row of a request: ``request * c_max``. `request` is a
        number, or an array of them."""
        return request * self.c_max

    def swa_base(self, offset: Any) -> Any:
        """The first window row of a request: ``swa_begin + offset``, where `offset` is
        the number of window rows of the requests before it (what ``build_swa_token_ids``
        writes to `out_offsets`); a number, or an array of them."""
        return self.swa_begin + offset


def workspace(num_reqs: int, max_seq_len: int, ratio: int, total_window: int) -> Workspace:
    """The workspace of `num_reqs` requests.

    `max_seq_len`: the longest of them, in tokens. `ratio`: tokens of a compressed row, 1 or
    more. `total_window`: the sum of their windows, in tokens. A request has
    ``c_max = max(max_seq_len // ratio, 1)`` compressed rows.
    """
    return Workspace(
        *_nsa_runtime.plan_workspace(num_reqs, max_seq_len, ratio, total_window)
    )


def row_bound(mode: str, bs: int, next_n: int = 1) -> int:
    """The most rows that the fields of `mode` have: `bs` in ``"decode"`` and ``"idle"``,
    ``bs * next_n`` in ``"target_verify"`` and ``"draft_extend"``. `next_n`: draft tokens, 1
    or more. The rows of ``"extend"`` do not follow from it: ``ValueError``."""
    return _nsa_runtime.plan_row_bound(mode, bs, next_n)


def implementation(mode: str) -> str:
    """Which implementation serves `mode`: ``"prefill"`` for ``"extend"``, ``"decode"`` for
    ``"decode"``, ``"idle"``, ``"target_verify"`` and ``"draft_extend"``."""
    return _nsa_runtime.plan_implementation(mode)


def sparse_prefill_usable(
    extend_lens: Iterable[int] | None,
    query_rows: int,
    cp_size: int = 1,
    cp_rows: int | None = None,
) -> bool:
    """Whether sparse prefill can serve a batch.

    `extend_lens`: the requests' query lengths as the host knows them, None if it does not.
    Their sum has to be `query_rows`. With round-robin context parallelism over `cp_size`
    ranks instead: one request, whose length `cp_size` divides, and `cp_rows`, the rows of
    this rank, equal to `query_rows`. What is not known makes it False.
    """
    return _nsa_runtime.plan_sparse_prefill_usable(
        extend_lens, query_rows, cp_size, cp_rows
    )


def capture_batch_sizes(
    candidates: Iterable[int],
    tokens_per_bs: int = 1,
    attn_tp_size: int = 1,
    attn_cp_size: int = 1,
    gathered_buffer: bool = False,
    two_batch_overlap: bool = False,
    max_requests: int | None = None,
) -> list[int]:
    """Which of the `candidates` to capture: those whose tokens divide evenly over the
    ranks, ascending and each once, in whatever order and how often they came.

    bs is kept when ``bs * tokens_per_bs`` is a multiple of the alignment, which is
    `attn_tp_size` with a `gathered_buffer`, else 1; twice that with `two_batch_overlap`,
    which splits by request, so that `tokens_per_bs` counts as 1; times `attn_cp_size`,
    unless that divides it already. The limit is `max_requests` rounded up to the
    alignment: if the largest candidate is beyond it, kept or not, the limit itself joins
    the list, and whatever is above it is dropped.

        >>> capture_batch_sizes(range(1, 9), 4, attn_tp_size=8, gathered_buffer=True)
        [2, 4, 6, 8]
    """
    return _nsa_runtime.plan_capture_batch_sizes(
        candidates,
        tokens_per_bs,
        attn_tp_size,
        attn_cp_size,
        bool(gathered_buffer),
        bool(two_batch_overlap),
        max_requests,
    )


def schedule_refresh(
    kind: str,
    *,
    topk: int | None = None,
    extra_lens: bool = False,
    rows: int | None = None,
    clusters: int | None = None,
) -> str:
    """When a schedule has to be computed again.

    `kind`: ``"paged_mqa"``, ``"topk_plan"`` or ``"flashmla"``, as in the ``schedules`` of
    ``nsa.ops.replay_metadata``. Returns

    - ``"step"``: in each step, since it depends on lengths;
    - ``"batch_size"``: once for each number of requests: a ``flashmla`` schedule of lists that
      all have `topk` entries, without `extra_lens`;
    - ``"never"``: nobody reads it: a ``topk_plan`` of `rows` rows and `clusters` clusters, unless
      ``0 < clusters < rows <= 512``.

        >>> schedule_refresh("flashmla", topk=2048)
        'batch_size'
    """
    if kind == "flashmla":
        topk = optional_constant("topk", topk, 0)
        return "step" if topk is None or extra_lens else "batch_size"
    if kind == "topk_plan":
        rows = optional_constant("rows", rows, 0)
        clusters = optional_constant("clusters", clusters, 0)
        if rows is None or clusters is None:
            return "step"
        return "step" if is_written(rows, clusters) else "never"
    if kind == "paged_mqa":
        return "step"
    known = "paged_mqa, topk_plan, flashmla"
    raise wrong(ValueError, "kind", f"expected one of {known} but got {kind!r}")
