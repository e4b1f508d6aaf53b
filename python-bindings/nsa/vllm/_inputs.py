# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The batch that a model runs on: which token is where, and which logits are wanted."""

from __future__ import annotations

from typing import Any

from .. import build as nb
from ._formulas import index
from ._launch import Formulas, run

__all__ = ["expand_idx_mapping"]


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
    """For each row of logits the state of its request, ``idx_mapping[b]``, and the row's number
    among those of the request; -1 for rows of none.

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
