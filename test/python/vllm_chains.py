# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of ``nsa.vllm`` that are one launch, some of which read what others write."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from dequant_reference import canonical
from vllm_cases import CASES, call_of, each, reference_of
from vllm_draw import Case, Draw

from nsa import vllm


def chain(d: Draw) -> list[Case]:
    """What an engine does before a decode of two groups, the second one with a compressed
    cache: arrays are shared."""
    states, tokens = 9, d.total + 4
    idx = d.numbers(0, states, d.R, np.int32)
    source = [d.table(states, 33) for _ in range(2)]
    table = d.table(d.R, 33)
    outs = [d.out(tokens, dtype=np.int64) for _ in range(2)]
    compressed = d.out(tokens, dtype=np.int64)
    owners, lens = d.out(tokens), d.out(tokens)
    return [
        Case("token_to_req_indices", {"query_start_loc": d.q, "out": owners}, ("out",)),
        Case(
            "slot_mappings",
            {
                "idx_mapping": idx, "query_start_loc": d.q, "positions": d.positions(),
                "block_tables": source, "outs": outs, "block_sizes": [64, 256],
            },
            ("outs",),
        ),
        Case(
            "compressed_slot_mapping",
            {
                "query_start_loc": d.q, "seq_lens": d.S, "slot_mapping": outs[1],
                "block_table": table, "out": compressed, "block_size": 64, "ratio": 4,
            },
            ("out",),
        ),
        Case(
            "swa_indices",
            {
                "query_start_loc": d.q, "seq_lens": d.S, "block_table": table,
                "out_indices": d.out(tokens, 128), "out_lens": lens, "window": 128,
                "block_size": 64, "slot_mapping": outs[0], "token_to_req": owners,
                "out_valid": np.full(tokens, 7, np.uint8),
            },
            ("out_indices", "out_lens", "out_valid"),
        ),
        Case(
            "dcp_local_seq_lens",
            {"seq_lens": lens, "out": d.out(tokens), "context_parallel": (2, 1, 1)},
            ("out",),
        ),
    ]  # fmt: skip


def draft_chain(d: Draw) -> list[Case]:
    """A draft step: lengths, positions and starts are made in the launch that needs them."""
    R, states = d.R, 9
    idx = d.numbers(0, states, R, np.int32)
    starts, lens = d.out(R + 3), d.out(R + 2)
    positions, slots = d.out(R, dtype=np.int64), d.out(R + 4, dtype=np.int64)
    table = d.table(R, 33)
    compressed, windows = d.out(R + 2, 1), d.out(R)
    return [
        Case(
            "draft_decode_inputs",
            {
                "seq_lens": d.S, "num_rejected": d.numbers(0, 3, R, np.int32),
                "max_model_len": 512, "draft_tokens": d.numbers(0, 99, (R, 3)),
                "positions": d.numbers(0, 512, R, np.int64),
                "sample_positions": d.numbers(0, 512, R, np.int64),
                "out_input_ids": d.out(R), "out_positions": positions,
                "out_sample_positions": d.out(R, dtype=np.int64),
                "out_query_start_loc": starts, "out_seq_lens": lens,
            },
            ("out_input_ids", "out_positions", "out_query_start_loc", "out_seq_lens"),
        ),
        Case(
            "slot_mappings",
            {
                "idx_mapping": idx, "query_start_loc": starts, "positions": positions,
                "block_tables": [d.table(states, 33)], "outs": [slots], "block_sizes": [64],
            },
            ("outs",),
        ),
        Case(
            "compressed_slot_mapping",
            {
                "query_start_loc": starts, "seq_lens": lens, "slot_mapping": slots,
                "block_table": table, "out": d.out(R + 4, dtype=np.int64),
                "block_size": 64, "ratio": 4,
            },
            ("out",),
        ),
        Case(
            "swa_indices",
            {
                "query_start_loc": starts, "seq_lens": lens, "block_table": table,
                "out_indices": d.out(R, 128), "out_lens": windows, "window": 128,
                "block_size": 64, "slot_mapping": slots,
            },
            ("out_indices", "out_lens"),
        ),
        Case(
            "native_decode",
            {"seq_lens": lens, "next_n": 1, "out_seq_lens": compressed, "ratio": 4},
            ("out_seq_lens",),
        ),
        Case(
            "paged_mqa_schedule",
            {
                "context_lens": compressed, "out": d.out(8, 2), "convention": "vllm_sm90",
                "num_sms": 7, "num_reqs": R,
            },
            ("out",),
        ),
        Case(
            "flashmla_schedule",
            {
                "seq_lens": windows, "out_metadata": d.out(5, 8), "num_reqs": R,
                "out_num_splits": d.out(R + 1), "sparse": True,
            },
            ("out_metadata", "out_num_splits"),
        ),
    ]  # fmt: skip


def eagle_chain(d: Draw) -> list[Case]:
    """Three steps of a draft model, none of which needs a sampled token."""
    positions = [d.numbers(0, 515, d.R, np.int64)]
    lens = [d.S]
    table = d.table(d.R, 33)
    cases = []
    for step in range(3):
        positions.append(d.out(d.R, dtype=np.int64))
        lens.append(d.out(d.R))
        cases.append(
            Case(
                "eagle_step",
                {
                    "positions": positions[step], "seq_lens": lens[step], "block_table": table,
                    "out_positions": positions[step + 1], "out_seq_lens": lens[step + 1],
                    "out_slot_mapping": d.out(d.R + 2, dtype=np.int64), "block_size": 16,
                    "max_model_len": 512,
                },
                ("out_positions", "out_slot_mapping", "out_seq_lens"),
            )
        )  # fmt: skip
    return cases


CHAINS = (chain, draft_chain, eagle_chain)

#: Inputs that may be the same arrays as what is written, by function.
IN_PLACE = {
    "draft_decode_inputs": ("positions", "sample_positions"),
    "draft_step_inputs": ("positions", "sample_positions", "seq_lens"),
    "eagle_step": ("seq_lens",),
}


def in_place(name: str, d: Draw) -> Case:
    """A call that updates arrays, of which more is there than it is to update."""
    case = CASES[name](d)
    for updated in IN_PLACE[name]:
        given = case.arguments[updated]
        array = np.concatenate([given, d.numbers(0, 9, 3, given.dtype)])
        case.arguments[updated] = case.arguments[f"out_{updated}"] = array
    return case


def run_together(cases: list[Case], gpu: Any = None) -> None:
    """Runs the cases as one launch, and compares all that they write with what they write
    one after the other."""
    place = gpu.asarray if gpu else np.copy
    there: dict[int, Any] = {}
    here: dict[int, np.ndarray] = {}

    def placed(array: np.ndarray) -> Any:
        if id(array) not in there:
            there[id(array)] = place(array)
        return there[id(array)]

    def kept(array: np.ndarray) -> np.ndarray:
        return here.setdefault(id(array), array.copy())

    calls = []
    for case in cases:
        arguments = {name: each(value, placed) for name, value in case.arguments.items()}
        calls.append(partial(getattr(vllm, case.name), **arguments))
    vllm.one_launch(*calls)
    for case in cases:
        arguments = {name: each(value, kept) for name, value in case.arguments.items()}
        reference_of(case)(**arguments)
    for key, wanted in here.items():
        got = gpu.asnumpy(there[key]) if gpu else there[key]
        if got.dtype == np.uint16:
            got, wanted = canonical(got), canonical(wanted)
        np.testing.assert_array_equal(got, wanted)


def run_chains(seed: int, gpu: Any = None, **draw: Any) -> None:
    for make in CHAINS:
        run_together(make(Draw(seed, **draw)), gpu)


def texts_of_chains() -> list[str]:
    """The steps of chains, for int32 and int64 lengths."""
    return [
        vllm.step_text(*map(call_of, make(Draw(seed)))) for make in CHAINS for seed in (0, 2)
    ] + [vllm.step_text(call_of(in_place(name, Draw(seed)))) for name in IN_PLACE for seed in (0, 2)]
