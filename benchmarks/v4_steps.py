# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The V4 and V4.1 steps that are measured: their fields, arrays and texts. Needs neither torch
nor a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


from nsa import _prefill_v4, _v4
from nsa._v4_rows import round_up

FIELDS = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc", "c4_out_loc", "c128_out_loc", "c4_topk_lengths_raw",
    "c4_topk_lengths_clamp1", "c128_topk_lengths_clamp1", "c4_sparse_topk_lengths",
    "c4_sparse_page_indices", "c128_page_indices",
)  # fmt: skip


#: With what other models and layers have: what one bundle for all has to know.
MORE_FIELDS = (
    *FIELDS, "req_indices", "pos_i64", "c128_topk_lengths_raw", "c128_sparse_topk_lengths",
    "c4_all_page_indices", "c4_all_raw_indices", "c4_page_indices",
)  # fmt: skip
#: Destinations that the step for all has.
BACKENDS = 4

OPTIONS = _v4.Options("decode", 1, False, False, 512, 256, 128, 64)


def text() -> str:
    """Made to measure: one destination, these fields."""
    return _v4.write(OPTIONS, (FIELDS,), {})[0]


def optional_text() -> str:
    """One for all: any of more fields, in any of several destinations."""
    return _v4.write(OPTIONS, (MORE_FIELDS,) * BACKENDS, {}, optional=True)[0]


# ----------------------------------------------------------------------------
# Beside SGLang's sequences
# ----------------------------------------------------------------------------

CORE = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc",
)  # fmt: skip
PAGE, WINDOW, TOPK, INDEX_PAGE = 256, 128, 512, 64
#: Slots of a page of the window's cache: no less than the longest ring of states.
SWA_PAGE = 256
NEXT_N, STEPS = 4, 4
#: Ring of the compressors' states, without and with speculation.
RINGS = {False: (8, 128), True: (16, 256)}
INPUT_DTYPES = {
    "seq_lens": "int64", "req_pool_indices": "int64", "req_to_token": "int32",
    "full_to_swa": "int64", "out_cache_loc": "int64",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A mode of a model: "v4", "v41", or "mtp", which has windows alone."""

    mode: str
    model: str
    next_n: int = 1
    steps: int = 1

    @property
    def name(self) -> str:
        drafts = f", {self.steps} draft steps" if self.steps > 1 else ""
        return f"{self.model} {self.mode}{drafts}"

    @property
    def ratios(self) -> tuple[int, ...]:
        return {"v4": (4, 128), "v41": (1, 2), "mtp": ()}[self.model]

    @property
    def fields(self) -> tuple[str, ...]:
        names = list(CORE)
        for ratio in self.ratios:
            names += [f"c{ratio}_out_loc", f"c{ratio}_topk_lengths_clamp1"]
            if ratio == 128:
                names.append("c128_page_indices")
            else:
                names += [f"c{ratio}_sparse_topk_lengths", f"c{ratio}_sparse_page_indices"]
            if ratio == 4:
                names.append("c4_topk_lengths_raw")
            if ratio < 4:
                names.append(f"c{ratio}_index_page_table")
            elif self.mode == "decode":
                names.append(f"c{ratio}_plan_d")
            else:
                names += [f"c{ratio}_plan_c", f"c{ratio}_plan_w"]
        if self.model == "v41" and self.mode == "decode":
            names += ["req_indices", "pos_i64"]
        return tuple(names)

    @property
    def rings(self) -> tuple[int, int]:
        return RINGS[self.mode == "target_verify"]

    def table_length(self, context: int) -> int:
        """How much of a request's row the page table covers."""
        return PAGE if self.mode == "draft_extend" else context

    def outputs(self, bs: int, context: int) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shapes and dtypes of one destination."""
        columns = -(-self.table_length(context) // PAGE)
        widths = {"swa_page_indices": WINDOW, "page_table": columns}
        widths["c128_page_indices"] = round_up(columns * PAGE // 128)
        for ratio in (1, 2, 4):
            widths[f"c{ratio}_sparse_page_indices"] = TOPK
            widths[f"c{ratio}_index_page_table"] = columns * (PAGE // ratio // INDEX_PAGE)
        made = {}
        for name in self.fields:
            width = 4 if name.endswith(("_plan_c", "_plan_d")) else widths.get(name)
            width = 2 if name.endswith("_plan_w") else width
            rows = bs * self.next_n
            long = name in ("req_indices", "pos_i64") or (
                name.endswith("_out_loc") and not name.startswith("swa")
            )
            dtype = "int64" if long else "int32"
            made[name] = ((rows,) if width is None else (rows, width), dtype)
        return made

    def arguments(self, context: int) -> dict[str, Any]:
        """What `nsa.ops.replay_v4` takes besides arrays."""
        return {
            "mode": self.mode, "next_n": self.next_n, "steps": self.steps, "topk": TOPK,
            "page_size": PAGE, "window": WINDOW, "index_page_size": INDEX_PAGE,
            "swa_page_size": SWA_PAGE,
            "rings": self.rings, "max_len": self.table_length(context),
        }  # fmt: skip

    def text(self) -> str:
        plans = _v4.plan_options(self.rings, SWA_PAGE, False, False, None)
        options = _v4.Options(
            self.mode, self.next_n, False, False, TOPK, PAGE, WINDOW, INDEX_PAGE, plans,
            self.steps,
        )  # fmt: skip
        dtypes = dict(INPUT_DTYPES)
        for number in range(self.steps):
            for name, (_, dtype) in self.outputs(1, PAGE).items():
                dtypes[f"b{number}_{name}"] = dtype
        return _v4.write(options, (self.fields,) * self.steps, dtypes)[0]


def cases() -> Iterator[Case]:
    for model in ("v4", "v41"):
        yield Case("decode", model)
        yield Case("target_verify", model, NEXT_N)
    # Draft models are the same for both.
    yield Case("draft_extend", "mtp", NEXT_N)
    yield Case("decode", "mtp", steps=STEPS)


def extend_fields(model: str) -> tuple[str, ...]:
    """What SGLang's backend has in a graph of an extend."""
    names = [
        name
        for name in Case("target_verify", model, 2).fields
        if name != "swa_out_cache_loc" and not name.endswith("_index_page_table")
    ]
    if model == "v41":
        names += ["req_indices", "pos_i64", "extend_offsets"]
    return tuple(names)


def extend_text(fields: tuple[str, ...]) -> str:
    """An extend, without speculation."""
    plans = _v4.plan_options(RINGS[False], SWA_PAGE, False, False, None)
    options = _v4.Options(
        "extend", 1, True, False, TOPK, PAGE, WINDOW, INDEX_PAGE, plans
    )
    return _v4.write(options, (fields,), {**INPUT_DTYPES, "extend_seq_lens": "int64"})[0]


def chunk_fields(model: str) -> tuple[str, ...]:
    """What the layers of a chunk have in common; not how many tokens each request has, of which
    SGLang keeps no array."""
    ratios = dict(v4=_prefill_v4.MODELS[0], v41=_prefill_v4.MODELS[1])[model]
    skipped = ("c1_lens", "c2_lens", "c4_lens")
    return tuple(n for n in _prefill_v4.all_fields(ratios, False) if n not in skipped)


def chunk_text(fields: tuple[str, ...]) -> str:
    """Of a chunk of an eager extend."""
    options = _prefill_v4.Options(PAGE, WINDOW, True, False)
    lengths = dict.fromkeys(("seq_lens", "extend_seq_lens"), "int32")
    return _prefill_v4.Chunk(options, INPUT_DTYPES | lengths).write(fields).s.text


def texts() -> set[str]:
    extends = (extend_text(extend_fields(model)) for model in ("v4", "v41"))
    chunks = (chunk_text(chunk_fields(model)) for model in ("v4", "v41"))
    return {text(), optional_text(), *(case.text() for case in cases()), *extends, *chunks}
