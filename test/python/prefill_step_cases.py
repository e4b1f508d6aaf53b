# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The step of a prefill chunk with its arrays, checked byte by byte."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prefill_cases import Problem, draw, draw_lengths, mix
from prefill_reference import (
    combine,
    compressed_token_ids,
    swa_token_ids,
    workspace_bases,
)
from strided_arrays import Arrays

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CHUNK = (EXAMPLES / "prefill_chunk.mlir").read_text()
LAYER = (EXAMPLES / "prefill_layer.mlir").read_text()
WINDOW = 128


@dataclass(frozen=True)
class ChunkCase:
    bs: int
    longest: int = 700
    #: Rows of queries and ids that there is room for, less how many there are.
    room: int = 0
    contents: str = "ordinary"
    seed: int = 0

    @property
    def text(self) -> str:
        return CHUNK

    def problem(self, arrays: Arrays) -> Problem:
        return ChunkProblem(self, arrays)


class ChunkProblem(Problem):
    # The example says memref<?xi32>.
    output_layouts = ("packed", "shifted")

    def __init__(self, case: ChunkCase, arrays: Arrays) -> None:
        super().__init__(case, arrays)
        bs, room = case.bs, case.room
        longest = case.longest
        S, E = draw_lengths(self.rng, bs, longest, "ordinary")
        start_loc = np.concatenate([[0], np.cumsum(E)]) + 1000
        queries = max(int(E.sum()) + room, 0)
        columns = {4: max(longest // 4, 1), 128: max(longest // 128, 1)}
        self._add_inputs(S, E, start_loc, queries, columns)
        values = self.values
        total = int(np.clip(np.minimum(S, E + WINDOW - 1), 0, None).sum())
        bound = max(total + room, 0)
        self.sizes = {
            "bs": bs,
            "queries": queries,
            "window_bound": bound,
            "c4_columns": columns[4],
            "c128_columns": columns[128],
        }
        ids = swa_token_ids(
            values["seq_lens"],
            values["extend_seq_lens"],
            values["req_pool_indices"],
            values["req_to_token"],
            values["full_to_swa"],
            WINDOW,
            bound,
        )
        expected = {name.replace("out", "swa"): ids[name] for name in ids}
        gathers = ids["out_lens"]
        for ratio, topk in ((0, 0), (4, None), (128, columns[128])):
            bases = workspace_bases(gathers, columns.get(ratio, 0))
            if ratio == 4:
                expected["c4_compressed_base"], expected["c4_swa_base"] = bases
            else:
                expected[f"c{ratio}_indices"], expected[f"c{ratio}_lens"] = combine(
                    None,
                    values["query_start_loc"],
                    values["seq_lens"],
                    gathers,
                    *bases,
                    WINDOW,
                    max(ratio, 1),
                    topk,
                    queries,
                )
        for ratio, table in ((4, "c4_page_table"), (128, "c128_page_indices")):
            expected[f"c{ratio}_ids"] = compressed_token_ids(
                values[table], values["query_start_loc"], ratio, 64, columns[ratio]
            )
        for name, numbers in expected.items():
            more = [int(n) for n in self.rng.integers(3, size=numbers.ndim)]
            if name == "swa_ids":
                more = [bound - len(numbers)]
            self.add_output(name, numbers, tuple(more))

    def _add_inputs(
        self,
        S: np.ndarray,
        E: np.ndarray,
        start_loc: np.ndarray,
        queries: int,
        columns: dict[int, int],
    ) -> None:
        rng, bs, longest = self.rng, self.case.bs, self.case.longest
        rows = bs + 1
        numbers = {
            "seq_lens": S,
            "extend_seq_lens": E,
            "query_start_loc": start_loc,
            "req_pool_indices": rng.permutation(rows)[:bs],
            "req_to_token": rng.integers(0, 900, (rows, longest)),
            "full_to_swa": rng.integers(0, 10_000, 900),
            "c4_page_table": rng.integers(-1, 300, (queries, -(-columns[4] // 64))),
            "c128_page_indices": rng.integers(-1, 900, (queries, columns[128])),
        }
        if self.case.contents == "hostile":
            for name, array in numbers.items():
                if name != "query_start_loc":
                    numbers[name] = mix(rng, array, 700)
        for name, array in numbers.items():
            wide = name in ("req_pool_indices", "full_to_swa")
            array = array.astype(np.int64)
            self.add_input(name, array if wide else array.astype(np.int32))


def chunk_cases() -> Iterator[ChunkCase]:
    seed = 0
    for bs in (0, 1, 2, 7, 64, 300, 700):
        for contents in ("ordinary", "hostile"):
            seed += 1
            longest = draw(seed, (3, 130, 700)) if bs < 64 else 40
            yield ChunkCase(bs, longest, draw(seed, (0, 5, -4, 0)), contents, seed)
