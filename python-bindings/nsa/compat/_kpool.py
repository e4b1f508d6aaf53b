# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions for pooled index keys whose page table is there already, for torch tensors
and for NumPy arrays. With the tables, in one launch: ``nsa.ops.replay_metadata(index_kpool=)``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from .. import build as nb
from .._errors import constant, wrong
from .._fields import Fields, Runner
from .._kpool import INDEX_PAGE_SIZE
from ._allocate import empty

__all__ = ["build_pooled_page_table_64", "update_kpool_write_plan_cuda_graph"]


class WritePlan(Fields):
    """Which keys of the indexer a step writes, and where."""

    def __init__(self, pool: int, rows: int, page: int, dtypes: Mapping[str, str]) -> None:
        super().__init__("kpool_write_plan", dtypes)
        self.pool_size, self.rows, self.page = pool, rows, page

    def start(self, b: nb.Element) -> nb.Element:
        return self.vector("write_start", "bs")[b].otherwise(0).astype("int32")

    def first_pool(self, b: nb.Element) -> nb.Element:
        return nb.maximum(self.start(b), 0) // self.pool_size

    def make_req_out(self) -> nb.Array:
        return self.s.map(self.size("bs"), lambda b: self.pool[b], dtype="int64")

    def make_write_start_out(self) -> nb.Array:
        return self.s.map(self.size("bs"), self.start)

    def make_tail_logical_start_out(self) -> nb.Array:
        return self.s.map(self.size("bs"), lambda b: self.first_pool(b) * self.pool_size)

    def make_write_loc_out(self) -> nb.Array:
        table, pools = self.table("real_page_table"), -(-self.rows // self.pool_size)

        def place(b: nb.Element, m: nb.Element) -> nb.Element:
            group = (self.first_pool(b) + m.astype("int32")).astype("int64")
            column = (group // self.page * self.pool_size).astype("index")
            column = nb.maximum(nb.minimum(column, table.shape[1] - 1), 0)
            of_page = table[b * self.rows, column].otherwise(0).astype("int64")
            return of_page // self.pool_size * self.page + group % self.page

        return self.s.map((self.size("bs"), pools), place, dtype="int64")

    def length(self, r: nb.Element) -> nb.Element:
        return self.start(r // self.rows) + 1 + (r % self.rows).astype("int32")

    def make_seqlens_per_q_out(self) -> nb.Array:
        return self.s.map(self.size("bs") * self.rows, self.length)

    def make_pool_seqlens_per_q_out(self) -> nb.Array:
        def pools(r: nb.Element) -> nb.Element:
            return nb.maximum(self.length(r), 0) // self.pool_size

        return self.s.map(self.size("bs") * self.rows, pools)

    def write(self, names: tuple[str, ...]) -> WritePlan:
        for name in names:
            self.s.output(name, self.field(name))
        return self


class PooledTable(Fields):
    """The pages of the indexer's keys."""

    def __init__(self, pool: int, dtypes: Mapping[str, str]) -> None:
        super().__init__("pooled_page_table", dtypes)
        shape, table = (self.size("rows"), self.size("columns")), self.table("table")
        page = self.s.map(shape, lambda r, c: table[r, c * pool].otherwise(0) // pool)
        self.s.output("out", page)


@cache
def _plan(pool: int, rows: int, page: int, names: tuple[str, ...]) -> Runner:
    return Runner(
        lambda dtypes: WritePlan(pool, rows, page, dtypes).write(names),
        names,
        ("bs",),
        {"bs": (["write_start"], 0)},
    )


@cache
def _table(pool: int) -> Runner:
    rooms = {"rows": (["out"], 0), "columns": (["out"], 1)}
    return Runner(lambda dtypes: PooledTable(pool, dtypes), ("out",), ("rows", "columns"), rooms)


def update_kpool_write_plan_cuda_graph(
    write_start: Any,
    req_pool_indices: Any,
    real_page_table: Any,
    req_out: Any,
    write_start_out: Any,
    tail_logical_start_out: Any,
    write_loc_out: Any,
    pool_seqlens_per_q_out: Any,
    seqlens_per_q_out: Any,
    *,
    kpool: int,
    num_draft_tokens: int,
    index_page_size: int,
) -> None:
    """Which pooled keys a step writes, and where: SGLang's ``update_kpool_write_plan_cuda_graph``.

    Writes `req_out` (int64 [bs]), `write_start_out` and `tail_logical_start_out` (int32 [bs]),
    `write_loc_out` (int64 [bs, pools]) and, where they are given, `pool_seqlens_per_q_out` and
    `seqlens_per_q_out` (int32 [bs * num_draft_tokens]), from `write_start`, `req_pool_indices`
    (int32 or int64 [bs]) and `real_page_table` (int32 [bs * num_draft_tokens, pages]). A start
    below 0 has the pools of 0, and a row the table has no place for is 0. Raises ``ValueError``
    or ``TypeError`` with the argument's name.
    """
    if (pool_seqlens_per_q_out is None) != (seqlens_per_q_out is None):
        name = "seqlens_per_q_out" if seqlens_per_q_out is None else "pool_seqlens_per_q_out"
        raise wrong(TypeError, name, "missing, the other one is there")
    outputs = {
        "req_out": req_out,
        "write_start_out": write_start_out,
        "tail_logical_start_out": tail_logical_start_out,
        "write_loc_out": write_loc_out,
        "pool_seqlens_per_q_out": pool_seqlens_per_q_out,
        "seqlens_per_q_out": seqlens_per_q_out,
    }
    outputs = {name: array for name, array in outputs.items() if array is not None}
    run = _plan(
        constant("kpool", kpool, 1), constant("num_draft_tokens", num_draft_tokens, 1),
        constant("index_page_size", index_page_size, 1), tuple(outputs),
    )  # fmt: skip
    given = {
        "write_start": write_start,
        "req_pool_indices": req_pool_indices,
        "real_page_table": real_page_table,
    }
    run(given, outputs.values(), (None,), None)


def build_pooled_page_table_64(page_table_64: Any, kpool: int) -> Any:
    """The pages of pooled index keys: SGLang's ``build_pooled_page_table_64``.

    `page_table_64`: int32 [rows, columns], pages of 64 tokens; `kpool` divides 64. Returns int32
    [rows, ceil(columns / kpool)]. Raises ``ValueError`` or ``TypeError`` with the argument's name.
    """
    if INDEX_PAGE_SIZE % constant("kpool", kpool, 1):
        text = f"expected a divisor of {INDEX_PAGE_SIZE} but got {kpool}"
        raise wrong(ValueError, "kpool", text)
    rows, columns = page_table_64.shape
    out = empty((rows, -(-columns // kpool)), page_table_64)
    _table(kpool)({"table": page_table_64}, (out,), (None, None), None)
    return out
