# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of a paged cache: the buffers, and each way to do it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

import nsa
from dequant_reference import canonical, reference_dequant
from peers import SGLang, SparsePrefill


def check_rows(
    out: torch.Tensor,
    cache: torch.Tensor,
    ids: torch.Tensor,
    layout: nsa.layouts.KVLayout,
    page_size: int,
) -> None:
    """Compares the first rows with NumPy, without the whole cache on the host."""
    rows = min(len(ids), 256)
    ids = ids[:rows].long()
    pages = cache[ids // page_size].cpu().numpy()
    local = torch.arange(rows) * page_size + (ids % page_size).cpu()
    want = reference_dequant(pages, local.numpy(), layout, page_size)
    got = out[:rows].view(torch.int16).cpu().numpy().view("uint16")
    assert (canonical(got) == canonical(want)).all(), "differs from the reference"


class Buffers:
    """A cache of `cached` tokens with what engines write to one, and `tokens` of
    their ids, drawn at random: scales near 1, no NaN, rope numbers like keys."""

    def __init__(
        self, layout: str, page_size: int, cached: int, tokens: int, seed: int
    ) -> None:
        self.layout = nsa.layouts.parse(layout)
        self.name = layout
        self.page_size = page_size
        self.tokens = tokens
        random = torch.Generator("cuda").manual_seed(seed)
        pages = cached // page_size
        stride = self.layout.page_stride(page_size)
        cache = torch.randint(
            0, 256, (pages, stride), dtype=torch.uint8, device="cuda", generator=random
        )
        cache -= ((cache & 0x7F) == 0x7F).to(torch.uint8)
        self.cache = cache
        self._write_scales(random)
        for run in self.layout.fields:
            if run.type == "bf16":
                shape = (pages, page_size, run.count)
                keys = torch.randn(shape, device="cuda", generator=random)
                self._view(run.offset, run.nbytes).copy_(
                    keys.to(torch.bfloat16).view(torch.uint8)
                )
        self.ids = torch.randint(
            0, pages * page_size, (tokens,), device="cuda", generator=random
        ).to(torch.int32)

    def _view(self, offset: int, nbytes: int, footer: bool = False) -> torch.Tensor:
        """[pages, page size, nbytes] of every token's data, or of its footer entry."""
        stride = self.layout.footer_bytes if footer else self.layout.data_bytes
        first = self.page_size * self.layout.data_bytes if footer else 0
        return self.cache.as_strided(
            (len(self.cache), self.page_size, nbytes),
            (self.cache.stride(0), stride, 1),
            first + offset,
        )

    def _write_scales(self, random: torch.Generator) -> None:
        run = self.layout.scales
        view = self._view(run.offset, run.nbytes, self.layout.footer_bytes > 0)
        shape = (len(self.cache), self.page_size, run.count)
        if run.type == "ue8m0":
            scales = torch.randint(
                117, 138, shape, dtype=torch.uint8, device="cuda", generator=random
            )
        else:
            scales = torch.rand(shape, device="cuda", generator=random) + 0.5
            scales = scales.view(torch.uint8)
        view.copy_(scales)

    @property
    def moved_bytes(self) -> int:
        """What has to be read and written: each token's bytes, its id, its row."""
        return self.tokens * (self.layout.token_bytes + 4 + 2 * self.layout.row)

    def new_output(self) -> torch.Tensor:
        shape = (self.tokens, self.layout.row)
        return torch.full(shape, -7.0, dtype=torch.bfloat16, device="cuda")

    def peers(
        self, sglang: SGLang, releases: list[SparsePrefill]
    ) -> dict[str, Callable[[torch.Tensor], torch.Tensor]]:
        """By name, what gives [tokens, row]: V4's kernels write it to the array given,
        V3.2's allocates."""
        if self.layout.footer_bytes == 0:
            return {sglang.name: lambda out: self._peer_v32(sglang)}
        return {
            release.name: partial(self._peer_v4, release) for release in releases
        }

    def _peer_v32(self, sglang: SGLang) -> torch.Tensor:
        rows = self.cache.view(torch.float8_e4m3fn)
        rows = rows.view(-1, 1, self.layout.data_bytes)
        return sglang.dequantize_k_cache_paged_dsa(rows, self.ids)[:, 0]

    def _peer_v4(self, release: SparsePrefill, out: torch.Tensor) -> torch.Tensor:
        out = out[:, None]
        return release.dequantize(self.cache, self.ids, self.page_size, out=out)[:, 0]
