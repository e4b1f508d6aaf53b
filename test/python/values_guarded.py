# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Runs every value over hostile contents and the smallest arrays that a launcher takes.

    values_guarded.py [NAME...]

Kernels are compiled with guards, which are asked after each run: the first case with an access
outside of an array is the last line of the output. Every value is copied to a
contiguous destination and to one with free strides, fused and unfused.
"""

from __future__ import annotations

import json
import re
import sys

import numpy as np

import nsa
from nsa.fuzz.check import evaluate

V, L, T, B = "tensor<?xi32>", "tensor<?xi64>", "tensor<?x?xi32>", "tensor<?x?xi8>"
#: Arrays: what the port is, and a shape for the dimensions that nothing else gives.
ARRAYS = {
    "lens": (f"[%bs] : {V}", (0,)),
    "more": (f"[%bs] : {V}", (0,)),
    "wide": (f"[%bs] : {L}", (0,)),
    "starts": (f"[%bs + 1] : {V}", (0,)),
    "whole": (f" : {V}", (5,)),
    "map": (f" : {L}", (11,)),
    "tokens": (f" : {T}", (4, 13)),
    "topk": (f" : {T}", (0, 0)),
    "cache": (f" : {B}", (3, 0)),
}
SIZES = {"bs": 0, "bound": 7, "columns": 13, "queries": 6, "limit": 9}

TABLE = f"nsa.page_table %tokens[%wide] columns %columns : {T}, {L} -> {T}"
RANGES = f"nsa.token_ranges %tokens[%wide] from %lens over %e : {T}, {L}, {V} -> {V}"
#: Negative for every bs here; computed, so that no launcher checks it.
LESS = "%less = affine.apply affine_map<()[s0] -> (s0 * 10 - 1000)>()[%bs]\n"
NEGATIVE = f"{LESS}%negative = nsa.compressed_bases %less stride %bound : {V}\n"
BASES = f"""%sums = nsa.cu_seqlens %more : {V} -> {V}
%windows = nsa.window_bases %sums from %bound : {V} -> {V}
%bases = nsa.compressed_bases %bs stride %bound : {V}
"""
#: Slots at places that contents say, through sums that contents say.
SUMS = f"""%sums = nsa.scan %lens : {V} -> {V}
%places = nsa.iterate(%i, %x) in (%bs) from -1 : {V} {{
  %place = arith.index_cast %x : i32 to index
  %found = nsa.search %sums for %place : {V}
  %next = nsa.read %lens[%found] else %x : {V}
  nsa.yield %next : i32
}}
"""
GATHERED = f"""nsa.map(%r, %c) in (%bs, %columns) : {T} {{
  %none = arith.constant -1 : i32
  %row = nsa.read %wide[%r] : {L}
  %from = nsa.read %places[%r] : {V}
  %column = arith.index_cast %from : i32 to index
  %i = arith.index_cast %row : i64 to index
  %j = arith.addi %column, %c : index
  %slot = nsa.read %tokens[%i, %j] else %none : {T}
  nsa.yield %slot : i32
}}
"""
QUERIES = "queries %queries at %starts lengths %lens"

#: The type of each value, and how to make it: a line, or lines that begin with `%v =`.
VALUES = {
    "port": (V, f"nsa.seqlens %whole plus 0 : {V} -> {V}"),
    "seqlens": (V, f"nsa.seqlens %wide plus 3 : {L} -> {V}"),
    "clip_seqlens": (V, f"nsa.clip_seqlens %lens to 5 : {V}"),
    "cu_seqlens": (V, f"nsa.cu_seqlens %lens : {V} -> {V}"),
    "tile_sums": (V, f"nsa.tile_sums %lens : {V} -> {V}"),
    "cu_seqlens_of_nothing": (
        V,
        f"{NEGATIVE}%v = nsa.cu_seqlens %negative : {V} -> {V}",
    ),
    "page_table": (T, TABLE),
    "page_table_live": (
        T,
        f"nsa.page_table %tokens[%wide] columns %columns live %lens : {V} : {T}, {L} -> {T}",
    ),
    "page_table_of_nothing": (T, f'{LESS}%v = {TABLE.replace("%columns", "%less")}'),
    "real_page_table": (
        T,
        f"%t = {TABLE}\n%v = nsa.real_page_table %t page_size 3 : {T} -> {T}",
    ),
    "real_page_table_of_port": (
        T,
        f"nsa.real_page_table %tokens page_size 3 : {T} -> {T}",
    ),
    "context_lens": (
        "tensor<?x3xi32>",
        f"nsa.context_lens %lens columns 3 : {V} -> tensor<?x3xi32>",
    ),
    "context_lens_of_nothing": (
        "tensor<?x3xi32>",
        f"{NEGATIVE}%v = nsa.context_lens %negative columns 3 : {V} -> tensor<?x3xi32>",
    ),
    "scan": (V, f"nsa.scan %lens : {V} -> {V}"),
    "scan_of_rows": (T, f"nsa.scan inclusive %tokens : {T} -> {T}"),
    "reduce": (V, f"nsa.reduce max %tokens : {T} -> {V}"),
    "iterate": (V, SUMS.replace("%places", "%v")),
    "map": (T, f"{SUMS}%v = {GATHERED}"),
    "map_of_nothing": (
        T,
        LESS + SUMS + "%v = " + GATHERED.replace("(%bs, %columns)", "(%bs, %less)"),
    ),
    "lookup": (V, f"nsa.lookup %map[%lens] : {L}, {V}"),
    "window_lens": (V, f"nsa.window_lens %lens, %more window 128 : {V}, {V}"),
    "window_starts": (V, f"nsa.window_starts %lens, %more window 128 : {V}, {V}"),
    "window_bases": (V, BASES.replace("%windows", "%v")),
    "compressed_bases": (V, BASES.replace("%bases", "%v")),
    "query_rows_first": (V, f"nsa.query_rows first %starts : {V} -> {V}"),
    "query_rows_last": (V, f"nsa.query_rows last %starts : {V} -> {V}"),
    "compressed_ids": (
        T,
        f"nsa.compressed_ids %tokens[%lens] columns %columns page_size 3 : {T}, {V} -> {T}",
    ),
    "compressed_ids_of_pages": (
        T,
        f"nsa.compressed_ids %tokens[%lens] columns %columns page_size 64 : {T}, {V} -> {T}",
    ),
    "compressed_ids_as_they_are": (
        T,
        f"nsa.compressed_ids %tokens[%lens] columns %columns page_size 1 : {T}, {V} -> {T}",
    ),
    "combine_lens": (
        V,
        f"nsa.combine_lens topk %limit {QUERIES} ratio 4 window 128 : {V}, {V} -> {V}",
    ),
    "combine_indices": (
        T,
        f"{BASES}%v = nsa.combine_indices topk %limit of %topk : {T} {QUERIES}"
        f" gathers %lens bases %bases, %windows ratio 4 window 128"
        f" : {V}, {V}, {V}, {V}, {V} -> {T}",
    ),
    "combine_indices_without_topk": (
        T,
        f"{BASES}%v = nsa.combine_indices topk %limit {QUERIES}"
        f" gathers %lens bases %bases, %more ratio 4 window 128"
        f" : {V}, {V}, {V}, {V}, {V} -> {T}",
    ),
    **{
        f"dequant_paged_{layout}": (
            f"tensor<?x{columns}xbf16>",
            f"nsa.dequant_paged %cache[%wide] layout #nsa.kv_layout<{layout}>"
            f" page_size 4 : {B}, {L} -> tensor<?x{columns}xbf16>",
        )
        for layout, columns in (("v32", 576), ("v4", 512), ("v41", 512), ("indexer", 128))
    },
}

#: Over each expansion: all that takes one.
EXPANSIONS = {
    "uniform": "nsa.expansion by 3",
    "uniform_padded": "nsa.expansion by 3 padded to %bound",
    "ragged": f"nsa.expansion by %wide within %bound : {L}",
    "ragged_padded": f"nsa.expansion by %wide padded to %bound : {L}",
}
EXPANDED = {
    **{
        f"expand_seqlens_{kind}": (
            V,
            f"%v = nsa.expand_seqlens {kind} %lens over %e : {V} -> {V}",
        )
        for kind in ("causal", "broadcast", "following")
    },
    "cu_seqlens": (
        V,
        f"%r = nsa.expand_seqlens causal %lens over %e : {V} -> {V}\n"
        f"%v = nsa.cu_seqlens %r : {V} -> {V}",
    ),
    "expand_rows": (T, f"%t = {TABLE}\n%v = nsa.expand_rows %t over %e : {T} -> {T}"),
    "expand_rows_of_port": (
        T,
        f"%t = nsa.page_table %tokens[%lens] columns %columns : {T}, {V} -> {T}\n"
        f"%p = nsa.real_page_table %t page_size 3 : {T} -> {T}\n"
        f"%v = nsa.expand_rows %p over %e : {T} -> {T}",
    ),
    "token_ranges": (V, f"%v = {RANGES}"),
    "lookup": (V, f"%t = {RANGES}\n%v = nsa.lookup %map[%t] : {L}, {V}"),
}
for kind, expansion in EXPANSIONS.items():
    for value, (type, lines) in EXPANDED.items():
        VALUES[f"{value}_over_{kind}"] = (type, f"%e = {expansion}\n{lines}")
    if kind.startswith("ragged"):
        lines = f"%e = {expansion}\n%v = nsa.total_rows %e : tensor<1xi32>"
        VALUES[f"total_rows_of_{kind}"] = ("tensor<1xi32>", lines)
VALUES["cu_seqlens_over_nothing"] = (
    V,
    f"{NEGATIVE}%e = nsa.expansion by 3\n"
    + EXPANDED["cu_seqlens"][1].replace("%lens", "%negative"),
)


def text(type: str, lines: str, is_contiguous: bool) -> str:
    """A step that copies the value."""
    lines = lines if "%v =" in lines else f"%v = {lines}"
    rank = len(type.split("x")) - 1
    shape, element = "?x" * rank, type.rpartition("x")[2].rstrip(">")
    layout = "" if is_contiguous else f", strided<[{'?' if rank == 1 else '?, 1'}]>"
    out = f"memref<{shape}{element}{layout}>"
    used = [name for name in ARRAYS if re.search(rf"%{name}\b", lines)]
    ports = [f"in %{name} : index" for name in SIZES]
    ports += [f"in %{name}{ARRAYS[name][0]}" for name in used] + [f"out %out : {out}"]
    return f"nsa.step @step({', '.join(ports)}) {{\n{lines}\nnsa.copy %v to %out : {type} to {out}\n}}"


def make_arrays(step: nsa.Step, sizes: dict[str, int], rng) -> dict[str, np.ndarray]:
    """The smallest arrays that the step takes, of numbers that make little sense."""
    manifest = json.loads(step.manifest)
    arrays = [a for a in manifest["arguments"] if a["kind"] != "size"]
    shapes = {
        a["name"]: [
            free if size is None else size
            for size, free in zip(
                a["shape"], ARRAYS.get(a["name"], (None, (0, 0)))[1], strict=False
            )
        ]
        for a in arrays
    }
    for require in manifest["requires"]:
        shape, dim = shapes[require["argument"]], require["dim"]
        shape[dim] = max(shape[dim], evaluate(require["at_least"], sizes, shapes))
    result = {}
    for a in arrays:
        dtype = np.dtype("uint16" if a["dtype"] == "bfloat16" else a["dtype"])
        info = np.iinfo(dtype)
        some = [*range(15), 40, 100, -1, -7, info.min, info.max, info.max - 1]
        numbers = np.clip(np.array(some, object), info.min, info.max).astype(dtype)
        result[a["name"]] = rng.choice(numbers, shapes[a["name"]])
    return result


def main() -> None:
    rng = np.random.default_rng(0)
    names = sys.argv[1:] or list(VALUES)
    runs = 0
    for name in names:
        for is_contiguous in (True, False):
            for fuse in (True, False):
                source = text(*VALUES[name], is_contiguous)
                module = nsa.compile(source, target="cpu", fuse=fuse, guards=True)
                step = module["step"]
                for bs in (0, 1, 2, 3, 8):
                    sizes = dict(SIZES, bs=bs)
                    print(f"{name}: {bs=} {is_contiguous=} {fuse=}", flush=True)
                    for _ in range(4):
                        step(**make_arrays(step, sizes, rng), **sizes)
                        step.check()
                        runs += 1
    print(f"{runs} runs stayed inside")


if __name__ == "__main__":
    main()
