# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replays for test_torch.py, as arrays of NumPy: their steps are found where there is no torch,
and so reach a GPU that has no compiler beside it."""

from __future__ import annotations

from typing import Any

import numpy as np

import nsa
from sglang_peer_check import asked_texts

TOPK, PAGE_SIZE = 64, 16


def replay_arguments(bs: int = 5, max_len: int = 100) -> dict[str, Any]:
    rng = np.random.default_rng(7)
    return {
        "seq_lens": rng.integers(1, max_len, bs),
        "req_pool_indices": rng.integers(1, 8, bs),
        "req_to_token": rng.integers(1, 1 << 20, (9, max_len), np.int32),
        "max_len": max_len,
        "topk": TOPK,
        "page_size": PAGE_SIZE,
    }


def destinations(bs: int = 5, max_len: int = 100) -> list[dict[str, np.ndarray]]:
    def empty(*shape: int) -> np.ndarray:
        return np.full(shape, -1, np.int32)

    return [
        {
            "cache_seqlens": empty(bs),
            "cu_seqlens_k": empty(bs + 1),
            "nsa_cache_seqlens": empty(bs),
            "page_table_1": empty(bs, max_len),
            "real_page_table": empty(bs, -(-max_len // PAGE_SIZE)),
        },
        {"cu_seqlens_k": empty(bs + 1)},
    ]


def extends(as_array: bool) -> Any:
    """Of all, or of each."""
    return np.full(5, 2, np.int32) if as_array else 2


def texts() -> set[str]:
    """The steps of the tests that run where there is no compiler, too."""

    def call() -> None:
        arguments = replay_arguments()
        nsa.ops.replay_metadata(destinations(), "decode", **arguments)
        for as_array in (False, True):
            nsa.ops.replay_metadata(
                destinations(10), "draft_extend", **arguments, extend_seq_lens=extends(as_array)
            )

    return asked_texts(call)
