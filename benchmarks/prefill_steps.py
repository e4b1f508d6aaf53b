# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps of a chunk and of a layer of sparse prefill, and each way to run them.

nsa's are examples/prefill_chunk.mlir and prefill_layer.mlir, one launch each. SGLang's
are what its chunk cache does, called as its attention backend does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from dequant_workload import Buffers, check_rows
from nsa import _cache
from peers import SparsePrefill
from prefill_chunks import (
    BLOCK_RATIO,
    COMPRESSED,
    PAGE_SIZE,
    RATIO,
    SWA,
    SWA_PAGE_SIZE,
    WINDOW,
    Chunk,
    Ints,
    example,
)
from prefill_workload import POISON, Tensors, Way, bind, check, empty, tensor

_LAYOUT = "v4"


def is_ragged(release: SparsePrefill) -> bool:
    """Whether each request's compressed rows of ratio 4 are as many as it has, instead
    of as many as the longest one has."""
    return not hasattr(release.chunk_cache, "ensure_c4")


def kept(release: SparsePrefill, cache: Any) -> Tensors:
    """What a release's chunk cache keeps for layers with compressed rows."""
    if is_ragged(release):
        c4, c128 = cache.compressed[RATIO], cache.compressed[BLOCK_RATIO]
        return {
            "c4_ids": c4.flat_token_ids,
            "c4_compressed_base": c4.compressed_base,
            "c4_swa_base": c4.swa_base,
            "c128_ids": c128.flat_token_ids,
            "c128_indices": c128.combined_indices,
            "c128_lens": c128.combined_lens,
        }
    return {
        "c4_ids": cache.c4_flat_token_ids,
        "c4_compressed_base": cache.c4_compressed_base,
        "c4_swa_base": cache.c4_swa_base,
        "c128_ids": cache.c128_flat_token_ids,
        "c128_indices": cache.c128_combined_indices,
        "c128_lens": cache.c128_combined_lens,
    }


class ChunkStep:
    """What all layers of a chunk share."""

    def __init__(self, chunk: Chunk, device: str = "cuda") -> None:
        self.chunk = chunk
        self.expected = self._expected()
        arrays = {
            "seq_lens": chunk.seq_lens,
            "extend_seq_lens": chunk.extend_seq_lens,
            "req_to_token": chunk.req_to_token,
            "full_to_swa": chunk.full_to_swa,
            "c4_page_table": chunk.c4_page_table,
            "c128_page_indices": chunk.c128_page_indices,
        }
        self.inputs = {name: tensor(array, device) for name, array in arrays.items()}
        self.query_start_loc = tensor(chunk.query_start_loc, device)
        self.query_pos = tensor(chunk.positions, device)
        # nsa's example takes 64 bits, SGLang 32.
        self.pool = tensor(chunk.req_pool_indices, device)
        self.pool64 = self.pool.long()

    def _expected(self) -> dict[str, np.ndarray]:
        chunk = self.chunk
        columns = chunk.compressed_columns(BLOCK_RATIO)
        none = np.zeros(chunk.mix.requests, np.int32)
        c0 = chunk.combined(1, 0, None, none, chunk.offsets[:-1])
        c4 = chunk.bases(RATIO)
        c128 = chunk.combined(BLOCK_RATIO, columns, None, *chunk.bases(BLOCK_RATIO))
        return {
            "swa_ids": chunk.swa_ids,
            "swa_first": chunk.first,
            "swa_lens": chunk.gather_lens,
            "swa_offsets": chunk.offsets,
            "c0_indices": c0[0],
            "c0_lens": c0[1],
            "c4_ids": chunk.c4_ids,
            "c4_compressed_base": c4[0],
            "c4_swa_base": c4[1],
            "c128_ids": chunk.c128_ids,
            "c128_indices": c128[0],
            "c128_lens": c128[1],
        }

    def moved_bytes(self) -> int:
        """The outputs, and what has to be read for them: a token and its slot (8 bytes)
        for each id of a window, an id for each of a block."""
        written = sum(4 * array.size for array in self.expected.values())
        return written + 12 * self.chunk.window_rows + 4 * self.chunk.c128_ids.size

    def nsa(self) -> Callable[[], Tensors]:
        """A call that checks its arguments, with new outputs as the peer has them."""
        step, sizes = self._step()

        def run() -> Tensors:
            outputs = self._outputs()
            step(**self.inputs, **self._more_inputs(), **outputs, **sizes)
            return outputs

        return run

    def nsa_bound(self) -> Callable[[], Tensors]:
        step, sizes = self._step()
        outputs = self._outputs()
        bound = step.bind(**self.inputs, **self._more_inputs(), **outputs, **sizes)

        def run() -> Tensors:
            bound.launch(stream=torch.cuda.current_stream().cuda_stream, **sizes)
            return outputs

        return run

    def _step(self) -> tuple[Any, dict[str, int]]:
        chunk = self.chunk
        step = _cache.get_step("prefill_chunk", example("prefill_chunk"), "cuda")
        return step, {
            "bs": chunk.mix.requests,
            "queries": chunk.mix.rows,
            "window_bound": chunk.window_rows,
            "c4_columns": chunk.compressed_columns(RATIO),
            "c128_columns": chunk.compressed_columns(BLOCK_RATIO),
        }

    def _more_inputs(self) -> Tensors:
        return {"query_start_loc": self.query_start_loc, "req_pool_indices": self.pool64}

    def _outputs(self) -> Tensors:
        device = self.pool.device
        return {
            name: torch.empty(array.shape, dtype=torch.int32, device=device)
            for name, array in self.expected.items()
        }

    def peer(self, release: SparsePrefill) -> Callable[[], Any]:
        """Gives the release's chunk cache. It sums up the queries by itself."""
        chunk = self.chunk
        arguments: dict[str, Any] = dict(self.inputs)
        table = arguments.pop("c4_page_table")
        indices = arguments.pop("c128_page_indices")
        arguments |= {
            "req_pool_indices": self.pool,
            "query_lens": self.inputs["extend_seq_lens"],
            "query_pos": self.query_pos,
            "swa_window_size": WINDOW,
            "swa_page_size": SWA_PAGE_SIZE,
            "num_qo_tokens": chunk.mix.rows,
            "max_seq_len": chunk.max_seq_len,
            "total_swa": chunk.window_rows,
            "seq_lens_cpu": chunk.seq_lens.tolist(),
        }
        build = bind(release.chunk_cache.build, arguments)
        ragged = is_ragged(release)

        def run() -> Any:
            cache = build()
            cache.ensure_c128(indices)
            if ragged:
                cache.ensure_compressed(RATIO, table, PAGE_SIZE)
            else:
                cache.ensure_c4(table, PAGE_SIZE)
            return cache

        return run

    def check(self, name: str, outputs: Tensors) -> None:
        check(name, outputs, self.expected)

    def check_peer(self, release: SparsePrefill, cache: Any) -> None:
        got = {
            "swa_ids": cache.swa_token_ids,
            "swa_first": cache.swa_first_pos,
            "swa_lens": cache.swa_gather_lens,
            "swa_offsets": cache.swa_offsets,
            "c0_indices": cache.c0_combined_indices,
            "c0_lens": cache.c0_combined_lens,
            **kept(release, cache),
        }
        expected = dict(self.expected)
        if is_ragged(release):
            names = ("c4_ids", "c4_compressed_base", "c4_swa_base")
            expected |= dict(zip(names, self.chunk.c4_ragged()))
        for name in ("c4_ids", "c128_ids"):
            expected[name] = expected[name].reshape(-1)
        check(release.name, got, expected)


class Caches:
    """The quantised keys: compressed ones, and those of the windows."""

    def __init__(self) -> None:
        compressed = Buffers(_LAYOUT, PAGE_SIZE, COMPRESSED, 1, seed=0)
        self.compressed = compressed.cache
        self.swa = Buffers(_LAYOUT, SWA_PAGE_SIZE, SWA, 1, seed=1).cache
        self.layout = compressed.layout


class LayerStep:
    """What a layer with an indexer needs: its workspace, and the rows of it that queries
    attend to. `gather`: ids and bases of the compressed rows."""

    def __init__(
        self,
        chunk: Chunk,
        caches: Caches,
        gather: tuple[Ints, Ints, Ints],
        device: str = "cuda",
    ) -> None:
        self.chunk = chunk
        self.caches = caches
        ids, compressed_base, swa_base = gather
        self.compressed_rows = ids.size
        topk = chunk.mix.topk
        indices, lens = chunk.combined(
            RATIO, topk, chunk.topk_indices, compressed_base, swa_base
        )
        self.expected = {"indices": indices, "lens": lens}
        arrays = {
            "compressed_ids": ids.reshape(-1),
            "swa_ids": chunk.swa_ids,
            "topk_indices": chunk.topk_indices,
            "query_start_loc": chunk.query_start_loc,
            "seq_lens": chunk.seq_lens,
            "gather_lens": chunk.gather_lens,
            "compressed_base": compressed_base,
            "swa_base": swa_base,
        }
        self.inputs = {name: tensor(array, device) for name, array in arrays.items()}
        rows = self.compressed_rows + chunk.window_rows
        shape = (rows, caches.layout.row)
        self.workspace = torch.empty(shape, dtype=torch.bfloat16, device=device)
        self.parts = self.workspace.split([self.compressed_rows, chunk.window_rows])
        self.outputs = {
            name: empty(*array.shape, device=device)
            for name, array in self.expected.items()
        }
        self.reference: torch.Tensor | None = None

    def moved_bytes(self) -> int:
        layout = self.caches.layout
        row = layout.token_bytes + 4 + 2 * layout.row
        return len(self.workspace) * row + self.chunk.combine_bytes()

    def nsa(self) -> Way:
        sizes = {
            "bs": self.chunk.mix.requests,
            "queries": self.chunk.mix.rows,
            "topk": self.chunk.mix.topk,
            "compressed_tokens": self.compressed_rows,
            "window_tokens": self.chunk.window_rows,
        }
        step = _cache.get_step("prefill_layer", example("prefill_layer"), "cuda")
        bound = step.bind(
            **self.inputs,
            compressed_cache=self.caches.compressed,
            swa_cache=self.caches.swa,
            compressed_kv=self.parts[0],
            swa_kv=self.parts[1],
            **self.outputs,
            **sizes,
        )

        def run() -> Any:
            bound.launch(stream=torch.cuda.current_stream().cuda_stream, **sizes)
            return self.outputs.values()

        return run

    def peer(self, release: SparsePrefill, cache: Any) -> Way:
        """With the chunk cache that the release made."""
        if is_ragged(release):
            combine = partial(cache.combine_compressed, RATIO)
        else:
            combine = cache.combine_c4_layer
        ids = kept(release, cache)["c4_ids"]
        topk = self.inputs["topk_indices"]
        compressed, swa = (part[:, None] for part in self.parts)
        caches = self.caches

        def run() -> Any:
            release.dequantize(caches.compressed, ids, PAGE_SIZE, out=compressed)
            release.dequantize(
                caches.swa, cache.swa_token_ids, SWA_PAGE_SIZE, out=swa
            )
            return combine(topk)

        return run

    def check(self, name: str, way: Way) -> None:
        """Indices with NumPy; the workspace, but for its first rows, with the way that
        was checked first."""
        self.workspace.fill_(POISON)
        check(name, dict(zip(self.expected, way())), self.expected)
        words = self.workspace.view(torch.int16)
        if self.reference is None:
            self.reference = words.clone()
        assert torch.equal(words, self.reference), f"{name}: the workspace differs"
        layout, (compressed, swa) = self.caches.layout, self.parts
        ids = self.inputs["compressed_ids"], self.inputs["swa_ids"]
        check_rows(compressed, self.caches.compressed, ids[0], layout, PAGE_SIZE)
        check_rows(swa, self.caches.swa, ids[1], layout, SWA_PAGE_SIZE)
