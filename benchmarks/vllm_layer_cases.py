# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of a layer's index lists, in NumPy. Needs neither torch nor a GPU."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

CONTEXT, BLOCK = 65536, 64


@dataclass(frozen=True)
class Layer:
    name: str
    function: str
    arguments: Callable[[], dict[str, Any]]
    #: New arrays, or what is written to `out`.
    returns: bool = True


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def table(requests: int, columns: int, blocks: int = 1 << 16) -> np.ndarray:
    return random().integers(1, blocks, (requests, columns)).astype(np.int32)


def convert(tokens: int, count: bool) -> dict[str, Any]:
    rng = random()
    indices = rng.integers(0, CONTEXT, (tokens, 2048)).astype(np.int32)
    indices[:, 1800:] = -1
    return {
        "req_id": np.arange(tokens, dtype=np.int32),
        "block_table": table(tokens, CONTEXT // BLOCK),
        "token_indices": indices,
        "return_valid_counts": count,
    }


def global_topk(tokens: int) -> dict[str, Any]:
    indices = random().integers(0, CONTEXT // 4, (tokens, 512)).astype(np.int32)
    return {
        "topk_indices": indices,
        "token_to_req_indices": np.arange(tokens, dtype=np.int32),
        "block_table": table(tokens, CONTEXT // 256),
        "block_size": 64,
        "is_valid_token": np.ones(tokens, np.bool_),
    }


def combine(requests: int, queries: int) -> dict[str, Any]:
    rng = random()
    starts = np.arange(requests + 1) * (queries // requests)
    lens = (queries // requests + rng.integers(0, 16384, requests)).astype(np.int32)
    gathers = queries // requests + np.minimum(lens - queries // requests, 127)
    most = int(lens.max()) // 4
    return {
        "topk_indices": rng.integers(0, most, (queries, 512)).astype(np.int32),
        "query_start_loc": starts.astype(np.int32),
        "seq_lens": lens,
        "gather_lens": gathers.astype(np.int32),
        "window_size": 128,
        "compress_ratio": 4,
        "topk": 512,
        "M": most + int(gathers.max()),
        "N": most,
    }


def gather(requests: int, tokens: int) -> dict[str, Any]:
    rng = random()
    pages = requests * tokens // BLOCK
    page = 584 * BLOCK
    cache = rng.integers(0, 0x7F, (pages, page), np.uint8)
    cache[:, 576 * BLOCK :] = rng.integers(120, 134, (pages, 8 * BLOCK))
    return {
        "out": np.zeros((requests, tokens + 128, 512), np.uint16),
        "k_cache": cache.reshape(pages, BLOCK, 584),
        "seq_lens": np.full(requests, tokens, np.int32),
        "gather_lens": None,
        "block_table": rng.permutation(pages)
        .reshape(requests, tokens // BLOCK)
        .astype(np.int32),
        "block_size": BLOCK,
        "offset": 64,
    }


CASES = [
    *(
        Layer(
            f"slots of 2,048 indices, {tokens} tokens{', compacted' if count else ''}",
            "triton_convert_req_index_to_global_index",
            partial(convert, tokens, count),
        )
        for tokens in (1, 32, 256)
        for count in (False, True)
    ),
    *(
        Layer(
            f"slots of 512 compressed indices, {tokens} tokens",
            "compute_global_topk_indices_and_lens",
            partial(global_topk, tokens),
        )
        for tokens in (1, 32, 256)
    ),
    *(
        Layer(
            f"combined lists, {requests} x {8192 // requests} queries",
            "combine_topk_swa_indices",
            partial(combine, requests, 8192),
        )
        for requests in (1, 8)
    ),
    *(
        Layer(
            f"gather of a V4 cache, {requests} x {tokens} tokens",
            "dequantize_and_gather_k_cache",
            partial(gather, requests, tokens),
            returns=False,
        )
        for requests, tokens in ((1, 8192), (8, 4096))
    ),
]


def texts() -> set[str]:
    """The steps that the benchmark launches."""
    from nsa.compat import vllm
    from nsa.vllm import step_text

    return {
        step_text(partial(getattr(vllm, layer.function), **layer.arguments()))
        for layer in CASES
    }
