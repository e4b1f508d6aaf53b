# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Modules of tvm-ffi: loaded by its own loader, called with CPU tensors; errors are Python's and
name the argument."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nsa
from nsa import steps
from nsa import tvm_ffi as modules

tvm_ffi = pytest.importorskip("tvm_ffi", reason="apache-tvm-ffi is not installed")
pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

TEXT = """nsa.step @lengths(in %bs : index, in %seq_lens[%bs] : tensor<?xi64>,
                  out %b0_lens : memref<?xi32>, out %b0_cu : memref<?xi32>,
                  out %b1_lens : memref<?xi32>) {
  %len = nsa.seqlens %seq_lens plus 0 : tensor<?xi64> -> tensor<?xi32>
  %cu = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %len to %b0_lens, %b1_lens : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %cu to %b0_cu : tensor<?xi32> to memref<?xi32>
}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modules of tvm-ffi")
    assert modules.build(TEXT, folder) == [str(folder / "lengths.ffi.so")]
    return folder


@pytest.fixture(scope="module")
def lengths(folder: Path) -> Any:
    return tvm_ffi.load_module(str(folder / "lengths.ffi.so"))


def tensor(*values: int, dtype: Any = np.int32) -> Any:
    return tvm_ffi.from_dlpack(np.array(values, dtype))


def outputs(n: int = 3) -> list[Any]:
    return [tensor(*[-1] * n), tensor(*[-1] * (n + 1)), tensor(*[-1] * n)]


LENS = (3, 1, 2)


def test_call(lengths: Any) -> None:
    seq_lens, out = tensor(*LENS, dtype=np.int64), outputs()
    lengths.lengths(None, seq_lens, *out)
    assert [np.from_dlpack(each).tolist() for each in out] == [[3, 1, 2], [0, 3, 4, 6], [3, 1, 2]]
    out = outputs()
    lengths.lengths(2, seq_lens, *out)
    assert np.from_dlpack(out[1]).tolist() == [0, 3, 4, -1]
    lengths.lengths(0, seq_lens, *outputs())


def test_strides_and_offsets(lengths: Any) -> None:
    """A tensor is what DLPack says: strides, and where it begins."""
    base = np.array([9, 3, 9, 1, 9, 2, 9], np.int64)
    out = outputs()
    lengths.lengths(None, tvm_ffi.from_dlpack(base[1::2]), *out)
    assert np.from_dlpack(out[1]).tolist() == [0, 3, 4, 6]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({0: -1}, ValueError, "argument 'bs': expected a size from 0 to 2147483647 but got -1"),
        ({0: 4}, ValueError, "argument 'seq_lens': expected shape\\[0\\] to be at least 4"),
        ({0: 1.5}, TypeError, "argument 'bs': expected an integer or None"),
        ({1: 5}, TypeError, "argument 'seq_lens': expected a 1-d int64 tensor"),
        ({1: tensor(*LENS)}, TypeError, "argument 'seq_lens': expected dtype int64 but got int32"),
        (
            {1: tensor(*LENS, dtype=np.bool_)}, TypeError,
            "argument 'seq_lens': expected dtype int64 but got code 6, 8 bits, 1 lanes",
        ),
        ({2: tensor(1, 2)}, ValueError, "argument 'b0_lens': expected shape\\[0\\]"),
        (
            {2: tvm_ffi.from_dlpack(np.zeros((3, 1), np.int32))},
            ValueError,
            "argument 'b0_lens': expected 1 dimension but got 2",
        ),
    ],
)
def test_refused(lengths: Any, change: dict[int, Any], error: type, message: str) -> None:
    out = outputs()
    arguments = [None, tensor(*LENS, dtype=np.int64), *out]
    for place, value in change.items():
        arguments[place] = value
    with pytest.raises(error, match=message):
        lengths.lengths(*arguments)
    # Nothing was written.
    assert all((np.from_dlpack(each) == -1).all() for each in out)


def test_refused_overlap_and_count(lengths: Any) -> None:
    seq_lens, out = tensor(*LENS, dtype=np.int64), outputs()
    with pytest.raises(ValueError, match="argument 'b0_cu': expected an array that overlaps no"):
        base = np.zeros(6, np.int32)
        lengths.lengths(
            None, seq_lens, tvm_ffi.from_dlpack(base[:3]), tvm_ffi.from_dlpack(base[2:]), out[2]
        )
    with pytest.raises(TypeError, match="expected 5 arguments \\(bs, seq_lens, b0_lens, b0_cu,"):
        lengths.lengths(seq_lens)


def test_no_driver(lengths: Any) -> None:
    with pytest.raises(TypeError, match="expected the number of a CUDA device"):
        lengths.lengths_load("0")
    try:
        nsa.device_count()
    except nsa.DriverError:
        with pytest.raises(RuntimeError, match="no CUDA driver"):
            lengths.lengths_load(0)


def test_doc(lengths: Any) -> None:
    """Which argument is where."""
    assert lengths.get_function_doc("lengths").startswith(
        "lengths(bs: size, seq_lens: in int64[?], b0_lens: out int32[?]"
    )


def test_nothing_is_linked(folder: Path) -> None:
    """Neither tvm-ffi nor CUDA nor nsa; what it exports are the functions."""
    path = str(folder / "lengths.ffi.so")
    needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True)
    libraries = [line.split("[")[1] for line in needed.stdout.splitlines() if "NEEDED" in line]
    assert all(name.startswith(("libc.", "libdl.", "libpthread.")) for name in libraries)
    symbols = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True)
    rows = [line.split() for line in symbols.stdout.splitlines()]
    undefined = {row[-1] for row in rows if row[-2] == "U" and "TVM" in row[-1]}
    assert undefined == {
        "TVMFFIEnvGetStream", "TVMFFIErrorSetRaisedFromCStr", "TVMFFIStringFromByteArray",
    }
    defined = {row[-1] for row in rows if row[-2] == "T"}
    assert defined == {
        "__tvm_ffi_lengths", "__tvm_ffi_lengths_load", "__tvm_ffi__doc_lengths", "lengths.lengths",
    }


def test_threads(lengths: Any) -> None:
    """A call keeps what it needs to itself."""
    wrong = []

    def work(seed: int) -> None:
        lens = np.random.default_rng(seed).integers(0, 9, 50)
        out = outputs(50)
        seq_lens = tvm_ffi.from_dlpack(lens)
        for _ in range(2000):
            lengths.lengths(None, seq_lens, *out)
        if np.from_dlpack(out[1]).tolist() != [0, *np.cumsum(lens)]:
            wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_every_kind_of_step(tmp_path: Path) -> None:
    """Tables, several kernels, and storage of 16 bits: what tvm-ffi computes, nsa does."""
    rng = np.random.default_rng(3)
    text = steps.dequant_paged([("v32", 1, "int32")])
    (path,) = modules.build(text, tmp_path)
    cache = rng.integers(0, 256, (8, 656), np.uint8)
    ids = np.array([3, 0, 7, -1, 9], np.int32)
    out, expected = (np.full((5, 576), 7, np.uint16) for _ in range(2))
    names = [argument[0] for argument in nsa.compile(text)["dequant_paged"].arguments]
    given = {"tokens0": 5, "cache0": cache, "ids0": ids, "out0": out}
    call = [given[n] if n == "tokens0" else tvm_ffi.from_dlpack(given[n]) for n in names]
    tvm_ffi.load_module(path).dequant_paged(*call)
    nsa.compile(text, "cpu")["dequant_paged"](**{**given, "out0": expected})
    assert np.array_equal(out, expected)

    (path,) = modules.build(TEXT, tmp_path / "unfused", fuse=False)
    many = outputs()
    tvm_ffi.load_module(path).lengths(None, tensor(*LENS, dtype=np.int64), *many)
    assert np.from_dlpack(many[1]).tolist() == [0, 3, 4, 6]


OPTIONAL = """nsa.step @maybe(in %n : index, in %lens[%n] : tensor<?xi32>,
                out %b0 : memref<?xi32>, out optional %b1 : memref<?xi32>,
                out optional %b2 : memref<?xi8>) {
  %low = nsa.map(%r) in (%n) : tensor<?xi8> {
    %x = nsa.read %lens[%r] : tensor<?xi32>
    %t = arith.trunci %x : i32 to i8
    nsa.yield %t : i8
  }
  nsa.copy %lens to %b0, %b1 : tensor<?xi32> to memref<?xi32>, memref<?xi32>
  nsa.copy %low to %b2 : tensor<?xi8> to memref<?xi8>
}
"""


@pytest.mark.parametrize("fuse", [True, False])
def test_optional(tmp_path: Path, fuse: bool) -> None:
    """What is None is not there, by the straight checks and, where a size is None, by tables;
    types that stand for each other go by tables."""
    (path,) = modules.build(OPTIONAL, tmp_path, fuse=fuse)
    maybe = tvm_ffi.load_module(path).maybe
    lens = tensor(3, 300, 2)
    for n in (3, 2, 0, None):
        for has_b1 in (True, False):
            for low in (np.int8, np.uint8, None):
                b0, b1 = np.full(4, -1, np.int32), np.full(3, -1, np.int32)
                b2 = np.full(5, 77, low or np.int8)
                maybe(
                    n, lens, tvm_ffi.from_dlpack(b0),
                    tvm_ffi.from_dlpack(b1) if has_b1 else None,
                    tvm_ffi.from_dlpack(b2) if low else None,
                )  # fmt: skip
                count = 3 if n is None else n
                assert b0.tolist() == [*[3, 300, 2][:count], *[-1] * (4 - count)]
                assert b1.tolist() == [
                    *[3, 300, 2][: count if has_b1 else 0], *[-1] * (3 - count if has_b1 else 3)
                ]  # fmt: skip
                assert b2.tolist() == [
                    *[3, 44, 2][: count if low else 0], *[77] * (5 - count if low else 5)
                ]  # fmt: skip
    for wrong in (tensor(1), tensor(1, 2, 3, dtype=np.int64), 5):
        with pytest.raises((ValueError, TypeError), match="argument 'b1'"):
            maybe(3, lens, tensor(0, 0, 0), wrong, None)
    with pytest.raises(TypeError, match="argument 'b0': expected a 1-d int32 tensor"):
        maybe(3, lens, None, None, None)


def test_errors_of_building(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(nsa.CompileError, match="error"):
        modules.build("nsa.step @x() {}", tmp_path)
    monkeypatch.setenv("NSA_CC", "no-such-compiler")
    with pytest.raises(RuntimeError, match="NSA_CC: expected a program"):
        modules.build(TEXT, tmp_path)
    assert not list(tmp_path.iterdir())


def test_package_does_without(tmp_path: Path) -> None:
    """`import nsa` imports no tvm_ffi."""
    code = "import sys, nsa, nsa.tvm_ffi; sys.exit('tvm_ffi' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
