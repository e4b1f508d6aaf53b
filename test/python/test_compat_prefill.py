# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's helpers of sparse prefill under their names, in every way to call them."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from prefill_reference import combine, swa_token_ids, windows, workspace_bases

import nsa
from nsa.compat import sglang

WINDOW, RATIO, TOPK = 128, 4, 17
OUTPUTS = ("out_ids", "out_first", "out_lens", "out_offsets")


class Chunk:
    """A chunk's arrays, by SGLang's names, and what the helpers return for them."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        E = np.where(rng.random(7) < 0.3, 0, rng.integers(0, 60, 7)).astype(np.int32)
        S = E + rng.choice([0, 3, 200], 7).astype(np.int32)
        self.ids = {
            "seq_lens": S,
            "extend_seq_lens": E,
            "req_pool_indices": rng.permutation(7).astype(np.int32),
            "req_to_token": rng.integers(0, 900, (7, 300)).astype(np.int32),
            "full_to_swa": rng.integers(0, 5000, 900),
        }
        gathers, _ = windows(S, E, WINDOW)
        self.total = int(gathers.sum())
        self.swa = swa_token_ids(*self.ids.values(), WINDOW, self.total)

        start_loc = np.concatenate([[0], np.cumsum(E)]).astype(np.int32)
        queries = int(E.sum())
        request = np.repeat(np.arange(7), E)
        self.query_pos = (S[request] - start_loc[request + 1] + np.arange(queries)).astype(
            np.int32
        )
        compressed_base, swa_base = workspace_bases(gathers, 70)
        self.indices = {
            "topk_indices": rng.integers(-1, 70, (queries, TOPK + 3)).astype(np.int32),
            "query_start_loc": start_loc,
            "seq_lens": S,
            "gather_lens": gathers,
            "compressed_base": compressed_base,
            "swa_base": swa_base,
        }
        self.sizes = {"window_size": WINDOW, "compress_ratio": RATIO, "topk": TOPK}
        self.queries = queries

    def combined(self, query_pos: np.ndarray | None = None) -> tuple[Any, Any]:
        arguments = (*self.indices.values(), *self.sizes.values())
        return combine(*arguments, self.queries, query_pos)


def check(chunk: Chunk, place: Any, fetch: Any) -> None:
    """All calls, arrays through `place` and results through `fetch`."""

    def same(got: tuple, want: tuple) -> None:
        assert len(got) == len(want)
        for one, other in zip(got, want):
            one = fetch(one)
            assert one.dtype == np.int32 and np.array_equal(one, other)

    ids = {name: place(array) for name, array in chunk.ids.items()}
    want = tuple(chunk.swa[name] for name in OUTPUTS)
    build = sglang.build_swa_token_ids
    same(build(**ids, swa_window=WINDOW, total_swa=chunk.total), want)
    same(build(*ids.values(), WINDOW, chunk.total), want)
    same(build(*ids.values(), WINDOW), want)

    arrays = {name: place(array) for name, array in chunk.indices.items()}
    pos, sizes = place(chunk.query_pos), chunk.sizes
    call, want = sglang.combine_topk_swa_indices, chunk.combined()
    first, others = list(arrays.values())[:2], list(arrays.values())[2:]
    same(call(**arrays, **sizes), want)
    same(call(**arrays, **sizes, query_pos=pos), want)
    same(call(*first, *others, *sizes.values()), want)
    same(call(*first, pos, *others, *sizes.values()), want)
    named = {name: arrays[name] for name in list(arrays)[2:]}
    same(call(*first, **named, **sizes), want)
    same(call(*first, pos, **named, **sizes), want)
    same(call(*first, query_pos=pos, **named, **sizes), want)

    out = [place(np.full(array.shape, 7, np.int32)) for array in want]
    assert call(*first, *others, *sizes.values(), *out)[0] is out[0]
    same(tuple(out), want)
    out = [place(np.full(array.shape, 7, np.int32)) for array in want]
    assert call(*first, pos, *others, *sizes.values(), *out, None, None)[1] is out[1]
    same(tuple(out), want)

    # Positions that lengths do not give, as where ranks share out a chunk.
    shuffled = np.ascontiguousarray(chunk.query_pos[::-1])
    same(call(**arrays, **sizes, query_pos=place(shuffled)), chunk.combined(shuffled))


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
@pytest.mark.parametrize("seed", range(3))
def test_numpy(seed: int) -> None:
    check(Chunk(seed), lambda array: array, lambda array: array)


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_windows_that_are_given() -> None:
    """The same windows as positions say, row by row."""
    chunk = Chunk(1)
    want, lens = chunk.combined()
    ratio_of = np.minimum((chunk.query_pos + 1) // RATIO, TOPK)
    windows_of = np.zeros((chunk.queries, WINDOW), np.int32)
    request = np.repeat(np.arange(7), chunk.ids["extend_seq_lens"])
    for t in range(chunk.queries):
        row = want[t, ratio_of[t] : lens[t]] - chunk.indices["swa_base"][request[t]]
        windows_of[t, : len(row)] = row
    got = sglang.combine_topk_swa_indices(
        **chunk.indices, **chunk.sizes, query_pos=chunk.query_pos, swa_indices=windows_of,
        swa_lengths=(lens - ratio_of).astype(np.int32),
    )  # fmt: skip
    np.testing.assert_array_equal(got[0], want)
    np.testing.assert_array_equal(got[1], lens)


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_torch_on_the_host() -> None:
    torch = pytest.importorskip("torch")
    check(Chunk(3), torch.from_numpy, lambda tensor: tensor.numpy())


def test_torch_on_a_gpu() -> None:
    device_or_skip()
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    if not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"):
        pytest.skip("no compiler, and no bundles: NSA_BUNDLE_PATH is not set")
    check(
        Chunk(4), lambda a: torch.from_numpy(a).cuda(), lambda tensor: tensor.cpu().numpy()
    )


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_no_requests() -> None:
    none = np.zeros(0, np.int32)
    table, swa = np.zeros((3, 4), np.int32), np.zeros(5, np.int64)
    ids, first, lens, offsets = sglang.build_swa_token_ids(none, none, none, table, swa, 4)
    assert (len(ids), len(first), len(lens)) == (0, 0, 0) and offsets.tolist() == [0]


def test_width() -> None:
    widths = [sglang.combined_topk_width(topk, 128) for topk in (0, 1, 128, 512, 2048)]
    assert widths == [128, 256, 256, 640, 2176]


def test_errors() -> None:
    chunk = Chunk(0)
    arguments = {**chunk.indices, **chunk.sizes}
    call = sglang.combine_topk_swa_indices
    with pytest.raises(TypeError, match="argument 'swa_lengths': expected with swa_indices"):
        call(**arguments, query_pos=chunk.query_pos, swa_indices=np.zeros((1, 1), np.int32))
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'topk'"):
        call(*list(arguments.values())[:-1])
    with pytest.raises(TypeError, match="unexpected keyword argument 'window'"):
        call(**arguments, window=3)


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
@pytest.mark.parametrize("positioned", [False, True])
def test_windows_alone_need_what_is_shipped(monkeypatch, positioned):
    """Whatever the ratio, and whether indices are given: a layer without compressed rows."""
    from nsa import _cache, _prefill, prebuild

    asked = set()

    def get_step(name, text, target):
        asked.add(text)
        return _cache.get_step(name, text, target)

    monkeypatch.setattr(_prefill, "get_step", get_step)
    monkeypatch.setattr(_prefill, "_steps", {})
    chunk = Chunk(3)
    chunk.sizes["topk"] = 0
    results = []
    for ratio in (1, 4, 128):
        chunk.sizes["compress_ratio"] = ratio
        given = {"query_pos": chunk.query_pos} if positioned else {}
        results.append(sglang.combine_topk_swa_indices(**chunk.indices, **chunk.sizes, **given))
    for indices, lens in results[1:]:
        np.testing.assert_array_equal(indices, results[0][0])
        np.testing.assert_array_equal(lens, results[0][1])
    assert (results[0][1] > 0).any()
    assert len(asked) == 1 and asked <= set(prebuild.prefills())
