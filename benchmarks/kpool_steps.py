# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps of pooled index keys that are measured: their fields, arrays and texts. Needs
neither torch nor a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nsa import _kpool_replay

PAGE, TOPK, POOL, NEXT_N = 64, 2048, 4, 4
INPUT_DTYPES = {"seq_lens": "int64", "req_pool_indices": "int64", "req_to_token": "int32"}
COMMON = (
    "cache_seqlens", "cu_seqlens_k", "nsa_cache_seqlens", "nsa_cu_seqlens_k", "page_table_1",
    "real_page_table", "kpool_req", "kpool_write_start", "kpool_tail_logical_start",
    "kpool_write_loc",
)  # fmt: skip
#: Of modes with several rows for each request.
OF_ROWS = ("seqlens_expanded", "kpool_seqlens_per_q", "kpool_pool_seqlens_per_q")


@dataclass(frozen=True)
class Case:
    """A mode, with a key of the indexer for `POOL` tokens."""

    mode: str
    next_n: int = 1
    #: Columns of the page tables past a request's length may keep what they hold.
    live_only: bool = False
    #: SGLang with its fused kernels, which write live columns alone.
    fused: bool = False

    @property
    def name(self) -> str:
        live = ", live columns" * self.live_only
        return f"pooled keys, {self.mode}{live}{', fused' * self.fused}"

    @property
    def fields(self) -> tuple[str, ...]:
        more = {
            "decode": ("pooled_cache_seqlens", "pooled_real_page_table"),
            "target_verify": ("pooled_real_page_table", *OF_ROWS),
            "draft_extend": OF_ROWS,
        }
        return COMMON + more[self.mode]

    def outputs(self, bs: int, context: int) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shapes and dtypes."""
        rows, pages = bs * self.next_n, -(-context // PAGE)
        shapes: dict[str, tuple[int, ...]] = {
            "cu_seqlens_k": (bs + 1,),
            "nsa_cu_seqlens_k": (rows + 1,),
            "page_table_1": (rows, context),
            "real_page_table": (rows, pages),
            "pooled_real_page_table": (rows, -(-pages // POOL)),
            "kpool_write_loc": (bs, -(-self.next_n // POOL)),
            **dict.fromkeys(("nsa_cache_seqlens", *OF_ROWS), (rows,)),
        }
        long = ("kpool_req", "kpool_write_loc")
        return {
            name: (shapes.get(name, (bs,)), "int64" if name in long else "int32")
            for name in self.fields
        }

    def tables(self) -> dict[str, int]:
        """Page tables -> tokens in a page."""
        tokens = {"page_table_1": 1, "real_page_table": PAGE, "pooled_real_page_table": PAGE * POOL}
        return {name: tokens[name] for name in self.fields if name in tokens}

    def arguments(self, context: int) -> dict[str, Any]:
        """What `nsa.ops.replay_metadata` takes besides arrays."""
        given: dict[str, Any] = {
            "mode": self.mode, "max_len": context, "topk": TOPK, "page_size": PAGE,
            "index_kpool": POOL, "live_only": self.live_only,
        }  # fmt: skip
        name = "extend_seq_lens" if self.mode == "draft_extend" else "next_n"
        return {**given, name: self.next_n}

    def text(self) -> str:
        options = _kpool_replay.Options(
            self.mode, self.next_n, False, False, TOPK, PAGE, POOL, live_only=self.live_only
        )
        dtypes = INPUT_DTYPES | {
            f"b0_{name}": dtype for name, (_, dtype) in self.outputs(1, PAGE).items()
        }
        return _kpool_replay.write((self.fields,), options, dtypes).s.text


def cases() -> Iterator[Case]:
    for forms in ((False, False), (True, False), (True, True)):
        yield Case("decode", 1, *forms)
        yield Case("target_verify", NEXT_N, *forms)
        yield Case("draft_extend", NEXT_N, *forms)


def texts() -> set[str]:
    return {case.text() for case in cases()}
