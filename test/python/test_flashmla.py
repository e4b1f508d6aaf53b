# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""FlashMLA's schedules against a serial scheduler, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from flashmla_cases import OPTIONS, UNTOUCHED, Options, consume, draw, entries_of, reference

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def schedule(options, lens, parts, extra=None, **more):
    rows = np.full((parts, 8), UNTOUCHED, np.int32)
    splits = np.full(len(lens) + 1, UNTOUCHED, np.int32)
    given = {"extra_topk": options.extra} if extra is None else {"extra_lens": extra}
    nsa.ops.flashmla_schedule(lens, rows, splits, **given, **options.arguments, **more)
    return rows, splits


def check(options, lens, parts, extra=None, **more):
    rows, splits = schedule(options, lens, parts, extra, **more)
    wanted_rows, wanted_splits = reference(options, lens, parts, extra)
    np.testing.assert_array_equal(rows, wanted_rows)
    np.testing.assert_array_equal(splits, wanted_splits)
    return rows, splits


def extra_of(options, rng, bs):
    return draw(rng, bs) if options.extra == "lengths" else None


@pytest.mark.parametrize("name", OPTIONS)
def test_flashmla(name):
    options, rng = OPTIONS[name], np.random.default_rng(0)
    for bs in (0, 1, 2, 7, 64, 300):
        for parts in (1, 2, 33, 132):
            check(options, draw(rng, bs), parts, extra_of(options, rng, bs))


@pytest.mark.parametrize("layout", ["new", "old", "fp8"])
def test_batches(layout):
    """Requests of all sorts."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        bs, parts = rng.integers(1, 12), rng.integers(1, 20)
        lens = rng.integers(0, rng.choice([2, 70, 1000, 30_000]), bs).astype(np.int32)
        check(Options(layout=layout), lens, parts)


def test_int64():
    lens = np.array([2**31 + 5, -(2**40), 10**10], np.int64)
    check(Options(), lens, 5)
    check(Options(sparse=True, extra="lengths"), lens, 5, lens[::-1].copy())


@pytest.mark.parametrize("name", ["dense", "sparse-extra", "topk", "dense-fp8"])
def test_simulator(name, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    options, rng = OPTIONS[name], np.random.default_rng(2)
    for bs, parts in ((0, 3), (1, 4), (40, 16), (200, 132)):
        check(options, draw(rng, bs), parts, extra_of(options, rng, bs))


@pytest.mark.parametrize("length", [0, 1, 64, -5, 2**31 - 1])
def test_all_alike(length):
    for bs, parts in ((1, 132), (5, 132), (132, 132), (133, 132)):
        check(Options(), np.full(bs, length, np.int32), parts)


@pytest.mark.parametrize("bs", [4096, 131072])
def test_many_requests(bs):
    rng = np.random.default_rng(3)
    check(Options(), rng.integers(-5, 3000, bs).astype(np.int32), 132)


def test_more_parts_than_a_block_keeps():
    lens = np.random.default_rng(4).integers(0, 9000, 50).astype(np.int32)
    check(Options(), lens, 3000)


def test_constant_topk_needs_no_lengths():
    rows, splits = np.zeros((132, 8), np.int32), np.zeros(10, np.int32)
    nsa.ops.flashmla_schedule(None, rows, splits, topk=2048, bs=9)
    wanted = reference(Options(topk=2048), np.zeros(9, np.int32), 132)
    np.testing.assert_array_equal(rows, wanted[0])
    np.testing.assert_array_equal(splits, wanted[1])
    # The lengths are counted, and not read.
    for lens in (np.zeros(9, np.int32), np.full(9, 77, np.int64)):
        again = check(Options(topk=2048), lens, 132)
        np.testing.assert_array_equal(again[0], rows)


def test_strides_and_fewer_parts():
    """Rows past the parts, requests past bs and what lies between rows stay."""
    lens = draw(np.random.default_rng(5), 20)
    rows, splits = np.full((9, 16), -7, np.int32), np.full(30, -7, np.int32)
    nsa.ops.flashmla_schedule(lens, rows[:, :8], splits[::2], parts=6, bs=13)
    wanted = reference(Options(), lens[:13], 6)
    np.testing.assert_array_equal(rows[:6, :8], wanted[0])
    np.testing.assert_array_equal(splits[:28:2], wanted[1])
    assert (rows[6:] == -7).all() and (rows[:, 8:] == -7).all()
    assert (splits[1::2] == -7).all() and splits[28] == -7


@pytest.mark.parametrize("name", OPTIONS)
def test_consumers_do_all_once(name):
    """Every block of every request is attended to by one part, and each split has a buffer of
    its own, among bs + parts."""
    options, rng = OPTIONS[name], np.random.default_rng(6)
    for bs, parts in ((1, 132), (6, 3), (40, 132), (90, 16)):
        lens, extra = draw(rng, bs), extra_of(options, rng, bs)
        rows, splits = schedule(options, lens, parts, extra)
        entries = entries_of(options, lens, extra)
        seen = {request: [] for request in range(bs)}
        buffers = []
        for request, start, stop, buffer in consume(rows, splits, options.layout, options.block):
            blocks = -(-entries[request] // options.block)
            seen[request] += range(start, blocks if stop is None else min(stop, blocks))
            buffers += [] if buffer is None else [buffer]
        for request, blocks in seen.items():
            assert blocks == list(range(-(-entries[request] // options.block)))
        assert len(set(buffers)) == len(buffers)
        assert all(0 <= buffer < bs + parts for buffer in buffers)
        assert splits[-1] <= bs + parts


def test_stale_schedule():
    """Blocks that came since are attended to by nobody."""
    rows, splits = schedule(Options(layout="old"), np.array([1000, 1000], np.int32), 4)
    last = [(request, stop) for request, _, stop, _ in consume(rows, splits, "old", 64)]
    assert max(stop for request, stop in last if request == 1) == 16


def test_errors():
    lens, rows, splits = np.ones(3, np.int32), np.zeros((4, 8), np.int32), np.zeros(4, np.int32)

    def call(lens=lens, rows=rows, splits=splits, **options):
        nsa.ops.flashmla_schedule(lens, rows, splits, **options)

    with pytest.raises(ValueError, match="'layout': expected one of new, old, fp8"):
        call(layout="newer")
    with pytest.raises(TypeError, match="'seq_lens': missing without topk"):
        call(None)
    with pytest.raises(TypeError, match="'bs': missing without seq_lens"):
        call(None, topk=4)
    with pytest.raises(ValueError, match="'extra_topk': expected none of a dense"):
        call(extra_topk=4)
    with pytest.raises(ValueError, match="'extra_topk': expected no more than one"):
        call(extra_topk=4, extra_lens=lens, sparse=True)
    with pytest.raises(ValueError, match="out_num_splits"):
        call(splits=splits[:3])
    with pytest.raises(ValueError, match="out_metadata"):
        call(rows=rows[:, :7])
    with pytest.raises(ValueError, match="out_metadata"):
        call(parts=5)
    with pytest.raises(TypeError, match="'seq_lens': expected dtype int32 or int64"):
        call(lens.astype(np.float32))
    with pytest.raises(TypeError, match="'topk': expected an integer"):
        call(topk=2.0)
    assert not rows.any() and not splits.any()
