# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The calls of an engine's usual steps, whose texts are compiled ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from . import _decode, _drafts, _gather, _indices, _inputs, _prefill, _slots, _windows
from ._indices import COLUMNS
from ._launch import collect, describe, launcher_of

#: DeepSeek V4: tokens in a window, how many share a compressed state, and tokens in a page of
#: each KV cache group: windows, the first ratio, its indexer, the second ratio.
WINDOW = 128
RATIOS = (4, 128)
BLOCK_SIZES = (64, 256, 256, 256)
#: Compressed tokens that V4's indexers choose.
TOPKS = (512, 1024)


def decode_metadata(
    a: Mapping[str, Any],
    starts: Any,
    lens: Any,
    positions: Any,
    *,
    num_reqs: int,
    c128_width: int,
    window: int,
    ratios: tuple[int, int],
    block_sizes: tuple[int, ...],
) -> list[Callable[[], None]]:
    """What is computed from starts, lengths and positions of one token a request."""
    slots, tables, owners = a["slots"], a["out_block_tables"], a["out_token_to_req"]

    def compressed(group: int, ratio: int, out: str) -> Callable[[], None]:
        return partial(
            _slots.compressed_slot_mapping, starts, lens, slots[group], tables[group], a[out],
            block_size=block_sizes[group] // ratio, ratio=ratio,
        )  # fmt: skip

    return [
        partial(
            _slots.slot_mappings, a["idx_mapping"], starts, positions, a["block_tables"],
            slots, block_sizes=block_sizes,
        ),
        partial(_decode.token_to_req_indices, starts, owners),
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
            _indices.c128a_indices, positions, num_decode_tokens=num_reqs,
            width=c128_width, token_to_req=owners, block_table=tables[3],
            slot_mapping=slots[3], out_decode_indices=a["out_c128_indices"],
            out_decode_lens=a["out_c128_lens"], block_size=block_sizes[3] // ratios[1],
            num_tokens=num_reqs,
        ),
    ]  # fmt: skip


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
    tables, computed = a["out_block_tables"], a["num_computed_tokens"]
    starts, lens, indices = a["query_start_loc"], a["out_seq_lens"], a["idx_mapping"]
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
        *decode_metadata(
            a, starts, lens, a["out_positions"], num_reqs=num_reqs, c128_width=c128_width,
            window=window, ratios=ratios, block_sizes=block_sizes,
        ),
    ]  # fmt: skip


def draft_step(
    a: Mapping[str, Any],
    *,
    num_reqs: int,
    c128_width: int,
    max_model_len: int,
    window: int = WINDOW,
    ratios: tuple[int, int] = RATIOS,
    block_sizes: tuple[int, ...] = BLOCK_SIZES,
) -> list[Callable[[], None]]:
    """What is computed before a draft model's second step, of one token a request."""
    starts, lens = a["out_draft_query_start_loc"], a["out_draft_seq_lens"]
    sample_positions = a["out_sample_positions"]
    return [
        partial(
            _drafts.draft_decode_inputs, a["seq_lens"], a["num_rejected"],
            max_model_len=max_model_len, draft_tokens=a["draft_tokens"],
            positions=a["positions"], sample_positions=sample_positions,
            out_input_ids=a["out_input_ids"], out_positions=a["out_draft_positions"],
            out_sample_positions=sample_positions, out_query_start_loc=starts,
            out_seq_lens=lens,
        ),
        *decode_metadata(
            a, starts, lens, a["out_draft_positions"], num_reqs=num_reqs,
            c128_width=c128_width, window=window, ratios=ratios, block_sizes=block_sizes,
        ),
    ]  # fmt: skip


#: Arrays of vLLM that are not int32; of ``before_decode`` and ``draft_step`` all of them.
DTYPES = {
    "positions": "int64",
    "last_sampled_tokens": "int64",
    "draft_tokens": "int64",
    "out_positions": "int64",
    "out_draft_positions": "int64",
    "out_sample_positions": "int64",
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


def chunk_and_layers(
    a: Mapping[str, Any], window: int, ratio: int, block_sizes: tuple[int, ...]
) -> list[Callable[[], None]]:
    """What is computed for a chunk of a prefill, and in layers: of V4, and of V3.2 slots of
    the tokens that are chosen."""
    starts, lens = a["query_start_loc"], a["seq_lens"]
    table, indices, chosen = a["block_table"], a["out_indices"], a["topk_indices"]
    owners, gathers = a["out_token_to_req"], a["gather_lens"]
    convert = partial(
        _indices.req_to_global, owners, table, chosen, indices, block_size=block_sizes[0]
    )
    combine = partial(
        _indices.combine_topk_swa_indices, chosen, starts, lens, gathers, indices,
        a["out_lens"], window=window, ratio=ratio, workspace_stride=1, window_offset=1,
        num_tokens=1,
    )  # fmt: skip
    gather = partial(
        _gather.dequantize_and_gather, a["cache"], lens, table, a["workspace"],
        workspace_stride=1, num_reqs=1,
    )  # fmt: skip
    return [
        partial(
            _prefill.prefill_chunk, starts, lens, ratio=ratio, cu_seq_lens=a["cu_seq_lens"],
            local_cu_seq_lens=a["local_cu_seq_lens"], out_ks=a["out_ks"], out_ke=a["out_ke"],
            out_token_to_seq=a["out_token_to_seq"], num_rows=1, num_reqs=1,
        ),
        partial(
            _windows.prefill_gather_lens, starts, lens, a["out_gather_lens"], window=window,
            replay_start=a["replay_start"],
        ),
        *(partial(convert, columns=columns) for columns in (None, *COLUMNS)),
        *(
            partial(convert, compact=True, out_counts=a["out_counts"], columns=columns)
            for columns in (None, *COLUMNS)
        ),
        *(
            partial(
                _indices.global_topk_indices, chosen, owners, table, indices, a["out_lens"],
                block_size=block_sizes[1] // ratio, is_valid=a["out_valid"], columns=columns,
            )
            for columns in (None, *COLUMNS)
        ),
        *(partial(combine, topk=topk) for topk in TOPKS),
        partial(gather, block_size=block_sizes[0], gather_lens=gathers),
        *(partial(gather, block_size=size) for size in compressed_pages(block_sizes)),
    ]  # fmt: skip


def compressed_pages(block_sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Compressed tokens in a page of each ratio."""
    return tuple(dict.fromkeys((block_sizes[1] // RATIOS[0], block_sizes[3] // RATIOS[1])))


def texts(block_sizes: tuple[int, ...] = BLOCK_SIZES, window: int = WINDOW) -> Iterator[str]:
    """What comes before the graph of a V4 decode and of its draft steps, as one launch and
    call by call; and what prefills and layers compute."""
    a = Arrays()
    constants: dict[str, Any] = {
        "num_reqs": 1, "c128_width": 1, "block_sizes": block_sizes, "window": window,
    }  # fmt: skip
    for calls in (
        before_decode(a, **constants),
        draft_step(a, max_model_len=1, **constants),
    ):
        yield text_of(calls, num_reqs=1)
        for call in calls:
            yield text_of([call])
    for call in chunk_and_layers(a, window, RATIOS[0], block_sizes):
        yield text_of([call])
