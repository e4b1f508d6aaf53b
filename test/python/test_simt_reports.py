# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the simulator reports, each kind by a small kernel that does it, beside one that
does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from simt_ptx import ptx, region, run

import nsa
from nsa import _cache, simt
from nsa.simt import SimtError
from nsa.simt._flow import Flow
from nsa.simt._parse import parse

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def report(*arguments: Any, **options: Any) -> SimtError:
    with pytest.raises(SimtError) as info:
        run(*arguments, **options)
    error = info.value
    assert error.kind in SimtError.KINDS and str(error).startswith(error.kind)
    return error


#: Element %r90 of the first array, at %rd2.
ELEMENT = "shl.b64 %rd1, %rd80, 2; add.s64 %rd2, %rd90, %rd1;"
STORE = f"{ELEMENT} st.global.b32 [%rd2], %r90; ret;"
LOAD = f"{ELEMENT} ld.global.b32 %r1, [%rd2]; ret;"


def test_out_of_bounds() -> None:
    out = np.zeros(31, np.int32)
    error = report(f"\n{STORE}", {"out": ("out", out)}, seed=5)
    assert error.kind == "out of bounds"
    assert (error.argument, error.element) == ("out", (31,))
    assert (error.block, error.thread, error.line, error.seed) == (0, 31, 2, 5)
    assert error.instruction == "st.global.b32 [%rd2], %r90"
    assert str(error) == (
        "out of bounds: 4-byte store to 'out' element [31] of [31]\n"
        "  kernel 'k', PTX line 2: st.global.b32 [%rd2], %r90\n"
        "  block 0, thread 31\n  seed 5"
    )
    below = f"{ELEMENT} ld.global.b32 %r1, [%rd2+-4]; ret;"
    error = report(below, {"x": ("in", np.zeros(32, np.int32))})
    assert (error.argument, error.element, error.thread) == ("x", (-1,), 0)
    run(STORE, {"out": ("out", np.zeros(32, np.int32))})


def test_empty_array() -> None:
    error = report(LOAD, {"x": ("in", np.zeros(0, np.int32))})
    assert error.kind == "out of bounds" and error.argument == "x"


def test_no_argument_at_all() -> None:
    error = report("shl.b64 %rd1, %rd80, 4; ld.global.b32 %r1, [%rd1]; ret;")
    assert error.kind == "out of bounds" and error.argument is None
    error = report(
        f"{ELEMENT} ld.shared.b32 %r1, [%rd2]; ret;", {"x": ("in", np.zeros(32))}
    )
    assert "which is in no shared memory" in str(error)


@pytest.mark.parametrize("row_stride", [6, -6])
def test_gaps_between_rows(row_stride: int) -> None:
    """Bytes between the rows of a strided array are no elements of it."""
    memory = np.zeros(6 * 8, np.int32)
    first = memory[0 if row_stride > 0 else 42 :]
    table = as_strided(first, (8, 4), (4 * row_stride, 4))
    # Element (thread / 4, thread % 4): inside.
    body = f"""shr.u64 %rd1, %rd80, 2; and.b64 %rd2, %rd80, 3;
    mad.lo.s64 %rd3, %rd1, {row_stride}, %rd2; shl.b64 %rd4, %rd3, 2;
    add.s64 %rd5, %rd90, %rd4; ld.global.b32 %r1, [%rd5]; ret;"""
    run(body, {"x": ("in", table)})
    error = report(
        body.replace("ld.global.b32 %r1, [%rd5]", "ld.global.b32 %r1, [%rd5+8]"),
        {"x": ("in", table)},
    )
    assert error.kind == "out of bounds" and error.thread == 2
    # From the third column on, two further is the gap.
    assert error.element == (0, 4)


def test_strided_vector_and_column() -> None:
    memory = np.zeros(64, np.int32)
    body = """shl.b64 %rd1, %rd80, 3; add.s64 %rd2, %rd90, %rd1;
    st.global.b32 [%rd2], %r90; ret;"""
    run(body, {"out": ("out", memory[::2])})
    error = report(body.replace("[%rd2]", "[%rd2+4]"), {"out": ("out", memory[::2])})
    assert error.kind == "out of bounds"


def test_rows_that_overlap() -> None:
    """Rows of a sliding window: what is in none of them is still outside."""
    windows = as_strided(np.zeros(64, np.int32), (3, 4), (40, 4))
    assert region("x", "in", windows, 0).locate is not None
    shifted = as_strided(np.zeros(40, np.int32), (16, 4), (8, 4))
    body = f"{ELEMENT} ld.global.b32 %r1, [%rd2]; ret;"
    run(body, {"x": ("in", shifted)})
    assert report(body, {"x": ("in", shifted[:14])}).element[0] >= 14


def test_write_to_input_and_read_of_output() -> None:
    array = np.zeros(32, np.int32)
    error = report(STORE, {"x": ("in", array)})
    assert (error.kind, error.argument) == ("write to input", "x")
    error = report(LOAD, {"out": ("out", array)})
    assert (error.kind, error.argument) == ("read of output", "out")
    run(LOAD, {"both": ("inout", array)})


def test_race_in_one_instruction() -> None:
    error = report(
        "st.global.b32 [%rd90], %r90; ret;", {"out": ("out", np.zeros(1, np.int32))}
    )
    assert error.kind == "race" and error.element == (0,)
    assert error.other is not None and error.other != (0, error.thread)


@pytest.mark.parametrize("seed", range(4))
def test_race_between_blocks(seed: int) -> None:
    """Blocks are never in order, whatever order they are run in."""
    body = "setp.ne.b32 %p1, %r90, 0; @%p1 bra $end; st.global.b32 [%rd90], 1; $end: ret;"
    array = np.zeros(1, np.int32)
    error = report(body, {"out": ("out", array)}, blocks=2, seed=seed)
    assert error.kind == "race" and {error.block, error.other[0]} == {0, 1}
    run(body, {"out": ("out", array)})
    # Even those that do not run together.
    error = report(body, {"out": ("out", array)}, blocks=5000, seed=seed)
    assert error.kind == "race"


EXCHANGE = """shl.b64 %rd1, %rd80, 2; mov.b64 %rd2, s; add.s64 %rd3, %rd2, %rd1;
st.shared.b32 [%rd3], %r90; {barrier}
xor.b32 %r1, %r90, 63; mul.wide.u32 %rd4, %r1, 4; add.s64 %rd5, %rd2, %rd4;
ld.shared.b32 %r2, [%rd5]; {more} add.s64 %rd6, %rd90, %rd1;
st.global.b32 [%rd6], %r2; ret;"""


@pytest.mark.parametrize("seed", range(4))
def test_race_in_shared_memory(seed: int) -> None:
    out = np.zeros(64, np.int32)
    options = dict(threads=64, shared=256, seed=seed)
    fine = EXCHANGE.format(barrier="bar.sync 0;", more="")
    run(fine, {"out": ("out", out)}, **options)
    assert out.tolist() == list(range(63, -1, -1))
    error = report(EXCHANGE.format(barrier="", more=""), {"out": ("out", out)}, **options)
    assert error.kind in ("race", "uninitialised shared memory")
    assert error.argument == "shared memory"
    # Written again before everybody has read.
    again = "st.shared.b32 [%rd3], %r2;"
    body = EXCHANGE.format(barrier="bar.sync 0;", more=again)
    error = report(body, {"out": ("out", out)}, **options)
    assert error.kind == "race"
    body = EXCHANGE.format(barrier="bar.sync 0;", more="bar.sync 0; " + again)
    run(body, {"out": ("out", out)}, **options)


def test_many_readers_then_a_writer() -> None:
    """The one reader that is remembered may be the writer itself."""
    body = """mov.b64 %rd2, s; setp.ne.b32 %p1, %r90, 0; @%p1 bra $a;
    st.shared.b32 [%rd2], 1; $a: bar.sync 0; ld.shared.b32 %r1, [%rd2]; {barrier}
    setp.ne.b32 %p2, %r90, {who}; @%p2 bra $b; st.shared.b32 [%rd2], 2; $b: ret;"""
    for who in (0, 31, 63):
        error = report(body.format(barrier="", who=who), threads=64, shared=4)
        assert error.kind == "race" and error.thread == who
        run(body.format(barrier="bar.sync 0;", who=who), threads=64, shared=4)


def test_bytes_of_one_word_are_no_race() -> None:
    """Threads may write neighbouring bytes; the same byte they may not."""
    body = "add.s64 %rd1, %rd90, %rd80; st.global.b8 [%rd1], %r90; ret;"
    run(body, {"out": ("out", np.zeros(8, np.int32))})
    same = body.replace(
        "add.s64 %rd1, %rd90, %rd80", "shr.u64 %rd1, %rd80, 1; add.s64 %rd1, %rd90, %rd1"
    )
    assert report(same, {"out": ("out", np.zeros(8, np.int32))}).kind == "race"


def test_rows_that_are_far_apart() -> None:
    """Races are found in rows with gaps between them, and none between rows."""
    table = np.zeros((4, 100), np.int32)[:, :8]
    body = """shr.u64 %rd1, %rd80, 3; and.b64 %rd2, %rd80, 7;
    mad.lo.s64 %rd3, %rd1, 100, %rd2; shl.b64 %rd4, %rd3, 2;
    add.s64 %rd5, %rd90, %rd4; st.global.b32 [%rd5], %r90; ret;"""
    run(body, {"out": ("out", table)})
    assert (table == np.arange(32).reshape(4, 8)).all()
    error = report(
        body.replace("and.b64 %rd2, %rd80, 7", "and.b64 %rd2, %rd80, 3"),
        {"out": ("out", table)},
    )
    assert error.kind == "race" and error.element < (4, 4)


def test_race_through_two_arguments() -> None:
    """Arguments that share memory: who writes through either is known of both."""
    array = np.zeros(32, np.int32)
    body = f"""{ELEMENT} st.global.b32 [%rd2], %r90; add.s64 %rd3, %rd91, %rd1;
    st.global.b32 [%rd3], %r90; ret;"""
    run(body, {"a": ("out", array), "b": ("out", array)})
    other = body.replace("add.s64 %rd3, %rd91, %rd1;", "sub.s64 %rd3, %rd91, %rd1;")
    reversed_ = {"a": ("out", array), "b": ("out", array[::-1])}
    assert report(other, reversed_).kind == "race"


def test_uninitialised_shared_memory() -> None:
    body = "mov.b64 %rd1, s; bar.sync 0; ld.shared.b32 %r1, [%rd1+{offset}]; ret;"
    error = report(body.format(offset=4), shared=8)
    assert (error.kind, error.element) == ("uninitialised shared memory", (4,))
    error = report(body.format(offset=8), shared=8)
    assert (error.kind, error.argument) == ("out of bounds", "shared memory")


def test_uninitialised_register() -> None:
    """On one path only: threads that take the other are fine."""
    body = f"""setp.lt.u32 %p1, %r90, {{bound}}; @%p1 bra $skip; mov.b32 %r1, 3;
    $skip: add.s32 %r2, %r1, 1; {ELEMENT} st.global.b32 [%rd2], %r2; ret;"""
    arrays = {"out": ("out", np.zeros(32, np.int32))}
    error = report(body.format(bound=7), arrays)
    assert error.kind == "uninitialised register" and "%r1" in error.detail
    assert error.thread is not None and error.thread < 7
    assert error.instruction == "add.s32 %r2, %r1, 1"
    run(body.format(bound=0), arrays)


def test_bytes_that_nobody_wrote() -> None:
    """A vector is packed before its last element is there: that byte is dropped again."""
    body = f"""mov.b32 %r1, 7; prmt.b32 %r3, %r1, %r2, 0x3340U;
    prmt.b32 %r4, %r3, 0, {{taken}}; {ELEMENT} st.global.b32 [%rd2], %r4; ret;"""
    arrays = {"out": ("out", np.zeros(32, np.int32))}
    run(body.format(taken="0x4440U"), arrays)
    for taken in ("0x4441U", "0x1444U", "%r90"):
        error = report(body.format(taken=taken), arrays)
        assert error.kind == "uninitialised register" and "%r2" in error.detail


def test_half_that_nobody_wrote() -> None:
    """The same of two numbers of 16 bits."""
    body = f"""mov.u16 %rs1, 7; mov.b32 %r3, {{{{%rs1, %rs2}}}}; mov.b32 {{{{%rs3, %rs4}}}}, %r3;
    {ELEMENT} st.global.b16 [%rd2], {{taken}}; ret;"""
    arrays = {"out": ("out", np.zeros(32, np.int32))}
    run(body.format(taken="%rs3"), arrays)
    for other in ("%rs4", "%rs2"):
        error = report(body.format(taken=other), arrays)
        assert error.kind == "uninitialised register"


def test_barrier_not_reached() -> None:
    body = "setp.lt.u32 %p1, %r90, {bound}; @%p1 bra $end; bar.sync 0; $end: ret;"
    error = report(body.format(bound=33), threads=64)
    assert error.kind == "barrier not reached"
    assert "33 of 64 threads" in error.detail and "thread 0" in error.detail
    assert error.instruction == "bar.sync 0"
    run(body.format(bound=0), threads=64)
    # Two barriers are not one.
    body = """setp.lt.u32 %p1, %r90, 32; @%p1 bra $other; bar.sync 0; ret;
    $other: bar.sync 0; ret;"""
    assert report(body, threads=64).kind == "barrier not reached"


def test_shuffle_not_reached() -> None:
    body = """setp.lt.u32 %p1, %r90, {bound}; @%p1 bra $end;
    shfl.sync.idx.b32 %r1, %r90, {lane}, 31, {mask}; $end: ret;"""
    error = report(body.format(bound=1, lane=5, mask=-1))
    assert error.kind == "shuffle not reached" and "lane 0" in error.detail
    run(body.format(bound=0, lane=5, mask=-1))
    # A mask that names those who are there, and one that names not the source.
    run(body.format(bound=1, lane=5, mask=0xFFFFFFFE))
    error = report(body.format(bound=1, lane=0, mask=0xFFFFFFFE))
    assert (
        error.kind == "shuffle not reached"
        and "lane 0, which takes no part" in error.detail
    )
    error = report(body.format(bound=0, lane=5, mask=0xFFFFFFFE))
    assert "does not name the lane itself, 0" in error.detail


def test_shuffle_waits_for_late_lanes() -> None:
    """Lanes that come by another way meet the others."""
    out = np.zeros(32, np.int32)
    run(
        f"""and.b32 %r1, %r90, 1; setp.eq.b32 %p1, %r1, 0; mov.b32 %r2, 5;
        @%p1 bra $meet; add.s32 %r2, %r90, 100;
        $meet: shfl.sync.bfly.b32 %r3, %r2, 1, 31, -1;
        {ELEMENT} st.global.b32 [%rd2], %r3; ret;""",
        {"out": ("out", out)},
    )
    assert out.tolist() == [5 if n % 2 else n + 101 for n in range(32)]


@pytest.mark.parametrize("offset", [4, 8])
def test_misaligned(offset: int) -> None:
    memory = np.zeros(80, np.int32)
    start = -memory.ctypes.data % 16 // 4
    array = memory[start : start + 64]
    body = "ld.global.nc.v4.b32 {{%r1, %r2, %r3, %r4}}, [%rd90+{offset}]; ret;"
    error = report(body.format(offset=offset), {"x": ("in", array)})
    assert (error.kind, error.argument, error.element) == (
        "misaligned",
        "x",
        (offset // 4,),
    )
    run(body.format(offset=16), {"x": ("in", array)})
    # By the address, not by the place in the array.
    assert report(body.format(offset=0), {"x": ("in", array[1:])}).kind == "misaligned"


def test_non_coherent_load() -> None:
    array = np.zeros(32, np.int32)
    body = f"""{ELEMENT} ld.global{{nc}}.b32 %r1, [%rd2]; add.s32 %r1, %r1, 1;
    st.global.b32 [%rd2], %r1; ret;"""
    run(body.format(nc=""), {"both": ("inout", array)})
    error = report(body.format(nc=".nc"), {"both": ("inout", array)})
    assert (error.kind, error.argument) == ("non-coherent load", "both")
    after = f"{ELEMENT} st.global.b32 [%rd2], %r90; ld.global.nc.b32 %r1, [%rd2]; ret;"
    assert report(after, {"both": ("inout", array)}).kind == "non-coherent load"
    run(f"{ELEMENT} ld.global.nc.b32 %r1, [%rd2]; ret;", {"both": ("inout", array)})


def test_access_before_wait() -> None:
    arrays = {"x": ("in", np.zeros(32, np.int32))}
    wait = "griddepcontrol.wait;"
    run(f"{ELEMENT} {wait} ld.global.b32 %r1, [%rd2]; ret;", arrays)
    error = report(f"{ELEMENT} ld.global.b32 %r1, [%rd2]; {wait} ret;", arrays)
    assert error.kind == "access before wait" and error.instruction.startswith(
        "ld.global"
    )
    # On one of two paths, whether a thread takes it or not.
    body = f"""{ELEMENT} setp.lt.u32 %p1, %r90, 1000; @%p1 bra $w; bra.uni $l;
    $w: {wait} $l: ld.global.b32 %r1, [%rd2]; ret;"""
    assert report(body, arrays).kind == "access before wait"
    assert report(f"@%p1 bra $w; ret; $w: {wait} ret;").kind == "access before wait"
    # Without the instruction nobody waits.
    run(LOAD, arrays)
    # A copy has two spaces; a block's own memory may be named in full.
    for access, is_early in (
        ("cp.async.ca.shared.global [%r1], [%rd1], 4;", True),
        ("ld.shared::cta.b32 %r1, [%rd1];", False),
    ):
        flow = Flow(parse(ptx(f"{access} {wait} ret;", 1))["k"])
        if is_early:
            with pytest.raises(SimtError, match="access before wait"):
                flow.check_waits()
        else:
            flow.check_waits()


def test_assertions_and_traps() -> None:
    body = """setp.ne.b32 %p1, %r90, 3; @%p1 bra $end; {what} $end: ret;"""
    error = report(body.format(what="call.uni __assertfail, (a); exit;"))
    assert (error.kind, error.thread) == ("assertion", 3)
    assert report(body.format(what="trap;")).kind == "trap"


def test_location_in_the_text() -> None:
    """``.loc`` leads to the operation of the nsa text."""
    text = ptx(".loc 1 7 3\nld.global.b32 %r1, [%rd90]; ret;", 1)
    text = '.file 1 "step.mlir"\n' + text
    array = region("out", "out", np.zeros(4, np.int32), 0)
    with pytest.raises(SimtError, match=r"\(step.mlir:7:3\)") as info:
        simt.run_kernel(text, "k", 1, [array.pointer], [array])
    assert (info.value.location, info.value.line) == ("step.mlir:7:3", 4)


def test_order_follows_from_the_seed() -> None:
    """Which of two racing blocks is first differs between seeds, and not within one."""
    body = "setp.ne.b32 %p1, %r90, 0; @%p1 bra $end; st.global.b32 [%rd90], 1; $end: ret;"

    def first(seed: int) -> int:
        arrays = {"out": ("out", np.zeros(1, np.int32))}
        return report(body, arrays, blocks=9, seed=seed).block

    found = [first(seed) for seed in range(12)]
    assert len(set(found)) > 1 and found == [first(seed) for seed in range(12)]


# ----------------------------------------------------------------------------
# Steps
# ----------------------------------------------------------------------------


def shipped() -> list[Path]:
    return sorted(Path(_cache.SHIPPED).glob("*/*.ptx"))


def test_shipped_ptx_is_understood() -> None:
    found = shipped()
    if not found:
        pytest.skip("no bundles in this build")
    for path in found:
        simt.programs.__wrapped__(path.read_text())


needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)


@needs_compiler
@pytest.mark.parametrize(
    "path", sorted(EXAMPLES.glob("*.mlir")), ids=lambda path: path.stem
)
@pytest.mark.parametrize(
    "options", [{}, {"guards": True}, {"fuse": False}, {"chip": "sm_90"}]
)
def test_examples_are_understood(path: Path, options: dict[str, Any]) -> None:
    module = nsa.compile(path, target="simt", **options)
    assert all(step.simulates and step.ptx for step in module.values())


LENGTHS = """nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %lens : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 1 : tensor<?xi64> -> tensor<?xi32>
  nsa.copy %len to %lens : tensor<?xi32> to memref<?xi32>
}"""


@needs_compiler
def test_ways_to_run_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled for it, loaded with NSA_TARGET; called, bound."""
    monkeypatch.delenv("NSA_TARGET", raising=False)
    nsa.compile(LENGTHS).save(tmp_path)
    given = nsa.compile(LENGTHS, target="simt")["lengths"]
    assert not nsa.load(tmp_path)["lengths"].simulates
    monkeypatch.setenv("NSA_TARGET", "simt")
    for step in (given, nsa.load(tmp_path)["lengths"]):
        assert step.simulates and not step.runs_on_host
        lens = np.arange(5)
        out = np.zeros(5, np.int32)
        step(seq_lens=lens, lens=out)
        assert out.tolist() == [1, 2, 3, 4, 5]
        out[:] = -1
        bound = step.bind(seq_lens=lens, lens=out)
        bound.launch(bs=2)
        assert out.tolist() == [1, 2, -1, -1, -1]
        bound.launch(bs=0)
        with pytest.raises(ValueError, match="argument 'seq_lens': expected shape"):
            bound.launch(bs=6)
        with pytest.raises(TypeError, match="argument 'lens': expected dtype int32"):
            step(seq_lens=lens, lens=lens)


@needs_compiler
def test_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    step = nsa.compile(LENGTHS, target="simt")["lengths"]
    arrays = dict(seq_lens=np.arange(3), lens=np.zeros(3, np.int32))
    monkeypatch.delenv("NSA_TARGET", raising=False)
    step(**arrays)
    assert nsa.config()["targets"]["simt"] == (
        False,
        "used where NSA_TARGET=simt or target='simt' asks for it",
    )
    monkeypatch.setenv("NSA_TARGET", "simt")
    config = nsa.config()
    assert config["target"] == config["restriction"] == "simt"
    assert "PTX is run and checked on the CPU" in config["targets"]["simt"][1]
    with pytest.raises(nsa.DriverError, match="NSA_TARGET=simt excludes target 'cpu'"):
        nsa.compile(LENGTHS, target="cpu")["lengths"](**arrays)
    monkeypatch.setenv("NSA_TARGET", "cpu")
    with pytest.raises(nsa.DriverError, match="NSA_TARGET=cpu excludes target 'simt'"):
        step(**arrays)
    with pytest.raises(
        ValueError, match="expected 'cuda', 'cpu' or 'simt' but got 'gpu'"
    ):
        nsa.compile(LENGTHS, target="gpu")


@needs_compiler
def test_fault_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step whose PTX writes one element too far, on arrays as small as allowed."""
    good = nsa.compile(LENGTHS)["lengths"]
    bad = re.sub(r"(st\.global\S+ *\t?\[%rd\d+)(\+\d+)?\]", r"\1+16]", good.ptx)
    assert bad != good.ptx
    step = simt.simulate(nsa.Step(good.manifest, bad), seed=3)
    with pytest.raises(SimtError) as info:
        step(seq_lens=np.arange(4), lens=np.zeros(4, np.int32))
    error = info.value
    assert (error.kind, error.argument, error.kernel) == (
        "out of bounds",
        "lens",
        "lengths",
    )
    assert error.element >= (4,) and error.seed == 3
    assert " ".join(bad.splitlines()[error.line - 1].split()) == error.instruction + ";"
    monkeypatch.setenv("NSA_SIMT_SEED", "x")
    with pytest.raises(
        ValueError, match="NSA_SIMT_SEED: expected an integer but got 'x'"
    ):
        simt.simulate(good)(seq_lens=np.arange(4), lens=np.zeros(4, np.int32))


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
@pytest.mark.parametrize("from_file", [True, False])
def test_place_in_the_text(from_file: bool, tmp_path: Path) -> None:
    """Of a load that leaves its array: the operation that it is for, in a file or a text."""
    text = """// \u00e4
nsa.step @lengths(in %bs : index, in %lens[%bs] : tensor<?xi64>, in %more[%bs] : tensor<?xi32>,
                  out %a : memref<?xi32>, out %b : memref<?xi32>) {
  %len = nsa.seqlens %lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %few = nsa.clip_seqlens %more to 5 : tensor<?xi32>
  nsa.copy %len to %a : tensor<?xi32> to memref<?xi32>
  nsa.copy %few to %b : tensor<?xi32> to memref<?xi32>
}
"""
    file = tmp_path / "a b.mlir"
    file.write_text(text, encoding="utf-8")
    good = nsa.compile(file if from_file else text, line_info=True)["lengths"]
    found = set()
    for load in re.finditer(r"ld\.global\S+\s+[^;]*?%rd\d+(?=])", good.ptx):
        bad = good.ptx[: load.end()] + "+65536" + good.ptx[load.end() :]
        step = simt.simulate(nsa.Step(good.manifest, bad))
        arrays = {n: np.zeros(4, np.int32) for n in ("more", "a", "b")}
        with pytest.raises(SimtError) as info:
            step(lens=np.zeros(4, np.int64), **arrays)
        error = info.value
        assert error.location is not None and f"({error.location}, {error.operation})" in str(error)
        name, _, place = error.location.partition(":")
        assert name == str(file) if from_file else name.startswith("<nsa-")
        found.add((error.argument, place, error.operation))
    assert found == {("lens", "4:10", "nsa.seqlens"), ("more", "5:10", "nsa.clip_seqlens")}


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
def test_no_place_unless_asked() -> None:
    text = (EXAMPLES / "decode_replay.mlir").read_text()
    plain = nsa.compile(text)["decode_replay"]
    lines = nsa.compile(text, line_info=True)["decode_replay"]
    assert ".loc" not in plain.ptx and ".file" not in plain.ptx
    assert lines.manifest == plain.manifest
    # Neither instructions nor registers differ.
    code = [line for line in lines.ptx.splitlines() if not re.match(r"\s*\.(loc|file|section)\b", line)]
    labels = re.compile(r"\$L__(func|tmp)\w+:|\s*// .*")
    code = [labels.sub("", line) for line in code]
    assert [line for line in code if line.strip()] == [
        line for line in (labels.sub("", line) for line in plain.ptx.splitlines()) if line.strip()
    ]


def test_step_without_ptx() -> None:
    manifest = {
        "schema": 1,
        "step": "none",
        "arguments": [],
        "requires": [],
        "kernels": [],
    }
    with pytest.raises(ValueError, match="step 'none' has no PTX to simulate"):
        simt.simulate(nsa.Step(json.dumps(manifest)))
