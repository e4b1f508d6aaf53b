# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The eager extends of DSA that are measured: their fields, arrays and texts. Needs neither
torch nor a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nsa import _dsa_prefill

PAGE, TOPK, INDEX_PAGE = 64, 2048, 64
#: Dtypes as SGLang's batches have them.
INPUT_DTYPES = {
    "seq_lens": "int64", "extend_seq_lens": "int32", "req_pool_indices": "int64",
    "req_to_token": "int32",
}  # fmt: skip
FIELDS = (
    "cache_seqlens", "cu_seqlens_q", "cu_seqlens_k", "page_table_1", "real_page_table",
    "page_table_1_flattened", "seqlens_expanded", "nsa_cache_seqlens", "nsa_cu_seqlens_k",
    "ks", "ke", "topk_indices_offset", "token_to_batch",
)  # fmt: skip
POOL_ROWS = (
    "pool_req", "pool_id", "pool_n_from_tail", "pool_chunk_src", "pool_tail_logical_base",
    "pool_write_loc",
)  # fmt: skip
TAIL_ROWS = ("tail_req", "tail_dst_logical_start", "tail_chunk_src", "tail_n_write")
POOL_FIELDS = (
    *POOL_ROWS, *TAIL_ROWS, "pooled_seq_lens_expanded", "concat_page_table", "q_ks", "q_ke",
)  # fmt: skip
#: What a rank of context parallelism has: of rows and of requests, and of pools.
OF_RANK = (*FIELDS, "pooled_seq_lens_expanded", "concat_page_table", "q_ks", "q_ke")
OWNERS = ("pool_owner_rank", "pool_local_write_mask")
INT64 = ("pool_req", "pool_id", "pool_chunk_src", "pool_write_loc", "tail_req", "tail_chunk_src")


@dataclass(frozen=True)
class Case:
    """A model: its indexer has a key for each `pool` tokens."""

    name: str
    pool: int

    @property
    def fields(self) -> tuple[str, ...]:
        return FIELDS + (POOL_FIELDS if self.pool > 1 else ())

    @property
    def rank_fields(self) -> tuple[str, ...]:
        pools = self.pool > 1
        names = OF_RANK if pools else FIELDS
        return (*(f"rank_{name}" for name in names), *(OWNERS if pools else ()))

    def outputs(
        self, lens: list[int], extends: list[int]
    ) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shapes and dtypes of a batch's fields, exactly as many elements as there are."""
        bs, rows, longest = len(lens), sum(extends), max(lens)
        pool = self.pool
        # Of each request: what its chunk makes whole, and whether something is left.
        whole = [s // pool - (s - e) // pool for s, e in zip(lens, extends)]
        left = [
            e - max(n * pool - (s - e) % pool, 0) for s, e, n in zip(lens, extends, whole)
        ]
        shapes = {
            "cache_seqlens": (bs,),
            "cu_seqlens_q": (bs + 1,),
            "cu_seqlens_k": (bs + 1,),
            "page_table_1": (bs, longest),
            "real_page_table": (bs, -(-longest // PAGE)),
            "page_table_1_flattened": (sum(lens),),
            "nsa_cu_seqlens_k": (rows + 1,),
            **dict.fromkeys(POOL_ROWS, (sum(whole),)),
            **dict.fromkeys(TAIL_ROWS, (sum(n > 0 for n in left),)),
            "concat_page_table": (sum(-(-(s // pool) // INDEX_PAGE) for s in lens),),
        }
        return {
            name: (shapes.get(name, (rows,)), "int64" if name in INT64 else "int32")
            for name in self.fields
        }

    def arguments(self, lens: list[int], extends: list[int]) -> dict[str, Any]:
        """What `nsa.ops.dsa_prefill` takes besides arrays."""
        return {
            "num_tokens": sum(extends), "max_len": max(lens), "topk": TOPK,
            "page_size": PAGE, "index_kpool": self.pool,
        }  # fmt: skip

    def texts(self) -> set[str]:
        """The step, and that of a rank."""
        return {
            _dsa_prefill.write(fields, TOPK, PAGE, self.pool, INPUT_DTYPES).s.text
            for fields in (self.fields, self.rank_fields)
        }

    def text(self) -> str:
        return _dsa_prefill.write(self.fields, TOPK, PAGE, self.pool, INPUT_DTYPES).s.text


def cases() -> Iterator[Case]:
    yield Case("V3.2", 1)
    yield Case("pools of 4 keys", 4)


def texts() -> set[str]:
    return set().union(*(case.texts() for case in cases()))
