# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What vLLM computes before the graph of a DeepSeek V4 decode, and of a step of its draft
model: arrays, and nsa's calls.

Needs neither torch nor a GPU: arrays are made in NumPy, and placed by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nsa import vllm
from nsa.vllm._usual import BLOCK_SIZES, RATIOS, WINDOW, before_decode, draft_step

RATIO = RATIOS[0]
BLOCKS = BLOCK_SIZES
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
        "seq_lens": lens[:R].astype(int32) + 1,
        "num_rejected": zeros(R),
        "positions": lens[:R],
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
        "out_draft_query_start_loc": zeros(R + 1),
        "out_draft_seq_lens": zeros(R),
        # Where vLLM has the positions themselves.
        "out_draft_positions": lens[:R].copy(),
        "out_sample_positions": lens[:R].copy(),
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
    """nsa's functions before a decode, for ``nsa.vllm.one_launch``."""
    return before_decode(a, num_reqs=batch.requests, c128_width=batch.c128_width)


def draft_calls(a: dict[str, Any], batch: Batch) -> list[Callable[[], None]]:
    """Those before a step of the draft model, whose block tables were gathered before."""
    return draft_step(
        a,
        num_reqs=batch.requests,
        c128_width=batch.c128_width,
        max_model_len=batch.context,
    )


def texts() -> set[str]:
    """The steps that the benchmark launches."""
    batch = Batch(2, 4096)
    found = set()
    for make in (calls, draft_calls):
        made = make(place(arrays(batch), lambda array: array), batch)
        found |= {vllm.step_text(*made, num_reqs=batch.requests), *map(vllm.step_text, made)}
    return found
