# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What vLLM computes before the graph of a DeepSeek V4 decode: arrays, and nsa's calls.

Needs neither torch nor a GPU: arrays are made in NumPy, and placed by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nsa import vllm

WINDOW, RATIO = 128, 4
#: Tokens in a page of each KV cache group: windows, ratio 4, its indexer, ratio 128.
BLOCKS = (64, 256, 256, 256)
#: Elements that buffers of tokens have, which are written whole.
MAX_TOKENS = 8192
C128_MULTIPLE = 128


@dataclass(frozen=True)
class Batch:
    requests: int
    context: int

    @property
    def c128_width(self) -> int:
        """Columns of the lists of ratio 128, as vLLM chooses them."""
        return max(1 << (self.context // 128 - 1).bit_length(), C128_MULTIPLE)


def arrays(batch: Batch, seed: int = 0) -> dict[str, Any]:
    """Inputs by name, and outputs whose names begin with out_."""
    rng = np.random.default_rng(seed)
    R, states = batch.requests, 2 * batch.requests
    lens = rng.integers(batch.context // 8, batch.context, states)
    columns = [-(-batch.context // size) for size in BLOCKS]
    int32 = np.int32

    def zeros(*shape: int, dtype: Any = int32) -> np.ndarray:
        return np.zeros(shape, dtype)

    made: dict[str, Any] = {
        "idx_mapping": rng.permutation(states)[:R].astype(int32),
        "query_start_loc": np.arange(R + 1, dtype=int32),
        "num_computed_tokens": lens.astype(int32),
        "prefill_len": zeros(states) + 1,
        "all_token_ids": zeros(states, 16),
        "last_sampled_tokens": rng.integers(0, 10**5, states),
        "draft_tokens": zeros(states, 1, dtype=np.int64),
        "cu_num_logits": np.arange(R + 1, dtype=int32),
        "num_blocks": np.stack([-(-(lens + 1) // size) for size in BLOCKS]).astype(int32),
        "block_tables": [rng.integers(1, 1 << 20, (states, c)).astype(int32) for c in columns],
        "replay_start": zeros(R),
        "out_next_prefill_tokens": zeros(1, states),
        "out_input_ids": zeros(MAX_TOKENS),
        "out_positions": zeros(MAX_TOKENS, dtype=np.int64),
        "out_seq_lens": zeros(R),
        "out_logits_indices": zeros(R, dtype=np.int64),
        "out_block_tables": [zeros(R, c) for c in columns],
        "out_slots": zeros(len(BLOCKS), MAX_TOKENS, dtype=np.int64),
        "out_token_to_req": zeros(R),
        "out_valid": zeros(R, dtype=np.bool_),
        "out_swa_indices": zeros(R, WINDOW),
        "out_swa_lens": zeros(R),
        "out_c4_slots": zeros(MAX_TOKENS, dtype=np.int64),
        "out_indexer_slots": zeros(MAX_TOKENS, dtype=np.int64),
        "out_c128_slots": zeros(MAX_TOKENS, dtype=np.int64),
        "out_decode_seq_lens": zeros(MAX_TOKENS),
        "out_decode_block_table": zeros(R, columns[2]),
        "out_decode_lens": zeros(R),
        "out_c128_indices": zeros(R, batch.c128_width),
        "out_c128_lens": zeros(R),
        "out_c128_prefill": zeros(1, batch.c128_width),
    }
    return made


def place(made: dict[str, Any], change: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """The arrays elsewhere; slot mappings also as the rows that they consist of."""
    there = {
        name: [change(a) for a in array] if isinstance(array, list) else change(array)
        for name, array in made.items()
    }
    there["slots"] = [there["out_slots"][g] for g in range(len(BLOCKS))]
    return there


def calls(a: dict[str, Any], batch: Batch) -> list[Callable[[], None]]:
    """nsa's functions, for ``nsa.vllm.one_launch``."""
    slots, tables = a["slots"], a["out_block_tables"]
    starts, lens = a["query_start_loc"], a["out_seq_lens"]

    def compressed(group: int, ratio: int, out: str) -> Callable[[], None]:
        return partial(
            vllm.compressed_slot_mapping, starts, lens, slots[group], tables[group], a[out],
            block_size=BLOCKS[group] // ratio, ratio=ratio,
        )  # fmt: skip

    return [
        partial(
            vllm.pos_seq_lens, a["idx_mapping"], starts, a["num_computed_tokens"],
            a["out_positions"], lens, num_tokens=batch.requests,
        ),
        partial(
            vllm.prefill_inputs, a["idx_mapping"], starts, a["all_token_ids"],
            a["prefill_len"], a["num_computed_tokens"],
            out_next_prefill_tokens=a["out_next_prefill_tokens"],
        ),
        partial(
            vllm.input_ids, a["idx_mapping"], starts, lens, a["cu_num_logits"],
            a["all_token_ids"], a["prefill_len"], a["num_computed_tokens"],
            a["last_sampled_tokens"], a["draft_tokens"], a["out_input_ids"],
            num_tokens=batch.requests,
        ),
        partial(
            vllm.sampled_and_draft_inputs, a["idx_mapping"], starts, lens,
            a["cu_num_logits"], out_logits_indices=a["out_logits_indices"],
        ),
        partial(
            vllm.gather_block_tables, a["idx_mapping"], a["block_tables"], a["num_blocks"],
            tables, block_sizes=BLOCKS, reach=[WINDOW, 0, 0, 0],
            num_computed_tokens=a["num_computed_tokens"], num_rows=batch.requests,
        ),
        partial(
            vllm.slot_mappings, a["idx_mapping"], starts, a["out_positions"],
            a["block_tables"], slots, block_sizes=BLOCKS,
        ),
        partial(vllm.token_to_req_indices, starts, a["out_token_to_req"]),
        partial(
            vllm.swa_indices, starts, lens, tables[0], a["out_swa_indices"],
            a["out_swa_lens"], window=WINDOW, block_size=BLOCKS[0], slot_mapping=slots[0],
            replay_start=a["replay_start"], out_valid=a["out_valid"],
        ),
        compressed(1, RATIO, "out_c4_slots"),
        compressed(2, RATIO, "out_indexer_slots"),
        compressed(3, 128, "out_c128_slots"),
        partial(
            vllm.uniform_decode, lens, next_n=1, out_seq_lens=a["out_decode_seq_lens"],
            block_table=tables[2], out_block_table=a["out_decode_block_table"],
            out_decode_lens=a["out_decode_lens"], ratio=RATIO, num_reqs=batch.requests,
        ),
        partial(
            vllm.c128a_indices, a["out_positions"], num_decode_tokens=batch.requests,
            width=batch.c128_width, token_to_req=a["out_token_to_req"],
            block_table=tables[3], slot_mapping=slots[3],
            out_decode_indices=a["out_c128_indices"], out_decode_lens=a["out_c128_lens"],
            block_size=BLOCKS[3] // 128, num_tokens=batch.requests,
        ),
    ]  # fmt: skip


def texts() -> set[str]:
    """The steps that the benchmark launches."""
    batch = Batch(2, 4096)
    made = calls(place(arrays(batch), lambda array: array), batch)
    return {vllm.step_text(*made, num_reqs=batch.requests), *map(vllm.step_text, made)}
