# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps that put values together in ways that no ready-made operation does.

Each case is a text, its arguments, and what the outputs have to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from dequant_reference import canonical, reference_dequant
from numpy.typing import NDArray
from reference import wrap_int32

import nsa

V, T, M = "tensor<?xi32>", "tensor<?x?xi32>", "memref<?xi32>"
FILL = -7
EXPANSIONS = {
    "uniform": "by 3",
    "none": "by 0",
    "padded": "by 3 padded to %bound",
    "ragged": f"by %extend within %bound : {V}",
    "ragged_padded": f"by %extend padded to %bound : {V}",
}


@dataclass
class Case:
    name: str
    text: str
    arguments: dict[str, Any]
    wanted: dict[str, NDArray[Any]] = field(default_factory=dict)


def rows_of(kind: str, extend: NDArray[np.int32], bound: int) -> list[tuple[int, int] | None]:
    """(request, number) of each row; None for padding; rows that are not there are left out."""
    requests = len(extend)
    counts = {"uniform": [3] * requests, "none": [0] * requests, "padded": [3] * requests}.get(
        kind, [int(min(max(count, 0), bound)) for count in extend]
    )
    rows: list[tuple[int, int] | None] = [
        (request, number) for request in range(requests) for number in range(counts[request])
    ]
    if kind in ("uniform", "none"):
        return rows
    rows = rows[:bound]
    if kind.endswith("padded"):
        rows += [None] * (bound - len(rows))
    return rows


def expanded(
    kind: str, lens: NDArray[np.int32], extend: NDArray[np.int32], bound: int
) -> NDArray[np.int32]:
    """`nsa.expand_seqlens following` of each row."""
    values = [
        0 if row is None else int(lens[row[0]]) + 1 + row[1]
        for row in rows_of(kind, extend, bound)
    ]
    return wrap_int32(np.array(values, np.int64))


def sums_case(kind: str, lens: NDArray[np.int32], extend: NDArray[np.int32], bound: int) -> Case:
    """Values that are computed from sums of rows: their first is that of 0 rows."""
    ports = "in %bs : index, in %bound : index, " if kind not in ("uniform", "none") else "in %bs : index, "
    ports += f"in %lens[%bs] : {V}, in %table : {V}, "
    if kind.startswith("ragged"):
        ports += f"in %extend[%bs] : {V}, "
    text = f"""nsa.step @sums({ports}out %plus : {M}, out %picked : {M}, out %rest : {M}) {{
  %rows = nsa.expansion {EXPANSIONS[kind]}
  %next = nsa.expand_seqlens following %lens over %rows : {V} -> {V}
  %cu = nsa.cu_seqlens %next : {V} -> {V}
  %more = nsa.seqlens %cu plus 100 : {V} -> {V}
  %found = nsa.lookup %table[%cu] : {V}, {V}
  nsa.copy %more to %plus : {V} to {M}
  nsa.copy %found to %picked : {V} to {M}
  nsa.copy %more from 1 to %rest : {V} to {M}
}}"""
    table = np.arange(1000, 1050, dtype=np.int32)
    summands = expanded(kind, lens, extend, bound)
    cu = wrap_int32(np.concatenate(([0], np.cumsum(summands.astype(np.int64)))))
    room = bound + 3 * len(lens) + 2
    wanted = {name: np.full(room, FILL, np.int32) for name in ("plus", "picked", "rest")}
    wanted["plus"][: len(cu)] = wrap_int32(cu.astype(np.int64) + 100)
    wanted["rest"][1 : len(cu)] = wanted["plus"][1 : len(cu)]
    inside = (cu >= 0) & (cu < len(table))
    wanted["picked"][: len(cu)] = np.where(inside, table[np.where(inside, cu, 0)], 0)
    arguments: dict[str, Any] = {"bs": len(lens), "lens": lens, "table": table}
    if kind not in ("uniform", "none"):
        arguments["bound"] = bound
    if kind.startswith("ragged"):
        arguments["extend"] = extend
    return Case(f"sums_{kind}", text, arguments, wanted)


def dequant_case(
    kind: str, lens: NDArray[np.int32], extend: NDArray[np.int32], bound: int, seed: int
) -> Case:
    """Tokens are gathered, and their rows of the cache dequantised, in one launch."""
    rng = np.random.default_rng(seed)
    layout = nsa.layouts.parse(nsa.layouts.NAMED["indexer"])
    pages, page_size = 5, 4
    cache = rng.integers(0, 256, (pages, page_size * (128 + 4)), dtype=np.uint8)
    table = rng.integers(-3, pages * page_size + 3, (len(lens) + 1, 9), dtype=np.int32)
    ports = "in %bs : index, in %bound : index, " if kind not in ("uniform", "none") else "in %bs : index, "
    ports += f"in %lens[%bs] : {V}, in %table : {T}, in %cache : tensor<?x?xi8>, "
    if kind.startswith("ragged"):
        ports += f"in %extend[%bs] : {V}, "
    text = f"""nsa.step @gathered({ports}out %kv : memref<?x128xbf16>) {{
  %rows = nsa.expansion {EXPANSIONS[kind]}
  %tokens = nsa.token_ranges %table[%lens] from %lens over %rows : {T}, {V}, {V} -> {V}
  %deq = nsa.dequant_paged %cache[%tokens] layout #nsa.kv_layout<indexer> page_size {page_size}
      : tensor<?x?xi8>, {V} -> tensor<?x128xbf16>
  nsa.copy %deq to %kv : tensor<?x128xbf16> to memref<?x128xbf16>
}}"""
    ids = []
    for row in rows_of(kind, extend, bound):
        request, number = row if row is not None else (0, 0)
        pool = int(lens[request]) if len(lens) else -1
        column = pool + number
        known = row is not None and 0 <= pool < table.shape[0] and 0 <= column < table.shape[1]
        ids.append(int(table[pool, column]) if known else 0)
    room = max(bound, 3 * len(lens)) + 1
    wanted = np.full((room, 128), 0x4242, np.uint16)
    wanted[: len(ids)] = reference_dequant(cache, np.array(ids, np.int64), layout, page_size)
    arguments: dict[str, Any] = {"bs": len(lens), "lens": lens, "table": table, "cache": cache}
    if kind not in ("uniform", "none"):
        arguments["bound"] = bound
    if kind.startswith("ragged"):
        arguments["extend"] = extend
    return Case(f"gathered_{kind}", text, arguments, {"kv": wanted})


def dim_case(requests: int) -> Case:
    """`tensor.dim` of a port is its extent, not its array's size."""
    text = f"""nsa.step @dims(in %bs : index, in %x[%bs] : {V}, in %t : {T},
    out %o : memref<?x?xi32, strided<[?, 1]>>, out %l : {M}) {{
  %c0 = arith.constant 0 : index
  %d = tensor.dim %x, %c0 : {V}
  %p = nsa.page_table %t[%x] columns %d : {T}, {V} -> {T}
  %b = nsa.compressed_bases %d stride %d : {V}
  nsa.copy %p to %o : {T} to memref<?x?xi32, strided<[?, 1]>>
  nsa.copy %b to %l : {V} to {M}
}}"""
    x = np.arange(requests + 4, dtype=np.int32) % 3
    table = np.arange(60, dtype=np.int32).reshape(3, 20)
    wanted = np.full((requests + 2, requests + 3), FILL, np.int32)
    wanted[:requests, :requests] = table[x[:requests], :requests]
    bases = np.full(requests + 2, FILL, np.int32)
    bases[:requests] = np.arange(requests) * requests
    return Case("dims", text, {"bs": requests, "x": x, "t": table}, {"o": wanted, "l": bases})


def cases() -> Iterator[Case]:
    rng = np.random.default_rng(11)
    for kind in EXPANSIONS:
        for requests in (0, 1, 5, 33, 130):
            extend = rng.integers(-2, 5, requests, dtype=np.int32)
            lens = rng.integers(0, 7, requests, dtype=np.int32)
            bound = int(np.maximum(extend, 0).sum()) + int(rng.integers(0, 4)) - 1
            bound = max(bound, 0)
            yield sums_case(kind, lens, extend, bound)
            yield dequant_case(kind, lens, extend, bound, requests)
    extreme = np.array([2**31 - 1, -(2**31), 5, -1], np.int32)
    yield sums_case("ragged", extreme, np.array([2, 2**31 - 1, 3, 3], np.int32), 7)
    yield dequant_case("ragged_padded", extreme, np.array([2, 2**31 - 1, 3, 3], np.int32), 7, 1)
    for requests in (0, 1, 7):
        yield dim_case(requests)


def texts() -> set[str]:
    return {case.text for case in cases()}


def run(case: Case, step: Any, gpu: Any = None) -> None:
    """Calls `step` with the case's arguments, on `gpu` if that is given, and compares the
    outputs bit by bit."""
    place = gpu.asarray if gpu else lambda array: array
    arguments = {
        name: place(value) if isinstance(value, np.ndarray) else value
        for name, value in case.arguments.items()
    }
    outputs = {
        name: place(np.full_like(wanted, 0x4242 if wanted.dtype == np.uint16 else FILL))
        for name, wanted in case.wanted.items()
    }
    step(**arguments, **outputs)
    for name, wanted in case.wanted.items():
        got = gpu.asnumpy(outputs[name]) if gpu else outputs[name]
        if wanted.dtype == np.uint16:
            got, wanted = canonical(got), canonical(wanted)
        np.testing.assert_array_equal(got, wanted, err_msg=f"{case.name} {name}")
