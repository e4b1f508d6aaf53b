# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Copies of precomputed decode metadata: the buffers, and each way to fill them.

Eight fields, as SGLang's multi-backend copy has them with FlashMLA: the lengths and
their sums, page table, real page table, FlashMLA's splits and scheduler metadata.
"""

from __future__ import annotations

import numpy as np
import torch

import nsa
from peers import SGLang
from replay_modes import DECODE_FIELDS, PAGE_SIZE
from replay_workload import POISON, Fields, Shape

#: Rows of FlashMLA's scheduler metadata, one for each of its parts.
PARTS = 132

#: In the order of the peer's arguments.
FIELDS = (*DECODE_FIELDS, "flashmla_num_splits", "flashmla_metadata")


def field_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    bs, pages = shape.bs, -(-shape.max_len // PAGE_SIZE)
    return {
        "cache_seqlens": (bs,),
        "cu_seqlens_k": (bs + 1,),
        "page_table_1": (bs, shape.max_len),
        "nsa_cache_seqlens": (bs,),
        "nsa_cu_seqlens_k": (bs + 1,),
        "real_page_table": (bs, pages),
        "flashmla_num_splits": (bs + 1,),
        "flashmla_metadata": (PARTS, 8),
    }


class CopyBuffers:
    """A source with random contents and the destinations of `backends`."""

    def __init__(self, shape: Shape, backends: int, seed: int = 0) -> None:
        generator = torch.Generator("cuda").manual_seed(seed)
        self.shape = shape
        self.source: Fields = {}
        for name, sizes in field_shapes(shape).items():
            self.source[name] = torch.randint(
                0, 1 << 30, sizes, dtype=torch.int32, device="cuda", generator=generator
            )
        self.backends: list[Fields] = [
            {name: torch.empty_like(a) for name, a in self.source.items()}
            for _ in range(backends)
        ]

    def moved_bytes(self) -> int:
        """What one launch has to move: everything read once, written to each."""
        count = sum(int(np.prod(s)) for s in field_shapes(self.shape).values())
        return 4 * count * (1 + len(self.backends))

    def poison(self) -> None:
        for fields in self.backends:
            for tensor in fields.values():
                tensor.fill_(POISON)

    def check(self) -> None:
        for number, fields in enumerate(self.backends):
            for name, tensor in fields.items():
                expected = self.source[name].clone()
                if name.endswith("cu_seqlens_k"):
                    expected[0] = POISON
                if not torch.equal(tensor, expected):
                    wrong = int((tensor != expected).sum())
                    raise AssertionError(f"{self.shape}: b{number}_{name}: {wrong} differ")


def copy_torch(buffers: CopyBuffers) -> None:
    """A copy_ for each field of each backend, as engines have it without a kernel."""
    for fields in buffers.backends:
        for name, tensor in fields.items():
            first = 1 if name.endswith("cu_seqlens_k") else 0
            tensor[first:].copy_(buffers.source[name][first:])


def copy_peer(sglang: SGLang, buffers: CopyBuffers) -> None:
    """One launch of SGLang's kernel, for exactly three backends."""
    arguments = [
        fields[name]
        for fields in (buffers.source, *buffers.backends)
        for name in FIELDS
    ]
    bs, max_len = buffers.shape.bs, buffers.shape.max_len
    sglang.fused_metadata_copy_multi_cuda(*arguments, bs, max_len, bs)


def copy_nsa(buffers: CopyBuffers) -> None:
    shape = buffers.shape
    nsa.ops.copy_metadata(
        buffers.source, buffers.backends, bs=shape.bs, max_len=shape.max_len
    )
