# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Where elements go: computed places, conditions, and arrays that may be missing."""

import ctypes
import itertools
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

import nsa
import nsa.build as nb
from nsa import _v4
from nsa.simt._launch import Simulator
from stores_cases import FIELDS, Stores, make_case, subsets

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


V4_FIELDS = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc", "c1_out_loc", "c1_topk_lengths_clamp1",
    "c1_sparse_topk_lengths", "c2_out_loc", "c4_out_loc", "c4_topk_lengths_raw",
    "c4_topk_lengths_clamp1", "c4_sparse_topk_lengths", "c4_sparse_page_indices",
    "c4_all_page_indices", "c4_all_raw_indices", "c4_page_indices", "c128_out_loc",
    "c128_topk_lengths_raw", "c128_topk_lengths_clamp1", "c128_sparse_topk_lengths",
    "c128_page_indices", "req_indices", "pos_i64",
)  # fmt: skip


@pytest.fixture(scope="module", params=["cpu", "simt"])
def steps(request):
    return Stores(request.param)


@pytest.mark.parametrize("seed", range(12))
def test_places_and_conditions(steps, seed):
    case = make_case(np.random.default_rng(seed))
    case.check(steps.step, FIELDS)


@pytest.mark.parametrize("seed", range(4))
def test_guarded(seed):
    case = make_case(np.random.default_rng(100 + seed), hostile=True)
    step = Stores("cpu", guards=True).step
    case.check(step, FIELDS)
    step.check()


def test_hostile_places(steps):
    """Places near the ends of int64, and whatever is 32 bits away from a place."""
    for seed in range(4):
        make_case(np.random.default_rng(seed), hostile=True).check(steps.step, FIELDS)


def test_unfused_is_equal():
    step = Stores("cpu", fuse=False).step
    assert len(step.kernels) == len(FIELDS)
    for seed in range(4):
        make_case(np.random.default_rng(seed)).check(step, FIELDS)


def test_every_subset_of_fields():
    """One bundle serves them all, and writes nothing else."""
    steps = Stores("cpu")
    case = make_case(np.random.default_rng(7))
    for fields in subsets(FIELDS):
        case.check(steps.step, fields)


def test_some_subsets_in_the_simulator():
    steps = Stores("simt")
    case = make_case(np.random.default_rng(7))
    for fields in [(), *((field,) for field in FIELDS), FIELDS[:3], FIELDS[2:]]:
        case.check(steps.step, fields)


def test_missing_arrays_take_no_blocks():
    """What is not there is not launched: blocks of its segments are gone."""
    compiled = Stores("cuda").step
    simulator = Simulator(compiled.manifest, compiled.ptx)
    step = nsa.Step(compiled.manifest, compiled.ptx, simulator=simulator)
    case = make_case(np.random.default_rng(3), rows=300)
    blocks = {}
    for fields in [(), ("table",), FIELDS]:
        case.check(step, fields)
        blocks[fields] = sum(launch.blocks for launch in simulator.launches)
    assert blocks[()] == 0
    assert 0 < blocks[("table",)] < blocks[FIELDS]


def test_a_bound_step_leaves_arrays_out():
    step = Stores("cpu").step
    case = make_case(np.random.default_rng(5))
    arrays = case.outputs()
    kept = {name: array for name, array in arrays.items() if name in ("sums", "scattered")}
    bound = step.bind(**case.inputs, **kept)
    bound.launch(n=case.n, columns=case.columns)
    case.compare(arrays, tuple(kept))


def test_signature_says_what_is_optional():
    parameters = Stores("cpu").step.signature.parameters
    assert parameters["table"].default is None
    assert parameters["value"].default is parameters["value"].empty


def test_a_missing_array_that_is_not_optional():
    @nb.step
    def lengths(s):
        n = s.size("n")
        s.output("out", s.input("lens", "int32", (n,)))

    step = lengths.compile("cpu")
    lens = np.ones(3, np.int32)
    with pytest.raises(TypeError, match="'out': expected a 1-d int32 array but it is missing"):
        step(lens=lens)
    with pytest.raises(TypeError, match="'out': expected a 1-d int32 array but got NoneType"):
        step(lens=lens, out=None)


def test_an_optional_array_that_is_too_small():
    step = Stores("cpu").step
    case = make_case(np.random.default_rng(1), rows=4)
    with pytest.raises(ValueError, match=r"'sums': expected shape\[0\] to be at least 5"):
        step(**case.inputs, n=case.n, columns=case.columns, sums=np.zeros(4, np.int32))


def test_two_that_are_missing_do_not_overlap():
    """Null twice is no array twice, and one that is there is beside neither."""
    step = Stores("cpu").step
    case = make_case(np.random.default_rng(1))
    case.check(step, ("scattered",))


def test_places_of_one_value_are_two_values():
    """The same value at its own place and elsewhere: no two ports may share an array."""

    @nb.step
    def twice(s):
        n = s.size("n")
        value = s.input("value", "int32", (n,))
        places = s.input("places", "int32", (n,))
        s.output("own", value)
        s.output("elsewhere", value, at=places)

    step = twice.compile("cpu")
    array = np.zeros(4, np.int32)
    with pytest.raises(ValueError, match="to which another value is written"):
        step(
            value=np.ones(4, np.int32), places=np.zeros(4, np.int32), own=array, elsewhere=array
        )


def test_wide_stores_where_a_whole_vector_is_wanted():
    """A mask costs no vectors where it is set: rows of 1 keep 16-byte stores."""

    @nb.step
    def masked(s):
        n, m = s.size("n"), s.size("m")
        value = s.input("value", "int32", (n, m))
        when = s.input("when", "int8", (n, m))
        s.output("out", value, when=when)

    assert "st.global.v4" in masked.compile("cuda").ptx
    step = masked.compile("simt")
    rng = np.random.default_rng(0)
    for shape in [(1, 1), (3, 64), (5, 67), (2, 1030)]:
        value = rng.integers(-9, 9, shape).astype(np.int32)
        when = (rng.random(shape) < 0.5).astype(np.int8)
        when[0, : shape[1] // 2] = rng.integers(1, 127)
        out = np.full(shape, 77, np.int32)
        step(value=value, when=when, out=out)
        np.testing.assert_array_equal(out, np.where(when != 0, value, 77))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int64", "float32"])
def test_types(dtype):
    @nb.step
    def typed(s):
        n = s.size("n")
        value = s.input("value", dtype, (n,))
        s.output("out", value, at=s.input("places", "int64", (n,)), optional=True)

    for target in ("cpu", "simt"):
        step = typed.compile(target)
        value = np.arange(37).astype(dtype)
        places = np.random.default_rng(0).permutation(40)[:37].astype(np.int64)
        out = np.full(40, 99).astype(dtype)
        expected = out.copy()
        expected[places] = value
        step(value=value, places=places, out=out)
        np.testing.assert_array_equal(out, expected)


# ----------------------------------------------------------------------------
# Many backends of many fields
# ----------------------------------------------------------------------------


def many(backends: int, fields: int) -> nb.Builder:
    """Tables and vectors for each backend, all optional."""
    s = nb.Builder("many")
    n, columns = s.size("n"), s.size("columns")
    lens = s.input("lens", "int32", (n,))
    for field in range(fields):
        if field % 3 == 0:
            value = s.map(
                (n, columns), lambda r, c, f=field: lens[r] * f + c.astype("int32")
            )
        else:
            value = s.map((n,), lambda r, f=field: lens[r] + f)
        s.output([f"b{b}_f{field}" for b in range(backends)], value, optional=True)
    return s


def test_sixteen_backends_of_25_fields():
    """400 arrays: two launches in what all PTX has, one with large parameters."""
    builder = many(16, 25)
    assert len(builder.compile("cuda").kernels) == 2
    step = builder.compile("cuda", large_parameters=True)
    assert len(step.kernels) == 1
    assert ".version 8.1" in step.ptx
    (kernel,) = json.loads(step.manifest)["kernels"]
    assert 4352 < 8 * len(kernel["parameters"]) <= 32764
    # From there on, every PTX is recent enough.
    assert len(builder.compile("cuda", "sm_100").kernels) == 1


@pytest.mark.skipif(not shutil.which("ptxas"), reason="ptxas is not in PATH")
def test_registers_of_sixteen_v4_backends(tmp_path):
    """Backends cost parameters, not registers: 25 fields of each, any of them missing."""
    options = _v4.Options("decode", 1, False, False, 512, 256, 128, 64)
    text, _ = _v4.write(options, (V4_FIELDS,) * 16, {}, optional=True)
    step = nsa.compile(text, "cuda", "sm_90", large_parameters=True)["v4_decode"]
    (tmp_path / "step.ptx").write_text(step.ptx)
    command = ["ptxas", "-arch=sm_90", "-v", "-o", tmp_path / "cubin", tmp_path / "step.ptx"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert len(step.kernels) == 1
    assert "0 bytes spill stores, 0 bytes spill loads" in said
    assert int(re.search(r"Used (\d+) registers", said)[1]) <= 40


def test_many_backends_on_the_host():
    step = many(16, 25).compile("cpu", large_parameters=True)
    rng = np.random.default_rng(0)
    n, columns = 5, 37
    lens = rng.integers(0, 99, n).astype(np.int32)
    given, expected = {}, {}
    for backend, field in itertools.product(range(16), range(25)):
        if rng.random() < 0.5:
            continue
        name = f"b{backend}_f{field}"
        if field % 3 == 0:
            given[name] = np.full((n, columns), 77, np.int32)
            expected[name] = lens[:, None] * field + np.arange(columns, dtype=np.int32)
        else:
            given[name] = np.full(n, 77, np.int32)
            expected[name] = lens + field
    step(n=n, columns=columns, lens=lens, **given)
    for name, array in given.items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_shipped_copies_of_optional_sets():
    """A set may be missing as a whole, or any of its fields."""
    text = """
    nsa.step @copy(in %bs : index, in %max_len : index,
                   in %src[%bs, %max_len] : !nsa.metadata<decode>,
                   out %b0 : !nsa.metadata_ref<decode>,
                   out optional %b1 : !nsa.metadata_ref<decode>) {
      nsa.copy_metadata %src to %b0, %b1
          : !nsa.metadata<decode> to !nsa.metadata_ref<decode>, !nsa.metadata_ref<decode>
    }"""
    parameters = nsa.compile(text, "cpu")["copy"].signature.parameters
    assert parameters["b1_cache_seqlens"].default is None
    assert parameters["b0_cache_seqlens"].default is parameters["bs"].empty


def test_builder_says_what_is_wrong():
    s = nb.Builder("wrong")
    n = s.size("n")
    value = s.input("value", "int32", (n,))
    with pytest.raises(nb.BuildError, match="a condition"):
        s.output("out", value, when=1)
    with pytest.raises(nb.BuildError, match="places"):
        s.output("out", value, at=[1])
    with pytest.raises(nb.BuildError, match="one or two dimensions but got 3"):
        s.output("out", value, at=[value] * 3)
    other = nb.Builder("other")
    mask = other.input("mask", "int8", (other.size("n"),))
    with pytest.raises(nb.BuildError):
        s.output("out", value, when=mask)
    s.output("out", value, when=s.input("mask", "int8", (None,)))
    with pytest.raises(nsa.CompileError, match="to have the sizes of the value"):
        s.compile("cpu")


def test_null_pointers_through_the_c_abi():
    """A null address is a missing array to whoever calls with addresses."""
    step = Stores("cpu").step
    assert "optional" in step.manifest
    case = make_case(np.random.default_rng(2))
    # An array of no elements has an address; what counts is the address alone.
    empty = np.zeros(0, np.int32)
    assert empty.ctypes.data_as(ctypes.c_void_p).value
    with pytest.raises(ValueError, match="'sums': expected shape"):
        step(**case.inputs, n=case.n, columns=case.columns, sums=empty)


@pytest.mark.parametrize("target", ["cpu", "simt"])
def test_more_arrays_than_a_word_has_bits(target):
    """Which of 70 arrays are there is in two words; any of them may be missing."""
    s = nb.Builder("many")
    n = s.size("n")
    values = s.input("values", "int32", (n,))
    names = [f"out{i}" for i in range(70)]
    s.output(names[:40], values, optional=True)
    s.output(names[40:], s.map(n, lambda i: values[i] + 1), optional=True)
    step = s.compile(target)
    (kernel,) = json.loads(step.manifest)["kernels"]
    words = [p["arguments"] for p in kernel["parameters"] if p["field"] == "presence"]
    assert words == [names[:64], names[64:]]
    values = np.arange(5, dtype=np.int32)
    chosen = [[], [0], [63], [64], [69], [39, 40], [0, 31, 32, 63, 64, 69], list(range(70))]
    for present in chosen:
        arrays = {names[i]: np.full(5, -7, np.int32) for i in present}
        step(n=5, values=values, **arrays)
        for i in present:
            np.testing.assert_array_equal(arrays[names[i]], values + (i >= 40), names[i])


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["n"], ["table"] * 65])
def test_a_manifest_with_another_presence(tmp_path, arguments):
    s = nb.Builder("few")
    n = s.size("n")
    s.output("table", s.map(n, lambda i: i), optional=True)
    nsa.compile(s.text, "cpu").save(tmp_path)
    (path,) = tmp_path.glob("**/few.json")
    manifest = json.loads(path.read_text())
    (word,) = (
        p for p in manifest["kernels"][0]["parameters"] if p["field"] == "presence"
    )
    word["arguments"] = arguments
    path.write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="few.json|arguments|argument"):
        nsa.load(tmp_path)


# ----------------------------------------------------------------------------
# Several arrays of one value
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("columns", [8, 11])
def test_arrays_of_which_some_are_aligned(target, columns):
    """Three arrays of a table, each at the start of 16 bytes or 4 past it, rows apart by
    whole vectors or not: those that are all aligned are stored together."""
    s = nb.Builder("several")
    n, width = s.size("n"), s.size("width")
    table = s.input("table", "int32", (n, width))
    names = ["a", "b", "c"]
    s.output(names, table)
    step = s.compile(target)
    values = np.arange(3 * columns, dtype=np.int32).reshape(3, columns)
    for offsets in itertools.product((0, 1), (0, 1), (0, 1)):
        for pitch in (12, 13):
            arrays, backing = {}, {}
            for name, offset in zip(names, offsets):
                memory = np.full(64, -7, np.int32)
                first = (-memory.ctypes.data // 4) % 4 + offset
                rows = memory[first : first + 3 * pitch].reshape(3, pitch)
                arrays[name], backing[name] = rows[:, :columns], memory
            step(n=3, width=columns, table=values, **arrays)
            for name in names:
                what = f"{name}, {offsets}, {pitch}"
                np.testing.assert_array_equal(arrays[name], values, what)
                assert (backing[name] == -7).sum() == 64 - values.size, what


# ----------------------------------------------------------------------------
# Pages of a table's tiles
# ----------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("page_size", [8, 16, 48, 64, 256])
def test_pages_beside_their_table(target, page_size):
    """Of a tile of 512 columns a warp takes up to 32 pages, of 16 tokens and more; of 8 there
    are more, and 48 divides no tile: those are picked from the tokens that pass."""
    s = nb.Builder("pages")
    n, width = s.size("n"), s.size("width")
    tokens, rows = s.input("tokens", "int32", (None, None)), s.input("rows", "int64", (n,))
    table = s.page_table(tokens, rows, width)
    pages = s.real_page_table(table, page_size)
    s.output(["a", "b"], table)
    s.output(["c", "d"], pages)
    step = s.compile(target)
    values = np.arange(4 * 1100, dtype=np.int32).reshape(4, 1100)
    picked = np.array([2, 7, 0, -1], np.int64)
    for columns in (1, page_size, 511, 512, 513, 1100, 1203):
        expected = np.zeros((4, columns), np.int32)
        there = min(columns, 1100)
        expected[[0, 2], :there] = values[[2, 0], :there]
        count = -(-columns // page_size)
        arrays = {name: np.full((4, columns), -7, np.int32) for name in "ab"}
        # A column more, which is nobody's.
        arrays |= {name: np.full((4, count + 1), -7, np.int32) for name in "cd"}
        step(n=4, width=columns, tokens=values, rows=picked, **arrays)
        for name in "ab":
            np.testing.assert_array_equal(arrays[name], expected, f"{name}, {columns}")
        for name in "cd":
            what = f"{name}, {columns}"
            wanted = expected[:, ::page_size] // page_size
            np.testing.assert_array_equal(arrays[name][:, :-1], wanted, what)
            assert (arrays[name][:, -1] == -7).all(), what
