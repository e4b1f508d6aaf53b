# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Replay of a forward step: the buffers, and nsa's and torch's ways to fill them.

Types and shapes are SGLang's: int64 lengths and pool indices, an int32 `req_to_token`
with a row per request, destinations as wide as the graph's longest request. Its names
are used for the fields too, with `nsa` for `dsa`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from reference import extend_rows, reference_metadata
from replay_modes import BACKENDS, DRAFT_TOKENS, MODES, PAGE_SIZE, TOPK, Mode, maps_text

from nsa import _cache

POISON = -7

Fields = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Shape:
    bs: int
    max_len: int

    def __str__(self) -> str:
        return f"{self.bs} x {self.max_len}"

    @property
    def pages(self) -> int:
        return -(-self.max_len // PAGE_SIZE)


#: That every benchmark of metadata takes.
SHAPES = [
    Shape(1, 1024),
    Shape(32, 1024),
    Shape(128, 1024),
    Shape(32, 16384),
    Shape(32, 131072),
    Shape(128, 16384),
]


def add_shapes(parser: argparse.ArgumentParser) -> None:
    """``--shapes`` and the ``--seed`` of what is drawn for them."""
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--shapes",
        help="such as 1x1024,32x16384",
        type=lambda text: [Shape(*map(int, s.split("x"))) for s in text.split(",")],
        default=SHAPES,
    )


def add_modes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--modes",
        type=lambda text: [MODES[name] for name in text.split(",")],
        default=list(MODES.values()),
        help=f"some of {','.join(MODES)}",
    )


class Buffers:
    """One set of inputs, of the backends' fields, and of scratch fields."""

    def __init__(
        self, shape: Shape, mode: Mode, backends: int = BACKENDS, seed: int = 0
    ) -> None:
        random = np.random.default_rng(seed)
        bs, max_len = shape.bs, shape.max_len
        rows = 2 * bs + 1
        self.shape, self.mode = shape, mode
        self.host_seq_lens = random.integers(
            max_len // 8, max_len, size=bs, endpoint=True
        )
        self.host_pool = random.permutation(rows)[:bs]
        # Pages scattered over a cache, their tokens in order.
        pages = random.integers(1, 1 << 20, size=(rows, shape.pages), dtype=np.int32)
        tokens = np.repeat(pages * PAGE_SIZE, PAGE_SIZE, axis=1)[:, :max_len]
        tokens += np.arange(max_len, dtype=np.int32) % PAGE_SIZE
        self.host_table = np.ascontiguousarray(tokens)

        # The rows of each request, as the device has them.
        extend = np.full(bs, mode.most_rows, np.int32)
        if mode.is_ragged:
            extend = random.integers(1, DRAFT_TOKENS, bs, np.int32, endpoint=True)
        self.host_extend = extend
        self.request, _, _ = extend_rows(extend, bs)
        self.rows = len(self.request)
        #: Of the destinations, which a graph was captured with.
        self.capacity = bs * mode.most_rows

        self.seq_lens = torch.from_numpy(self.host_seq_lens).cuda()
        self.pool = torch.from_numpy(self.host_pool).cuda()
        self.table = torch.from_numpy(self.host_table).cuda()
        self.extend = torch.from_numpy(extend).cuda()
        self.backends = [self.new_fields(self.capacity) for _ in range(backends)]
        #: As a caller has it who knows the number of rows.
        self.scratch = self.new_fields(self.rows)

    def new_fields(self, rows: int) -> Fields:
        bs, max_len, pages = self.shape.bs, self.shape.max_len, self.shape.pages
        sizes = {
            "cache_seqlens": (bs,),
            "cu_seqlens_k": (bs + 1,),
            "page_table_1": (rows, max_len),
            "nsa_cache_seqlens": (rows,),
            "nsa_cu_seqlens_k": (rows + 1,),
            "real_page_table": (rows, pages),
            "seqlens_expanded": (rows,),
        }
        return {
            name: torch.full(sizes[name], POISON, dtype=torch.int32, device="cuda")
            for name in self.mode.fields
        }

    @property
    def moved_bytes(self) -> int:
        """What one launch has to move: the tables, read once, written to each."""
        row = 4 * (self.shape.max_len + self.shape.pages)
        return 4 * self.shape.bs * self.shape.max_len + len(self.backends) * self.rows * row

    def poison(self) -> None:
        for fields in (*self.backends, self.scratch):
            for tensor in fields.values():
                tensor.fill_(POISON)

    def check(self, live_only: bool) -> None:
        """Compares every backend's fields with the reference.

        `live_only`: columns of the tables past a request's length are not looked at, nor
        is element 0 of the cumulative sums, which the peer's copy leaves as it was
        allocated (0).
        """
        expected = reference_metadata(
            self.mode.mode,
            self.host_seq_lens,
            self.host_pool,
            self.host_table,
            self.shape.max_len,
            TOPK,
            PAGE_SIZE,
            self.mode.next_n,
            self.host_extend,
        )
        lengths = expected["cache_seqlens"][self.request][:, None]
        for index, fields in enumerate(self.backends):
            for name, tensor in fields.items():
                want = expected[name]
                got = tensor[: len(want)].cpu().numpy()
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
                        f"{self.shape}: b{index}_{name}{list(at)}: expected "
                        f"{want[at]} but got {got[at]} ({len(wrong)} differ)"
                    )


# ----------------------------------------------------------------------------
# nsa
# ----------------------------------------------------------------------------


def nsa_step(mode: Mode, backends: int, live_only: bool = False) -> Any:
    return _cache.get_step(mode.step_name, mode.text(backends, live_only), "cuda")


def maps_step() -> Any:
    return _cache.get_step("decode_replay_maps", maps_text(), "cuda")


def nsa_arrays(buffers: Buffers) -> Fields:
    """The arrays of nsa's step, by name."""
    arrays = {
        f"b{index}_{name}": tensor
        for index, fields in enumerate(buffers.backends)
        for name, tensor in fields.items()
    }
    arrays["seq_lens"] = buffers.seq_lens
    arrays["req_pool_indices"] = buffers.pool
    arrays["req_to_token"] = buffers.table
    if buffers.mode.is_ragged:
        arrays["extend_seq_lens"] = buffers.extend
    return arrays


def nsa_sizes(buffers: Buffers) -> dict[str, int]:
    sizes = {"bs": buffers.shape.bs, "max_len": buffers.shape.max_len}
    if buffers.mode.is_ragged:
        sizes["row_bound"] = buffers.capacity
    return sizes


# ----------------------------------------------------------------------------
# torch, for decode
# ----------------------------------------------------------------------------


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
