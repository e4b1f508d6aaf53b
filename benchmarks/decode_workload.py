# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Decode replay: the buffers of one step, and each way to fill them.

Types and shapes are SGLang's: int64 lengths and pool indices, an int32
`req_to_token` with a row per request, destinations as wide as the graph's
longest request. Its names are used for the fields too, with `nsa` for `dsa`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from peers import SGLang

PAGE_SIZE = 64
TOPK = 2048
BACKENDS = 3
POISON = -7

Fields = dict[str, torch.Tensor]

FIELDS = (
    "cache_seqlens",
    "cu_seqlens_k",
    "page_table_1",
    "nsa_cache_seqlens",
    "nsa_cu_seqlens_k",
    "real_page_table",
)


@dataclass(frozen=True)
class Shape:
    bs: int
    max_len: int

    def __str__(self) -> str:
        return f"{self.bs} x {self.max_len}"

    @property
    def pages(self) -> int:
        return -(-self.max_len // PAGE_SIZE)

    @property
    def fused_bytes(self) -> int:
        """What one launch has to move: the tables, read once, written to each."""
        table, real = 4 * self.bs * self.max_len, 4 * self.bs * self.pages
        return table + BACKENDS * (table + real)


def new_fields(shape: Shape) -> Fields:
    def empty(*sizes: int) -> torch.Tensor:
        return torch.full(sizes, POISON, dtype=torch.int32, device="cuda")

    return {
        "cache_seqlens": empty(shape.bs),
        "cu_seqlens_k": empty(shape.bs + 1),
        "page_table_1": empty(shape.bs, shape.max_len),
        "nsa_cache_seqlens": empty(shape.bs),
        "nsa_cu_seqlens_k": empty(shape.bs + 1),
        "real_page_table": empty(shape.bs, shape.pages),
    }


class Buffers:
    """One set of inputs, of three backends' fields, and of scratch fields."""

    def __init__(self, shape: Shape, seed: int) -> None:
        random = np.random.default_rng(seed)
        bs, max_len = shape.bs, shape.max_len
        rows = 2 * bs + 1
        self.shape = shape
        self.host_seq_lens = random.integers(
            max_len // 8, max_len, size=bs, endpoint=True
        )
        self.host_pool = random.permutation(rows)[:bs]
        # Pages scattered over a cache, their tokens in order.
        pages = random.integers(1, 1 << 20, size=(rows, shape.pages), dtype=np.int32)
        tokens = np.repeat(pages * PAGE_SIZE, PAGE_SIZE, axis=1)[:, :max_len]
        tokens += np.arange(max_len, dtype=np.int32) % PAGE_SIZE
        self.host_table = np.ascontiguousarray(tokens)

        self.seq_lens = torch.from_numpy(self.host_seq_lens).cuda()
        self.pool = torch.from_numpy(self.host_pool).cuda()
        self.table = torch.from_numpy(self.host_table).cuda()
        self.backends = [new_fields(shape) for _ in range(BACKENDS)]
        self.scratch = new_fields(shape)

    def poison(self) -> None:
        for fields in (*self.backends, self.scratch):
            for tensor in fields.values():
                tensor.fill_(POISON)


def torch_compute(buffers: Buffers) -> Fields:
    """The step in torch, as SGLang writes it where it has no fused kernel."""

    def cumulative(lengths: torch.Tensor) -> torch.Tensor:
        sums = torch.cumsum(lengths, dim=0, dtype=torch.int32)
        return torch.nn.functional.pad(sums, (1, 0))

    max_len = buffers.shape.max_len
    cache_seqlens = buffers.seq_lens.to(torch.int32)
    nsa_cache_seqlens = cache_seqlens.clamp(max=TOPK)
    page_table_1 = buffers.table[buffers.pool, :max_len].contiguous()
    columns = torch.arange(0, max_len, PAGE_SIZE, device="cuda", dtype=torch.int32)
    return {
        "cache_seqlens": cache_seqlens,
        "cu_seqlens_k": cumulative(cache_seqlens),
        "page_table_1": page_table_1,
        "nsa_cache_seqlens": nsa_cache_seqlens,
        "nsa_cu_seqlens_k": cumulative(nsa_cache_seqlens),
        "real_page_table": page_table_1[:, columns] // PAGE_SIZE,
    }


def torch_recomputed(buffers: Buffers) -> None:
    for backend in buffers.backends:
        for name, value in torch_compute(buffers).items():
            backend[name].copy_(value)


def torch_precomputed(buffers: Buffers) -> None:
    computed = torch_compute(buffers)
    for backend in buffers.backends:
        for name, value in computed.items():
            backend[name].copy_(value)


def peer_precompute(sglang: SGLang, buffers: Buffers, fields: Fields) -> None:
    """One launch of SGLang's Triton kernel. It writes live columns only."""
    sglang.fused_dsa_decode_metadata(
        seq_lens=buffers.seq_lens,
        req_pool_indices=buffers.pool,
        req_to_token=buffers.table,
        cache_seqlens=fields["cache_seqlens"],
        cu_seqlens_k=fields["cu_seqlens_k"],
        page_table_1=fields["page_table_1"],
        dsa_cache_seqlens=fields["nsa_cache_seqlens"],
        dsa_cu_seqlens_k=fields["nsa_cu_seqlens_k"],
        real_page_table=fields["real_page_table"],
        bs=buffers.shape.bs,
        max_len=buffers.shape.max_len,
        dsa_index_topk=TOPK,
        physical_page_size=PAGE_SIZE,
    )


def peer_copy(sglang: SGLang, buffers: Buffers) -> None:
    """One launch of SGLang's CUDA kernel, from the scratch fields to three."""
    arguments: list[torch.Tensor | None] = []
    for fields in (buffers.scratch, *buffers.backends):
        arguments += [fields[name] for name in FIELDS]
        arguments += [None, None]  # FlashMLA's fields
    bs, max_len = buffers.shape.bs, buffers.shape.max_len
    sglang.fused_metadata_copy_multi_cuda(*arguments, bs, max_len, bs)


def peer(sglang: SGLang, buffers: Buffers) -> None:
    """What SGLang runs for three backends: precompute once, copy to each."""
    peer_precompute(sglang, buffers, buffers.scratch)
    peer_copy(sglang, buffers)


def peer_repeated(sglang: SGLang, buffers: Buffers) -> None:
    """The alternative in SGLang: its precompute kernel once per backend."""
    for fields in buffers.backends:
        peer_precompute(sglang, buffers, fields)


def nsa_arrays(buffers: Buffers) -> Fields:
    """The arguments of nsa's step, by name."""
    arrays = {
        f"b{index}_{name}": tensor
        for index, fields in enumerate(buffers.backends)
        for name, tensor in fields.items()
    }
    arrays["seq_lens"] = buffers.seq_lens
    arrays["req_pool_indices"] = buffers.pool
    arrays["req_to_token"] = buffers.table
    return arrays


def check_outputs(
    buffers: Buffers, expected: dict[str, np.ndarray], live_only: bool
) -> None:
    """Compares every backend's fields with the reference.

    `live_only`: columns of the tables past a request's length are not looked
    at, nor is element 0 of the cumulative sums, which the peer's copy leaves
    as it was allocated (0).
    """
    lengths = buffers.host_seq_lens[:, None]
    for index, fields in enumerate(buffers.backends):
        for name, tensor in fields.items():
            got, want = tensor.cpu().numpy(), expected[name]
            looked_at = np.ones(got.shape, bool)
            if live_only and name.endswith("cu_seqlens_k"):
                looked_at[0] = False
            elif live_only and name == "page_table_1":
                looked_at = np.arange(got.shape[1]) < lengths
            elif live_only and name == "real_page_table":
                looked_at = np.arange(got.shape[1]) < -(-lengths // PAGE_SIZE)
            wrong = np.argwhere((got != want) & looked_at)
            if len(wrong):
                at = tuple(int(i) for i in wrong[0])
                raise AssertionError(
                    f"{buffers.shape}: b{index}_{name}{list(at)}: expected "
                    f"{want[at]} but got {got[at]} ({len(wrong)} differ)"
                )
