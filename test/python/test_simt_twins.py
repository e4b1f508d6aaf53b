# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Each test that needs a GPU has one that runs the same kernels in the simulator, or is of
what the simulator does not have."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent

# Why there is no twin.
DRIVER = "graphs, streams, threads and devices are the driver's; the kernels are other tests'"
PEER = "beside another library's own kernels, which need a GPU"
TOOL = "of the driver's assembler or of ptxas"
#: Of the cases whose references are tested here.
CASES = "test_simt_cases.py::"

#: Of a file, or of a test of it: the twin, or why there is none.
TWINS = {
    "build": "test_build.py::test_steps",
    "composed": "test_composed.py::test_cases",
    "copy_metadata": CASES + "test_copies",
    "copy_metadata::test_replayed_graph": DRIVER,
    "copy_metadata::test_offsets_above_31_bits": CASES + "test_copy_offsets_above_31_bits",
    "copy_metadata::test_wrong_dtype_writes_nothing": CASES + "test_decode_errors",
    "decode::test_matrix": CASES + "test_decode_matrix",
    "decode::test_example": CASES + "test_decode_example",
    "decode::test_many_backends": CASES + "test_decode_many_backends",
    "decode::test_long_rows": CASES + "test_decode_long_rows",
    "decode::test_one_kernel_for_all_sizes": CASES + "test_decode_one_binding_for_all_sizes",
    "decode::test_empty_batch": CASES + "test_decode_empty_batch",
    "decode::test_shared_destination": CASES + "test_decode_shared_destination",
    "decode::test_captured_graph": CASES + "test_decode_new_contents",
    "decode::test_offsets_beyond_32_bits": CASES + "test_copy_offsets_above_31_bits",
    "decode::test_errors": CASES + "test_decode_errors",
    "decode::test_stream": DRIVER,
    "decode::test_mixed_devices": DRIVER,
    "decode::test_host_arrays": DRIVER,
    "decode::test_missing_bundle": DRIVER,
    "dequant::test_cases": CASES + "test_dequant_cases",
    "dequant::test_guards_hold": CASES + "test_dequant_guards_hold",
    "dequant::test_every_number_with_every_scale": CASES + "test_every_number_with_every_scale",
    "dequant::test_beyond_32_bits": CASES + "test_dequant_beyond_32_bits",
    "dequant::test_two_into_one_workspace": CASES + "test_two_into_one_workspace",
    "dequant::test_equal_to_sglang": PEER,
    "dequant::test_compat": PEER,
    "dsa_prefill": "test_dsa_prefill.py::test_simulator",
    "dsa_prefill_peer": PEER,
    "dsa_ranks": "test_dsa_ranks.py::test_simulator",
    "engine": DRIVER,
    "formulas": "test_formulas.py::test_simulator",
    "graph_nodes": DRIVER,
    "graph_replays": DRIVER,
    "guards::test_right_accesses": "test_guards.py::test_right_accesses",
    "guards::test_wrong_accesses": "test_guards.py::test_wrong_accesses",
    "guards::test_more_than_there_are_records": "test_guards.py::test_more_than_there_are_records",
    "guards::test_replays_of_a_graph": DRIVER,
    "guards::test_steps_of_the_same_kernels": DRIVER,
    "guards::test_before_anything_is_loaded": "test_guards.py::test_not_run_yet",
    "guards::test_image_without_records": "test_guards.py::test_mixed_bundle",
    "guards::test_outputs_are_those_without_guards": "test_guards.py::test_right_accesses",
    "guards_places::test_places": "test_guards_places.py::test_places",
    "guards_places::test_launches_apart": "test_guards_places.py::test_launches_apart",
    "guards_places::test_more_than_is_remembered": (
        "test_guards_places.py::test_more_than_is_remembered"
    ),
    "guards_places::test_dependent_launch": "test_guards_places.py::test_dependent_launch",
    "guards_places::test_replays_of_a_graph": DRIVER,
    "guards_places::test_many_replays": DRIVER,
    "guards_places::test_launches_at_once": DRIVER,
    "incremental": "test_incremental.py::test_simulated",
    "incremental::test_histories": "test_tracker.py::test_histories_in_the_simulator",
    "incremental::test_graph_replayed": DRIVER,
    "inout": "test_inout.py::test_updates",
    "kpool": "test_kpool.py::test_simulator",
    "kpool_peer": PEER,
    "line_info": TOOL,
    "pdl::test_replays_with_changing_lengths": "test_pdl.py::test_simulated",
    "pdl": DRIVER,
    "prefill::test_cases": CASES + "test_prefill_cases",
    "prefill::test_guards_hold": CASES + "test_prefill_guards_hold",
    "prefill::test_chunk": CASES + "test_prefill_chunk",
    "prefill::test_end_to_end": CASES + "test_prefill_end_to_end",
    "prefill::test_graph_replayed_with_new_contents": DRIVER,
    "prefill_v4": "test_prefill_v4.py::test_simulator",
    "ragged_prefill": "test_ragged_prefill.py::test_simulator",
    "replay::test_cases": CASES + "test_replay_cases",
    "replay::test_hostile_cases": CASES + "test_replay_hostile_cases",
    "replay::test_expand_seqlens": CASES + "test_expand_seqlens",
    "replay::test_graph_replayed_with_new_contents": DRIVER,
    "request_window": "test_request_window.py::test_simulator",
    "schedule_graphs": DRIVER,
    "schedules::test_paged_mqa": "test_schedules.py::test_simulator",
    "schedules::test_two_launches": "test_schedule_workspace.py::test_simulator",
    "schedules::test_runs": "test_schedules.py::test_simulator",
    "schedules::test_chunks": "test_schedules.py::test_simulator",
    "schedules::test_flashmla": "test_flashmla.py::test_simulator",
    "schedules::test_topk_plan": "test_topk_plan.py::test_simulator",
    "schedules::test_replays": "test_replay_schedules.py::test_simulator",
    "sglang_peer": PEER,
    "stored_sums": "test_stored_sums.py::test_simulator",
    "stores::test_stores": "test_stores.py::test_places_and_conditions",
    "stores::test_every_subset_of_fields": "test_stores.py::test_some_subsets_in_the_simulator",
    "transform": "test_transform.py::test_simulator",
    "tvm_ffi": DRIVER,
    "two_devices": DRIVER,
    "v4::test_fields": "test_v4.py::test_simulator",
    "v4::test_draft_steps": "test_v4.py::test_draft_steps",
    "v4_graphs": DRIVER,
    "v4_peer": PEER,
    "v4_plans": "test_v4_plans.py::test_simulator",
    "v4_ranks": "test_v4_ranks.py::test_simulator",
    "v4_trtllm": "test_v4_trtllm.py::test_simulator",
    "v4_trtllm::test_sparse_tail": "test_v4_trtllm.py::test_sparse_tail",
    "v4_windows": "test_v4_windows.py::test_simulator",
    "vllm::test_values": "test_vllm.py::test_simulator",
    "vllm::test_one_launch": "test_vllm.py::test_simulator_chain",
    "vllm::test_in_place": "test_vllm_in_place.py::test_simulator",
    "vllm_peer": PEER,
    "vllm_public": PEER,
}


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        each.name
        for each in tree.body
        if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")
    }


def gpu_tests() -> dict[str, set[str]]:
    return {
        path.stem.removeprefix("test_gpu_"): functions_of(path)
        for path in FOLDER.glob("test_gpu_*.py")
    }


def test_each_has_one() -> None:
    without = [
        f"{file}::{test}"
        for file, tests in gpu_tests().items()
        for test in tests
        if f"{file}::{test}" not in TWINS and file not in TWINS
    ]
    assert not without, f"name the twin of these, or why they have none: {without}"


def test_none_is_named_for_nothing() -> None:
    there = gpu_tests()
    for name in TWINS:
        file, _, test = name.partition("::")
        assert file in there and (not test or test in there[file]), name


@pytest.mark.parametrize(
    "twin", sorted({twin for twin in TWINS.values() if "::" in twin}), ids=str
)
def test_twins_are_simulated(twin: str) -> None:
    file, test = twin.split("::")
    path = FOLDER / file
    assert test in functions_of(path)
    assert "simt" in path.read_text()
