# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The replay steps that the benchmarks run, as texts. Needs neither torch nor a GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nsa import steps

ROOT = Path(__file__).resolve().parent.parent

PAGE_SIZE = 64
TOPK = 2048
#: Rows of a request: next_n in target_verify, the most in draft_extend.
DRAFT_TOKENS = 4
BACKENDS = 3
#: Of a row whose tables are incremental, at most.
NEW_COLUMNS = 8
#: By which the cost of more backends is measured.
BACKEND_COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)

DECODE_FIELDS = (
    "cache_seqlens",
    "cu_seqlens_k",
    "page_table_1",
    "nsa_cache_seqlens",
    "nsa_cu_seqlens_k",
    "real_page_table",
)
_FIELDS = (*DECODE_FIELDS, "seqlens_expanded")


@dataclass(frozen=True)
class Mode:
    """A forward mode, and how many rows its requests have."""

    name: str
    mode: str
    fields: tuple[str, ...]
    #: In draft_extend: the dtype of the lengths, or one length for all.
    extend: str | int | None = None

    @property
    def next_n(self) -> int:
        return DRAFT_TOKENS if self.mode == "target_verify" else 1

    @property
    def most_rows(self) -> int:
        """Of a request."""
        return 1 if self.mode == "decode" else DRAFT_TOKENS

    @property
    def is_ragged(self) -> bool:
        return isinstance(self.extend, str)

    @property
    def step_name(self) -> str:
        return f"{self.mode}_replay"

    def text(self, backends: int, live_only: bool = False, grid: int | None = None) -> str:
        return steps.replay(
            self.mode,
            (self.fields,) * backends,
            topk=TOPK,
            page_size=PAGE_SIZE,
            next_n=self.next_n,
            extend=self.extend,
            live_only=live_only,
            grid=grid,
        )


MODES = {
    mode.name: mode
    for mode in (
        Mode("decode", "decode", DECODE_FIELDS),
        Mode("target_verify", "target_verify", _FIELDS),
        Mode("draft_extend", "draft_extend", _FIELDS, extend="int32"),
        Mode("draft_extend_uniform", "draft_extend", _FIELDS, extend=DRAFT_TOKENS),
    )
}


def expand_text(extend_dtype: str = "int32", lens_dtype: str = "int32") -> str:
    return steps.expand_seqlens(extend_dtype, lens_dtype, TOPK)


def maps_text() -> str:
    """The decode replay with each field as a formula."""
    return (ROOT / "examples/decode_replay_maps.mlir").read_text()


def texts() -> set[str]:
    """Every step that a benchmark of replay runs."""
    result = {expand_text(), maps_text()}
    for mode in MODES.values():
        result |= {mode.text(count) for count in BACKEND_COUNTS}
        result.add(mode.text(BACKENDS, live_only=True))
        result.add(mode.text(BACKENDS, grid=NEW_COLUMNS))
    return result
