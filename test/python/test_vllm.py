# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's metadata against the reference, on the host and in the simulator."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from vllm_cases import CASES, run
from vllm_chains import run_chains, run_together, texts_of_chains
from vllm_draw import Draw

import nsa
from nsa import vllm

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("name", CASES)
def test_values(name):
    for seed in range(10):
        run(CASES[name](Draw(seed)))


@pytest.mark.parametrize("name", CASES)
def test_hostile(name):
    for seed in range(100, 108):
        run(CASES[name](Draw(seed, hostile=True)))


@pytest.mark.parametrize("name", CASES)
def test_simulator(name, monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    for seed in (1, 2):
        run(CASES[name](Draw(seed, hostile=True, small=True)))


@pytest.mark.parametrize("name", CASES)
def test_starts_that_do_not_ascend(name, monkeypatch):
    """Whose a token is then is anybody's, but no access leaves its array: the simulator
    checks each."""
    monkeypatch.setenv("NSA_TARGET", "simt")
    case = CASES[name](Draw(7, hostile=True, small=True))
    arguments = case.arguments
    rng = np.random.default_rng(0)
    for starts in ("query_start_loc", "cu_num_logits", "span_indptr", "cu_seq_lens"):
        if starts in arguments:
            size = arguments[starts].shape
            garbage = rng.choice([-(2**31), -1, 0, 3, 2**31 - 1], size)
            arguments[starts] = garbage.astype(np.int32)
    getattr(vllm, case.name)(**arguments)


@pytest.mark.parametrize("seed", [3, 104])
def test_all_in_one_launch(seed):
    """Each call writes what it would write alone."""
    cases = [make(Draw(seed + n, hostile=seed > 100)) for n, make in enumerate(CASES.values())]
    run_together(cases)


def test_values_between_calls():
    """A later call reads what an earlier one of the same launch writes."""
    for seed in range(12):
        run_chains(seed, hostile=seed % 2 == 1)


def test_simulator_chain(monkeypatch):
    monkeypatch.setenv("NSA_TARGET", "simt")
    run_chains(5, small=True)


def test_one_launch():
    """One kernel, whatever is in it."""
    for texts in texts_of_chains():
        (step,) = nsa.compile(texts, "cuda").values()
        assert len(step.kernels) == 1


def test_nothing_to_launch():
    assert vllm.one_launch() == ()


def test_prepared():
    """Launches with what is in the arrays then."""
    lens, local, out = np.array([8, 3], np.int32), np.zeros(2, np.int32), np.zeros(2, np.int32)
    step = vllm.prepare(
        partial(vllm.dcp_local_seq_lens, lens, local, context_parallel=(2, 0)),
        partial(vllm.dcp_local_seq_lens, local, out, context_parallel=(2, 0)),
    )
    assert not local.any()
    step()
    np.testing.assert_array_equal([local, out], [[4, 2], [2, 1]])
    lens[:] = [100, 0]
    step()
    np.testing.assert_array_equal([local, out], [[50, 0], [25, 0]])
    vllm.prepare()()


def ports_of(text):
    """The names of the sizes and arrays of a step, in order."""
    head = text[text.index("(") + 1 : text.index(" {\n")]
    return [line.split()[1].strip("%").partition("[")[0] for line in head.splitlines() if line]


def test_shared_arrays():
    """What several calls read is one port; of another part of an array there is another."""
    starts, lens = np.arange(5, dtype=np.int32), np.full(4, 9, np.int32)
    slots = np.arange(6)
    table = np.arange(1, 9, dtype=np.int32).reshape(4, 2)
    outs = [np.full(6, -7) for _ in range(3)]

    def call(out, num_reqs=None, lens=lens):
        return partial(
            vllm.compressed_slot_mapping, starts, lens, slots, table, out,
            block_size=2, ratio=1, num_reqs=num_reqs,
        )  # fmt: skip

    inputs = ["call0_num_reqs", "call0_query_start_loc", "call0_seq_lens", "call0_block_table"]
    same = ports_of(vllm.step_text(call(outs[0]), call(outs[1])))
    assert [name for name in same if "call1" in name] == ["call1_capacity", "call1_out"]
    assert set(inputs) < set(same)
    # Equal numbers that are said for each call may differ the next time.
    said = ports_of(vllm.step_text(call(outs[0], 3), call(outs[1], 3)))
    assert "call1_num_reqs" in said and "call1_seq_lens" in said
    assert "call1_block_table" not in said
    # A table that is another array has its own rows, unless the launch says how many.
    other = partial(vllm.dcp_local_seq_lens, lens, outs[2], context_parallel=(2, 0))
    assert "call1_seq_lens" in ports_of(vllm.step_text(call(outs[0]), other))
    assert "call1_seq_lens" not in ports_of(vllm.step_text(call(outs[0]), other, num_reqs=4))

    for num_reqs in (4, 2):
        vllm.one_launch(call(outs[0]), call(outs[1], 3), other, num_reqs=num_reqs)
        alone = [np.full(6, -7) for _ in range(3)]
        call(alone[0], num_reqs)()
        call(alone[1], 3)()
        vllm.dcp_local_seq_lens(lens, alone[2], context_parallel=(2, 0), num_reqs=num_reqs)
        np.testing.assert_array_equal(outs, alone)
    with pytest.raises(ValueError, match="call0_query_start_loc"):
        vllm.one_launch(call(outs[0]), other, num_reqs=5)


def test_launch_again():
    """A launch that is remembered has the arrays and numbers of the call; what constants and
    which arrays are the same, another one."""

    def local(lens, out, rank=0, size=2, **more):
        return partial(vllm.dcp_local_seq_lens, lens, out, context_parallel=(size, rank), **more)

    for start in range(3):
        lens = np.arange(start, start + 8, dtype=np.int32)
        for rank in (0, 1):
            for num_reqs in (8, 3 + start):
                one, two, three = (np.full(8, -5, np.int32) for _ in range(3))
                vllm.one_launch(
                    local(lens, one, rank, num_reqs=num_reqs), local(one, two), num_reqs=8
                )
                wanted = np.where(np.arange(8) < num_reqs, (lens + 1 - rank) // 2, 0)
                np.testing.assert_array_equal(one, wanted)
                np.testing.assert_array_equal(two, (one + 1) // 2)
                vllm.one_launch(local(lens, two), local(lens, three, rank), num_reqs=8)
                np.testing.assert_array_equal(two, (lens + 1) // 2)
                np.testing.assert_array_equal(three, (lens + 1 - rank) // 2)
    out = np.zeros(8, np.int32)
    vllm.one_launch(local(lens, out, size=1))
    for _ in range(2):
        with pytest.raises(TypeError, match="'context_parallel'"):
            vllm.one_launch(local(lens, out, size=True))
        with pytest.raises(ValueError, match="num_reqs"):
            vllm.one_launch(local(lens, out), num_reqs=-1)


def test_flags_between_calls():
    """A bool array is known by its being the same object, as others are."""
    starts, lens = np.array([0, 2, 3], np.int32), np.array([5, 9], np.int32)
    table, slots = np.arange(1, 9, dtype=np.int32).reshape(2, 4), np.array([3, -1, 4])
    valid = np.zeros(3, np.bool_)
    indices, counts = np.zeros((3, 4), np.int32), np.zeros(3, np.int32)
    more, lengths = np.zeros((3, 4), np.int32), np.zeros(3, np.int32)
    for _ in range(2):
        vllm.one_launch(
            partial(
                vllm.swa_indices, starts, lens, table, indices, counts, window=4, block_size=4,
                slot_mapping=slots, out_valid=valid,
            ),
            partial(
                vllm.swa_indices, starts, lens, table, more, lengths, window=4, block_size=4,
                is_valid=valid,
            ),
            num_reqs=2,
        )  # fmt: skip
        np.testing.assert_array_equal(valid, [True, False, True])
        np.testing.assert_array_equal(counts, [4, 0, 4])
        np.testing.assert_array_equal(more, indices)


def test_parts_are_not_read():
    """Another array of the same memory is refused, rather than read while it is written."""
    lens, out = np.ones(3, np.int32), np.zeros(8, np.int32)
    calls = [
        partial(vllm.dcp_local_seq_lens, lens, out, context_parallel=(2, 0)),
        partial(vllm.native_decode, out[:3], next_n=1, out_seq_lens=np.zeros((3, 1), np.int32)),
    ]
    with pytest.raises(ValueError, match="overlap"):
        vllm.one_launch(*calls)
    np.testing.assert_array_equal(out, 0)


LENS, STARTS = np.ones(3, np.int32), np.arange(4, dtype=np.int32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: vllm.native_decode(LENS, next_n=0, out_seq_lens=None), ValueError, "next_n"),
        (
            lambda: vllm.uniform_decode(
                LENS, next_n=1, out_seq_lens=np.zeros(3, np.float32)
            ),
            TypeError,
            "out_seq_lens': expected dtype int32 or int64 but got float32",
        ),
        (
            lambda: vllm.dcp_local_seq_lens(LENS, LENS.copy(), context_parallel=(2, 2)),
            ValueError,
            "context_parallel': expected an integer from 0 to 1 but got 2",
        ),
        (
            lambda: vllm.dcp_local_seq_lens(LENS, LENS.copy(), context_parallel=4),
            TypeError,
            r"expected \(size, rank, interleave\) but got 4",
        ),
        (
            lambda: vllm.varlen_decode(
                STARTS, LENS, num_tokens=3, out_seq_lens=np.zeros(3, np.int32),
                out_block_table=np.zeros((3, 3), np.int32),
            ),
            TypeError,
            "block_table': missing",
        ),
        (
            lambda: vllm.varlen_decode(
                STARTS, LENS, num_tokens=3, out_seq_lens=np.zeros(3, np.int32),
                block_table=np.zeros((3, 3), np.int32),
            ),
            ValueError,
            "block_table': expected None, as nothing",
        ),
        (
            lambda: vllm.varlen_decode(
                STARTS, LENS[:2], num_tokens=3, out_seq_lens=np.zeros(3, np.int32)
            ),
            ValueError,
            "seq_lens",
        ),
        (
            lambda: vllm.slot_mappings(LENS, STARTS, LENS, [], [LENS], block_sizes=[1]),
            ValueError,
            "block_tables': expected 1, one for each of outs, but got 0",
        ),
    ],
)  # fmt: skip
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_nvfp4_without_a_number():
    """A scale that is NaN makes its 16 numbers NaN, and no others; -0 counts as 0."""
    cache = np.full((1, 288), 0x18, np.uint8)  # -0 and 0.5 in turn, times 2**-4
    cache[0, 256:] = 0x18
    cache[0, 257] = 0xFF
    out = np.zeros((1, 512), np.uint16)
    one = np.ones(1, np.int32)
    vllm.dequantize_and_gather(
        cache, one, 0 * one[:, None], out, layout="v41_nvfp4", block_size=1, workspace_stride=1
    )
    is_nan = (out[0] & 0x7FFF) > 0x7F80
    assert is_nan.nonzero()[0].tolist() == list(range(16, 32))
    assert np.unique(out[0, ~is_nan]).tolist() == [0, 0x3D00]


def lists(tokens: int, columns: int) -> dict[str, np.ndarray]:
    """Chosen positions, some of which have no slot, mostly in runs; the last row has none."""
    rng = np.random.default_rng(columns)
    chosen = rng.integers(0, 40 * 64, (tokens, columns)).astype(np.int32)
    chosen[0, rng.integers(0, columns, 9)] = -1
    chosen[1, columns - columns // 3 :] = -1
    chosen[-1] = -1
    table = rng.integers(0, 99, (tokens, 39)).astype(np.int32)
    table[0, ::7] = -1
    return {"chosen": chosen, "table": table, "owners": np.arange(tokens, dtype=np.int32)}


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("columns", [64, 128, 132, 512, 516, 2048, 2052])
def test_columns(columns, target, monkeypatch):
    """A row is a vector of each thread, or more; places follow one another, or do not."""
    monkeypatch.setenv("NSA_TARGET", target)
    tokens = 4
    a = lists(tokens, columns)
    blocks = np.where(a["chosen"] >= 0, a["chosen"] // 64, 39)
    table = np.concatenate([a["table"], np.full((tokens, 1), -1, np.int32)], 1)
    pages = np.take_along_axis(table, np.minimum(blocks, 39), 1)
    slots = np.where(pages >= 0, pages * 64 + a["chosen"] % 64, -1).astype(np.int32)
    counts = (slots >= 0).sum(1, dtype=np.int32)
    order = np.argsort(slots < 0, 1, kind="stable")
    compacted = np.take_along_axis(slots, order, 1)
    valid = np.array([1, 1, 0, 1], np.int8)
    for given in (None, columns):
        out, count = np.full_like(slots, -7), np.full(tokens, -7, np.int32)
        convert = partial(
            vllm.req_to_global, a["owners"], a["table"], a["chosen"], out, columns=given
        )
        convert()
        np.testing.assert_array_equal(out, slots)
        convert(compact=True, out_counts=count)
        np.testing.assert_array_equal(out, compacted)
        np.testing.assert_array_equal(count, counts)
        convert(compact=True, safe_lengths=count)
        np.testing.assert_array_equal(count, np.maximum(counts, 1))
        assert out[-1, 0] == 0
        np.testing.assert_array_equal(out[:-1], compacted[:-1])
        vllm.global_topk_indices(
            a["chosen"], a["owners"], a["table"], out, count, block_size=64, is_valid=valid,
            columns=given,
        )  # fmt: skip
        np.testing.assert_array_equal(out, slots)
        np.testing.assert_array_equal(count, np.where(valid, counts, 0))


def test_columns_of_other_arrays():
    a = lists(4, 512)
    out = np.zeros((4, 520), np.int32)
    convert = partial(vllm.req_to_global, a["owners"], a["table"], a["chosen"], columns=512)
    with pytest.raises(ValueError, match="argument 'out'"):
        convert(out[:, :512])
    with pytest.raises(ValueError, match="argument 'token_indices'"):
        vllm.req_to_global(a["owners"], a["table"], out, out, columns=512)
