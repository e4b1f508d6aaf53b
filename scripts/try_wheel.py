# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Tries an installed wheel in an environment that has nothing else: runs a decode replay on
the host, with arrays of the standard library, and compares it with plain Python; then the
command line, which runs steps only where there is NumPy."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import tempfile
from array import array
from pathlib import Path

import nsa

TOPK, PAGE_SIZE = 2048, 64


def table(rows: int, columns: int, values: list[int] | None = None) -> memoryview:
    """An int32 matrix."""
    flat = array("i", values if values is not None else [-1] * (rows * columns))
    return memoryview(flat).cast("B").cast("i", [rows, columns])


def sums(values: list[int]) -> list[int]:
    return [sum(values[:i]) for i in range(len(values) + 1)]


def check(bs: int, max_len: int) -> None:
    pool_rows = bs + 3
    lens = [random.randint(1, max_len) for _ in range(bs)]
    pools = random.sample(range(pool_rows), bs)
    slots = [random.randrange(1 << 20) for _ in range(pool_rows * max_len)]
    pages = -(-max_len // PAGE_SIZE)
    out = {
        "cache_seqlens": array("i", [-1] * bs),
        "cu_seqlens_k": array("i", [-1] * (bs + 1)),
        "nsa_cache_seqlens": array("i", [-1] * bs),
        "nsa_cu_seqlens_k": array("i", [-1] * (bs + 1)),
        "page_table_1": table(bs, max_len),
        "real_page_table": table(bs, pages),
    }
    nsa.ops.replay_metadata(
        [out],
        "decode",
        seq_lens=array("q", lens),
        req_pool_indices=array("q", pools),
        req_to_token=table(pool_rows, max_len, slots),
        max_len=max_len,
        topk=TOPK,
        page_size=PAGE_SIZE,
        live_only=True,
    )
    shorter = [min(length, TOPK) for length in lens]
    assert list(out["cache_seqlens"]) == lens
    assert list(out["cu_seqlens_k"]) == sums(lens)
    assert list(out["nsa_cache_seqlens"]) == shorter
    assert list(out["nsa_cu_seqlens_k"]) == sums(shorter)
    for b, (length, pool) in enumerate(zip(lens, pools)):
        row = slots[pool * max_len : pool * max_len + length]
        assert out["page_table_1"].tolist()[b][:length] == row
        live = -(-length // PAGE_SIZE)
        expected = [row[j * PAGE_SIZE] // PAGE_SIZE for j in range(live)]
        assert out["real_page_table"].tolist()[b][:live] == expected


STEP = """nsa.step @lengths(in %bs : index, in %lens[%bs] : tensor<?xi64>, out %cu : memref<?xi32>) {
  %len = nsa.seqlens %lens plus 5 : tensor<?xi64> -> tensor<?xi32>
  %sums = nsa.cu_seqlens %len : tensor<?xi32> -> tensor<?xi32>
  nsa.copy %sums to %cu : tensor<?xi32> to memref<?xi32>
}"""


def check_compiler() -> None:
    """A step that nobody has shipped."""
    out = array("i", [-1] * 4)
    nsa.compile(STEP, "cpu")["lengths"](lens=array("q", [3, 1, 2]), cu=out)
    assert list(out) == [0, 8, 14, 21]
    assert ".visible .entry lengths(" in nsa.compile(STEP, "cuda")["lengths"].ptx


def tool(*arguments: str) -> str:
    """What ``python -m nsa`` prints."""
    command = [sys.executable, "-I", "-m", "nsa", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def check_tools() -> str:
    """Says what was tried."""
    assert nsa.__version__ in tool("info")
    rows = [line.split() for line in tool("list").splitlines()[1:]]
    key = next(
        key
        for key, step, targets, *ports in rows
        if step == "decode_replay" and "cpu" in targets and "seq_lens:int64" in ports
        and "max_len" in ports
    )  # fmt: skip
    assert "decode_replay" in tool("inspect", key)
    if importlib.util.find_spec("numpy") is None:
        return "info, list, inspect"
    import numpy as np

    with tempfile.TemporaryDirectory() as folder:
        inputs = {
            "seq_lens": np.array([3, 1, 2]),
            "req_pool_indices": np.array([1, 0, 3]),
            "req_to_token": np.arange(32, dtype=np.int32).reshape(4, 8),
        }
        given = []
        for name, values in inputs.items():
            np.save(f"{folder}/{name}.npy", values)
            given.append(f"--{name}=@{folder}/{name}.npy")
        tool("run", key, *given, "--max_len=8", "--device", "cpu", "--save", folder)
        assert np.load(f"{folder}/b0_cache_seqlens.npy").tolist() == [3, 1, 2]
        assert np.load(f"{folder}/b0_cu_seqlens_k.npy").tolist() == [0, 3, 4, 6]
    return "info, list, inspect, run"


def main() -> None:
    package = Path(nsa.__file__).resolve().parent
    assert Path(sys.prefix).resolve() in package.parents, package
    random.seed(7)
    for bs, max_len in ((1, 1), (3, 200), (17, 2500), (64, 65)):
        check(bs, max_len)
    if nsa.has_compiler():
        check_compiler()
    maps = Path("/proc/self/maps").read_text()
    assert "libLLVM" not in maps and "libMLIR" not in maps
    one, none = array("i", [1]), array("i")
    try:
        nsa.ops.expand_seqlens(one, array("q", [5]), TOPK, array("i", [0]), array("i", [0]),
                               out_total=none)
    except ValueError as error:
        message = str(error)
    tools = check_tools()
    compiler = "with" if nsa.has_compiler() else "without"
    tag = sys.implementation.cache_tag
    print(
        f"{tag}, {compiler} the compiler: replays on the host and python -m nsa ({tools}) are "
        f"right; {message}"
    )

if __name__ == "__main__":
    main()
