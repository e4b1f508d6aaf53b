# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sparse prefill from quantised, paged caches to attention, for every kind of layer.

Requests have keys (which are values, too) that are quantised and scattered over the
pages of caches. The chunk's step and the layers' make a workspace and indices of them;
attention over what those name has to be attention over the keys as they were before
paging: the last 128 positions, and compressed tokens as the kind of layer has them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from dequant_reference import E4M3, to_bf16
from prefill_step_cases import CHUNK, LAYER, WINDOW

import nsa
from nsa import layouts, steps

V4 = layouts.parse("v4")
NOPE, ROW = 448, 512
SWA_PAGE, PAGE = 256, 64
TOPK = 64


def gpu_texts() -> set[str]:
    """Every text that the GPU tests of steps ask for."""
    parts = [(V4, page_size, "int32") for page_size in (PAGE, SWA_PAGE)]
    return {CHUNK, LAYER} | {steps.dequant_paged([part]) for part in parts}


class HostLibrary:
    """What gpu_libraries have, for NumPy."""

    def asarray(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def asnumpy(self, array: np.ndarray) -> np.ndarray:
        return array

    def synchronize(self) -> None:
        pass


# ----------------------------------------------------------------------------
# Quantised caches
# ----------------------------------------------------------------------------


def from_bf16(words: np.ndarray) -> np.ndarray:
    return (words.astype(np.uint32) << 16).view(np.float32)


def quantise_e4m3(values: np.ndarray) -> np.ndarray:
    """The byte of the nearest number, for magnitudes up to 448."""
    numbers = E4M3[:0x7F]
    upper = np.clip(np.searchsorted(numbers, np.abs(values)), 1, len(numbers) - 1)
    nearer = np.abs(values) - numbers[upper - 1] < numbers[upper] - np.abs(values)
    return (np.where(nearer, upper - 1, upper) | np.signbit(values) * 0x80).astype(np.uint8)


def quantise_v4(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(data [n, 576], scales [n, 8]) of float32 [n, 512]: a power of two for every 64."""
    groups = values[:, :NOPE].reshape(-1, NOPE // V4.group, V4.group)
    largest = np.maximum(np.abs(groups).max(axis=2), 1e-9)
    exponent = np.ceil(np.log2(largest / 448)).astype(int)
    nope = quantise_e4m3(np.ldexp(groups, -exponent[:, :, None]))
    rope = to_bf16(values[:, NOPE:]).view(np.uint8)
    data = np.concatenate([nope.reshape(len(values), NOPE), rope], axis=1)
    scales = np.zeros((len(values), V4.footer_bytes), np.uint8)
    scales[:, : exponent.shape[1]] = exponent + 127
    return data, scales


def dequantise_v4(data: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """float32 [n, 512] of what bf16 holds."""
    factors = np.ldexp(np.float32(1), scales[:, : NOPE // V4.group].astype(int) - 127)
    nope = E4M3[data[:, :NOPE]] * np.repeat(factors, V4.group, axis=1)
    rope = np.ascontiguousarray(data[:, NOPE:]).view(np.uint16)
    return from_bf16(np.concatenate([to_bf16(nope.astype(np.float32)), rope], axis=1))


class PagedCache:
    """A v4 cache; every slot that nobody fills holds NaN."""

    def __init__(self, slots: int, page_size: int) -> None:
        self.page_size = page_size
        pages = -(-slots // page_size)
        self.bytes = np.full((pages, V4.page_stride(page_size)), 0x7F, np.uint8)

    def store(self, slots: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Quantises `values` into `slots`; returns what is left of them."""
        data, scales = quantise_v4(values)
        page, slot = np.divmod(slots, self.page_size)
        for n in range(len(values)):
            row, at = self.bytes[page[n]], slot[n] * V4.data_bytes
            row[at : at + V4.data_bytes] = data[n]
            at = self.page_size * V4.data_bytes + slot[n] * V4.footer_bytes
            row[at : at + V4.footer_bytes] = scales[n]
        return dequantise_v4(data, scales)


# ----------------------------------------------------------------------------
# A chunk of requests
# ----------------------------------------------------------------------------

#: (length, queries): a whole prompt, a continued one, a short one, no queries, one query
#: on a page's end, no tokens.
REQUESTS = ((300, 300), (700, 40), (5, 5), (200, 0), (512, 1), (0, 0), (131, 9))


class Chunk:
    """Requests with their keys, where these are cached, and what an engine knows."""

    def __init__(self, seed: int) -> None:
        rng = self.rng = np.random.default_rng(seed)
        order = rng.permutation(len(REQUESTS))
        self.S, self.E = np.array(REQUESTS, np.int32)[order].T.copy()
        self.bs, self.queries = len(order), int(self.E.sum())
        self.start_loc = np.concatenate([[0], np.cumsum(self.E)]).astype(np.int32)
        self.columns = {ratio: max(self.S.max() // ratio, 1) for ratio in (4, 128)}
        self.request = np.repeat(np.arange(self.bs), self.E)
        in_request = np.arange(self.queries) - self.start_loc[self.request]
        self.pos = self.S[self.request] - self.E[self.request] + in_request
        self.q = rng.normal(size=(self.queries, ROW)).astype(np.float32)
        self._cache_tokens()
        self.compressed = {ratio: self._cache_compressed(ratio) for ratio in (4, 128)}

    def _keys(self, count: int) -> np.ndarray:
        size = np.exp2(self.rng.integers(-6, 4, (count, 1)))
        return (self.rng.normal(size=(count, ROW)) * size).astype(np.float32)

    def _cache_tokens(self) -> None:
        """Every token has an id at random, and that a slot at random."""
        rng, total = self.rng, int(self.S.sum())
        self.pool = rng.permutation(self.bs + 3)[: self.bs].astype(np.int64)
        self.req_to_token = np.zeros((self.bs + 3, self.S.max() + 10), np.int32)
        self.full_to_swa = np.zeros(2 * total, np.int64)
        ids = rng.permutation(2 * total)[:total]
        self.full_to_swa[ids] = rng.permutation(2 * total)[:total]
        self.cache = PagedCache(2 * total, SWA_PAGE)
        self.keys = []
        for b, length in enumerate(self.S):
            mine, ids = ids[:length], ids[length:]
            self.req_to_token[self.pool[b], :length] = mine
            self.keys.append(self.cache.store(self.full_to_swa[mine], self._keys(length)))

    def _cache_compressed(self, ratio: int) -> tuple[PagedCache, np.ndarray, list]:
        """(cache, table with a row for each query, keys): pages of 64 tokens, or for
        ratio 128 their ids as far as the query sees them."""
        rng, counts = self.rng, self.S // ratio
        pages = -(-counts // PAGE)
        numbers = rng.permutation(int(pages.sum()) + 4)
        cache = PagedCache(len(numbers) * PAGE, PAGE)
        width = self.columns[ratio] if ratio == 128 else -(-self.columns[ratio] // PAGE)
        table = np.full((self.queries, width), -1, np.int32)
        keys = []
        for b, count in enumerate(counts):
            mine, numbers = numbers[: pages[b]], numbers[pages[b] :]
            slots = (mine[:, None] * PAGE + np.arange(PAGE)).ravel()[:count]
            keys.append(cache.store(slots, self._keys(count)))
            for t in range(self.start_loc[b], self.start_loc[b + 1]):
                seen = (self.pos[t] + 1) // ratio
                entries = slots[:seen] if ratio == 128 else mine
                table[t, : len(entries)] = entries
        return cache, table, keys

    def draw_topk(self) -> np.ndarray:
        """What an indexer chooses: any of the compressed tokens before a query, holes
        among them, and behind them whatever was there."""
        chosen = self.rng.integers(0, 10**6, (self.queries, TOPK)).astype(np.int32)
        for t, pos in enumerate(self.pos):
            seen = (pos + 1) // 4
            count = min(seen, TOPK)
            chosen[t, :count] = self.rng.permutation(seen)[:count]
            chosen[t, :count][self.rng.random(count) < 0.1] = -1
        return chosen


def attend(q: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Softmax attention of one query over keys that are values."""
    scores = rows @ q / np.float32(np.sqrt(ROW))
    weights = np.exp(scores - scores.max())
    return weights @ rows / weights.sum()


def expected_rows(chunk: Chunk, t: int, ratio: int, topk: np.ndarray) -> np.ndarray:
    """The keys that query `t` attends to."""
    b, pos = chunk.request[t], chunk.pos[t]
    window = chunk.keys[b][max(pos - WINDOW + 1, 0) : pos + 1]
    if ratio == 0:
        return window
    keys = chunk.compressed[ratio][2][b]
    chosen = np.arange((pos + 1) // ratio)
    if ratio == 4:
        chosen = topk[t, : min(len(chosen), TOPK)]
    return np.concatenate([keys[chosen[chosen >= 0]], window])


def check_layer(
    chunk: Chunk,
    ratio: int,
    topk: np.ndarray,
    workspace: np.ndarray,
    indices: np.ndarray,
    lens: np.ndarray,
) -> None:
    rows = from_bf16(workspace)
    for t in range(chunk.queries):
        named = indices[t, : lens[t]]
        assert (indices[t, lens[t] :] == -1).all()
        got = rows[named[named >= 0]]
        want = expected_rows(chunk, t, ratio, topk)
        assert np.array_equal(got, want), f"ratio {ratio}, query {t}"
        assert np.array_equal(attend(chunk.q[t], got), attend(chunk.q[t], want))


# ----------------------------------------------------------------------------
# The steps
# ----------------------------------------------------------------------------


def run_chunk(library: Any, step: Any, chunk: Chunk, total: int) -> dict[str, Any]:
    bs, queries = chunk.bs, chunk.queries
    shapes = {
        "swa_ids": total,
        "swa_first": bs,
        "swa_lens": bs,
        "swa_offsets": bs + 1,
        "c0_indices": (queries, WINDOW),
        "c0_lens": queries,
        "c4_ids": (bs, chunk.columns[4]),
        "c4_compressed_base": bs,
        "c4_swa_base": bs,
        "c128_ids": (bs, chunk.columns[128]),
        "c128_indices": (queries, (chunk.columns[128] + 255) // 128 * 128),
        "c128_lens": queries,
    }
    out = {
        name: library.asarray(np.full(shape, 10**9, np.int32))
        for name, shape in shapes.items()
    }
    inputs = {
        "seq_lens": chunk.S,
        "extend_seq_lens": chunk.E,
        "req_pool_indices": chunk.pool,
        "query_start_loc": chunk.start_loc,
        "req_to_token": chunk.req_to_token,
        "full_to_swa": chunk.full_to_swa,
        "c4_page_table": chunk.compressed[4][1],
        "c128_page_indices": chunk.compressed[128][1],
    }
    step(
        queries=queries,
        window_bound=total,
        c4_columns=chunk.columns[4],
        c128_columns=chunk.columns[128],
        **{name: library.asarray(array) for name, array in inputs.items()},
        **out,
    )
    return out


def check_end_to_end(library: Any, chunk_step: Any, layer_step: Any, seed: int) -> None:
    chunk = Chunk(seed)
    bs = chunk.bs
    total = int(np.minimum(chunk.S, chunk.E + WINDOW - 1).sum())
    out = run_chunk(library, chunk_step, chunk, total)
    topk = chunk.draw_topk()
    swa_cache = library.asarray(chunk.cache.bytes)

    def dequantise(cache: Any, ids: Any, rows: Any, page_size: int) -> None:
        nsa.ops.dequantize_k_cache_paged(cache, ids, rows, "v4", page_size=page_size)

    for ratio in (0, 4, 128):
        first = bs * chunk.columns.get(ratio, 0)
        workspace = library.asarray(np.full((first + total, ROW), 0x7FC0, np.uint16))
        rows = workspace[:first], workspace[first:]
        if ratio == 4:
            cache = library.asarray(chunk.compressed[4][0].bytes)
            indices = library.asarray(np.zeros((chunk.queries, 256), np.int32))
            lens = library.asarray(np.zeros(chunk.queries, np.int32))
            layer_step(
                topk=TOPK,
                queries=chunk.queries,
                compressed_cache=cache,
                compressed_ids=out["c4_ids"].reshape(-1),
                swa_cache=swa_cache,
                swa_ids=out["swa_ids"],
                topk_indices=library.asarray(topk),
                query_start_loc=library.asarray(chunk.start_loc),
                seq_lens=library.asarray(chunk.S),
                gather_lens=out["swa_lens"],
                compressed_base=out["c4_compressed_base"],
                swa_base=out["c4_swa_base"],
                compressed_kv=rows[0],
                swa_kv=rows[1],
                indices=indices,
                lens=lens,
            )
        else:
            indices, lens = out[f"c{ratio}_indices"], out[f"c{ratio}_lens"]
            if ratio:
                cache = library.asarray(chunk.compressed[ratio][0].bytes)
                dequantise(cache, out["c128_ids"].reshape(-1), rows[0], PAGE)
            dequantise(swa_cache, out["swa_ids"], rows[1], SWA_PAGE)
        library.synchronize()
        check_layer(
            chunk,
            ratio,
            topk,
            library.asnumpy(workspace),
            library.asnumpy(indices),
            library.asnumpy(lens),
        )
