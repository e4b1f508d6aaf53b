# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The calls of an engine's usual steps, whose texts are compiled ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from . import _decode, _indices, _inputs, _slots, _windows
from ._launch import collect, describe, launcher_of

#: DeepSeek V4: tokens in a window, how many share a compressed state, and tokens in a page of
#: each KV cache group: windows, the first ratio, its indexer, the second ratio.
WINDOW = 128
RATIOS = (4, 128)
BLOCK_SIZES = (64, 256, 256, 256)


def before_decode(
    a: Mapping[str, Any],
    *,
    num_reqs: int,
    c128_width: int,
    window: int = WINDOW,
    ratios: tuple[int, int] = RATIOS,
    block_sizes: tuple[int, ...] = BLOCK_SIZES,
) -> list[Callable[[], None]]:
    """What is computed before the graph of a V4 decode of one token a request, apart from
    schedules. `a`: the arrays by name, as in ``DTYPES``; lists of them for each group."""
    slots, tables = a["slots"], a["out_block_tables"]
    starts, lens, indices = a["query_start_loc"], a["out_seq_lens"], a["idx_mapping"]
    computed = a["num_computed_tokens"]

    def compressed(group: int, ratio: int, out: str) -> Callable[[], None]:
        return partial(
            _slots.compressed_slot_mapping, starts, lens, slots[group], tables[group], a[out],
            block_size=block_sizes[group] // ratio, ratio=ratio,
        )  # fmt: skip

    return [
        partial(
            _inputs.pos_seq_lens, indices, starts, computed, a["out_positions"], lens,
            num_tokens=num_reqs,
        ),
        partial(
            _inputs.prefill_inputs, indices, starts, a["all_token_ids"], a["prefill_len"],
            computed, out_next_prefill_tokens=a["out_next_prefill_tokens"],
        ),
        partial(
            _inputs.input_ids, indices, starts, lens, a["cu_num_logits"], a["all_token_ids"],
            a["prefill_len"], computed, a["last_sampled_tokens"], a["draft_tokens"],
            a["out_input_ids"], num_tokens=num_reqs,
        ),
        partial(
            _inputs.sampled_and_draft_inputs, indices, starts, lens, a["cu_num_logits"],
            out_logits_indices=a["out_logits_indices"],
        ),
        partial(
            _slots.gather_block_tables, indices, a["block_tables"], a["num_blocks"], tables,
            block_sizes=block_sizes, reach=[window, *[0] * (len(block_sizes) - 1)],
            num_computed_tokens=computed, num_rows=num_reqs,
        ),
        partial(
            _slots.slot_mappings, indices, starts, a["out_positions"], a["block_tables"],
            slots, block_sizes=block_sizes,
        ),
        partial(_decode.token_to_req_indices, starts, a["out_token_to_req"]),
        partial(
            _windows.swa_indices, starts, lens, tables[0], a["out_swa_indices"],
            a["out_swa_lens"], window=window, block_size=block_sizes[0],
            slot_mapping=slots[0], replay_start=a["replay_start"], out_valid=a["out_valid"],
        ),
        compressed(1, ratios[0], "out_c4_slots"),
        compressed(2, ratios[0], "out_indexer_slots"),
        compressed(3, ratios[1], "out_c128_slots"),
        partial(
            _decode.uniform_decode, lens, next_n=1, out_seq_lens=a["out_decode_seq_lens"],
            block_table=tables[2], out_block_table=a["out_decode_block_table"],
            out_decode_lens=a["out_decode_lens"], ratio=ratios[0], num_reqs=num_reqs,
        ),
        partial(
            _indices.c128a_indices, a["out_positions"], num_decode_tokens=num_reqs,
            width=c128_width, token_to_req=a["out_token_to_req"], block_table=tables[3],
            slot_mapping=slots[3], out_decode_indices=a["out_c128_indices"],
            out_decode_lens=a["out_c128_lens"], block_size=block_sizes[3] // ratios[1],
            num_tokens=num_reqs,
        ),
    ]  # fmt: skip


#: Arrays of vLLM that are not int32; of ``before_decode`` all of them.
DTYPES = {
    "last_sampled_tokens": "int64",
    "draft_tokens": "int64",
    "out_positions": "int64",
    "out_logits_indices": "int64",
    "slots": "int64",
    "out_c4_slots": "int64",
    "out_indexer_slots": "int64",
    "out_c128_slots": "int64",
    "out_valid": "uint8",
}


class Typed(NamedTuple):
    """Stands for an array of which a text depends on the dtype only."""

    name: str
    dtype: str


class Arrays(dict[str, Any]):
    """Any array that is asked for, one object each."""

    def __missing__(self, name: str) -> Any:
        dtype = DTYPES.get(name, "int32")
        groups = range(len(BLOCK_SIZES))
        if name in ("slots", "block_tables", "out_block_tables"):
            self[name] = [Typed(f"{name}{group}", dtype) for group in groups]
        else:
            self[name] = Typed(name, dtype)
        return self[name]


def text_of(functions: list[Callable[[], None]], num_reqs: int | None = None) -> str:
    """``step_text`` of calls with these stand-ins."""
    shapes, arrays, _ = describe(collect(functions)[0], num_reqs)
    launcher = launcher_of(shapes)
    return launcher.write(tuple(a.dtype for a in launcher.arrays_of(arrays)))[0]


def texts(block_sizes: tuple[int, ...] = BLOCK_SIZES, window: int = WINDOW) -> Iterator[str]:
    """What comes before the graph of a V4 decode: as one launch, and call by call."""
    calls = before_decode(
        Arrays(), num_reqs=1, c128_width=1, block_sizes=block_sizes, window=window
    )
    yield text_of(calls, num_reqs=1)
    for call in calls:
        yield text_of([call])
