# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of a paged cache: the buffers, and each way to do it."""

from __future__ import annotations

from typing import Any

import torch

import nsa
from peers import SGLang


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

    def peer(self, sglang: SGLang, out: torch.Tensor | None = None) -> torch.Tensor:
        """[tokens, row]; V4's kernel writes it to `out`, V3.2's allocates."""
        if self.layout.footer_bytes == 0:
            rows = self.cache.view(torch.float8_e4m3fn)
            rows = rows.view(-1, 1, self.layout.data_bytes)
            return sglang.dequantize_k_cache_paged_dsa(rows, self.ids)[:, 0]
        if out is not None:
            out = out[:, None]
        return sglang.dequantize_k_cache_paged_dsv4(
            self.cache, self.ids, self.page_size, out=out
        )[:, 0]
