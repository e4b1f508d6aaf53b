# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Index combine and window ids of a chunk: the arrays, and each way to fill them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np
import torch

import nsa
from peers import SparsePrefill
from prefill_chunks import RATIO, WINDOW, Chunk

POISON = -7
Tensors = dict[str, torch.Tensor]
#: Gives the outputs that it writes, in an order of its own.
Way = Callable[[], Iterable[torch.Tensor]]


def tensor(array: np.ndarray, device: str = "cuda") -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


def empty(*shape: int, device: str = "cuda") -> torch.Tensor:
    return torch.full(shape, POISON, dtype=torch.int32, device=device)


def bind(function: Callable[..., Any], arguments: dict[str, Any]) -> Callable[[], Any]:
    """A call of a peer's function with those arguments that its release takes."""
    names = inspect.signature(function).parameters
    return partial(function, **{n: a for n, a in arguments.items() if n in names})


def check(way: str, got: Tensors, expected: dict[str, np.ndarray]) -> None:
    assert got.keys() == expected.keys(), f"{way}: {set(got) ^ set(expected)}"
    for name, want in expected.items():
        have = got[name]
        if not torch.equal(have, tensor(want, str(have.device))):
            raise AssertionError(f"{way}: {name} differs from the reference")


class Combine:
    """The rows that queries attend to, in a layer with an indexer."""

    def __init__(self, chunk: Chunk, device: str = "cuda") -> None:
        compressed, swa = chunk.bases(RATIO)
        topk = chunk.mix.topk
        indices, lens = chunk.combined(RATIO, topk, chunk.topk_indices, compressed, swa)
        self.expected = {"out_indices": indices, "out_lens": lens}
        arrays = {
            "topk_indices": chunk.topk_indices,
            "query_start_loc": chunk.query_start_loc,
            "seq_lens": chunk.seq_lens,
            "gather_lens": chunk.gather_lens,
            "compressed_base": compressed,
            "swa_base": swa,
        }
        self.inputs: dict[str, Any] = {n: tensor(a, device) for n, a in arrays.items()}
        self.inputs |= {"compress_ratio": RATIO, "topk": topk}
        self.query_pos = tensor(chunk.positions, device)
        self.outputs = {
            name: empty(*array.shape, device=device)
            for name, array in self.expected.items()
        }

    def nsa(self) -> Way:
        def run() -> Iterable[torch.Tensor]:
            nsa.ops.combine_topk_swa_indices(**self.inputs, window=WINDOW, **self.outputs)
            return self.outputs.values()

        return run

    def peer(self, release: SparsePrefill, allocates: bool) -> Way:
        """Into the same outputs, where older releases expect -1; or into new ones."""
        arguments = {**self.inputs, "query_pos": self.query_pos, "window_size": WINDOW}
        if not allocates:
            arguments |= self.outputs
        return bind(release.combine_topk_swa_indices, arguments)

    def check(self, name: str, way: Way, fill: int = POISON) -> None:
        for output in self.outputs.values():
            output.fill_(fill)
        check(name, dict(zip(self.expected, way())), self.expected)


class WindowIds:
    """The cached tokens that a chunk's windows span."""

    def __init__(self, chunk: Chunk, device: str = "cuda") -> None:
        arrays = {
            "seq_lens": chunk.seq_lens,
            "extend_seq_lens": chunk.extend_seq_lens,
            "req_pool_indices": chunk.req_pool_indices,
            "req_to_token": chunk.req_to_token,
            "full_to_swa": chunk.full_to_swa,
        }
        self.inputs = {name: tensor(array, device) for name, array in arrays.items()}
        self.expected = {
            "out_ids": chunk.swa_ids,
            "out_first": chunk.first,
            "out_lens": chunk.gather_lens,
            "out_offsets": chunk.offsets,
        }
        self.outputs = {
            name: empty(len(array), device=device)
            for name, array in self.expected.items()
        }
        self.total = chunk.window_rows

    def nsa(self) -> Way:
        def run() -> Iterable[torch.Tensor]:
            nsa.ops.build_swa_token_ids(**self.inputs, window=WINDOW, **self.outputs)
            return self.outputs.values()

        return run

    def peer(self, release: SparsePrefill) -> Way:
        """Its function, told the number of ids."""
        known = {"swa_window": WINDOW, "total_swa": self.total}
        return bind(release.build_swa_token_ids, {**self.inputs, **known})

    def peer_fetching(self, release: SparsePrefill) -> Way:
        """The same where only the device knows the lengths: their sum is fetched."""
        call = partial(release.build_swa_token_ids, **self.inputs, swa_window=WINDOW)
        lens, extend = self.inputs["seq_lens"], self.inputs["extend_seq_lens"]

        def run() -> Iterable[torch.Tensor]:
            total = torch.minimum(lens, extend + (WINDOW - 1)).sum()
            return call(total_swa=int(total))

        return run

    def peer_kernel(self, release: SparsePrefill) -> Way:
        """Its kernel alone, given what it computes with torch beforehand."""
        given = [
            tensor(self.expected[name], str(self.inputs["seq_lens"].device))
            for name in ("out_first", "out_lens", "out_offsets")
        ]
        ids, table = self.outputs["out_ids"], self.inputs["req_to_token"]
        pool, swa = self.inputs["req_pool_indices"], self.inputs["full_to_swa"]
        kernel = release.swa_token_ids_kernel[(len(pool), 128)]

        def run() -> Iterable[torch.Tensor]:
            kernel(ids, *given, pool, table, table.stride(0), swa)
            return [ids, *given]

        return run

    def check(self, name: str, way: Way) -> None:
        for output in self.outputs.values():
            output.fill_(POISON)
        check(name, dict(zip(self.expected, way())), self.expected)
