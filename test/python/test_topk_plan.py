# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Plans of SGLang's top-k against their definition, on the host and in the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from topk_plan_cases import TABLES, UNTOUCHED, consume, draw, reference

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def plan(lens, clusters, arch, **options):
    out = np.full((len(lens) + 1, 2), UNTOUCHED, np.int32)
    nsa.ops.plan_topk(lens, out, clusters=clusters, arch=arch, **options)
    return out


@pytest.mark.parametrize("arch", TABLES)
def test_plan_topk(arch):
    rng = np.random.default_rng(0)
    for rows in (0, 1, 30, 31, 32, 129, 300, 512, 513):
        for _ in range(12):
            lens = draw(rng, rows)
            out = plan(lens, 30, arch)
            np.testing.assert_array_equal(out, reference(lens, 30, arch))


@pytest.mark.parametrize("arch", TABLES)
def test_every_threshold(arch):
    """As many rows as may be above it, and one more."""
    limits, seen = list(TABLES[arch]), set()
    for limit in limits:
        for more in (0, 1):
            lens = np.full(512, 5, np.int32)
            lens[100 : 100 + TABLES[arch][limit] + more] = limit + 1
            out = plan(lens, 33, arch)
            np.testing.assert_array_equal(out, reference(lens, 33, arch))
            seen.add(int(out[0, 0]))
    assert seen == set(limits)


@pytest.mark.parametrize("static", [-(2**31), -1, 0, 1, 32767, 32769, 100_000, 2**31 - 1])
def test_static_threshold(static):
    lens = draw(np.random.default_rng(1), 200)
    for arch in TABLES:
        out = plan(lens, 30, arch, static=static)
        np.testing.assert_array_equal(out, reference(lens, 30, arch, static))


@pytest.mark.parametrize("clusters", [0, 40, 41, 100])
def test_nobody_reads_a_plan(clusters):
    lens = np.full(40, 400_000, np.int32)
    assert (plan(lens, clusters, "sm90") == UNTOUCHED).all()


def test_int64_and_fewer_rows():
    lens = draw(np.random.default_rng(2), 90).astype(np.int64)
    lens[::7] = 300_000
    out = np.full((100, 2), UNTOUCHED, np.int32)
    nsa.ops.plan_topk(lens, out, clusters=12, arch="sm90", bs=50)
    np.testing.assert_array_equal(out[:51], reference(lens[:50], 12, "sm90"))
    assert (out[51:] == UNTOUCHED).all()


def test_simulator(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    rng = np.random.default_rng(3)
    for rows, arch in ((31, "sm90"), (140, "sm100"), (512, "sm90")):
        lens = draw(rng, rows)
        np.testing.assert_array_equal(plan(lens, 30, arch), reference(lens, 30, arch))


@pytest.mark.parametrize("arch", TABLES)
def test_consumers_do_all_once(arch):
    rng = np.random.default_rng(4)
    for rows in (20, 31, 400, 512, 600):
        lens = np.maximum(draw(rng, rows), 0)
        done = consume(plan(lens, 30, arch), lens, 30)
        assert sorted(done) == list(enumerate(lens.tolist()))


def test_stale_plan():
    """A row that has grown above the threshold is selected for by nobody."""
    old, new = np.full(40, 10, np.int32), np.full(40, 70_000, np.int32)
    assert consume(plan(old, 30, "sm90"), new, 30) == []
    assert len(consume(plan(new, 30, "sm90"), new, 30)) == 40


def test_errors():
    lens, out = np.ones(40, np.int32), np.zeros((41, 2), np.int32)

    def call(**options):
        arguments = {"clusters": 4, "arch": "sm90", "lens": lens, "out": out, **options}
        nsa.ops.plan_topk(arguments.pop("lens"), arguments.pop("out"), **arguments)

    with pytest.raises(ValueError, match="'arch': expected one of sm90, sm100"):
        call(arch="sm80")
    with pytest.raises(ValueError, match="'clusters': expected an integer from 0"):
        call(clusters=-1)
    with pytest.raises(TypeError, match="'static'"):
        call(static=1.5)
    with pytest.raises(ValueError, match="out"):
        call(out=out[:40])
    with pytest.raises(ValueError, match="seq_lens"):
        call(lens=lens.reshape(4, 10))
    with pytest.raises(TypeError, match="'seq_lens': expected dtype int32 or int64"):
        call(lens=lens.astype(np.float32))
    assert not out.any()
