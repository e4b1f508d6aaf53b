# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.compat.vllm beside vLLM's own kernels, element for element, on a GPU; with
TRITON_INTERPRET=1 on the host, where Triton interprets vLLM's kernels.

Skipped, with the reason, where there is no CUDA device, no torch with Triton, or no files of
vLLM's wheel in .peers/vllm (scripts/fetch_peers.sh).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import device_or_skip
from gpu_libraries import LIBRARIES
from vllm_peer_cases import PEER_CASES, expected, results, valid_draw

from nsa.compat import vllm

ROOT = Path(__file__).resolve().parents[2]


INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"


class HostArrays:
    """Tensors on the host."""

    def __init__(self) -> None:
        import torch

        self.torch = torch

    def asarray(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(np.array(array))

    def asnumpy(self, array: Any) -> np.ndarray:
        return array.numpy()

    def free_memory(self) -> None:
        pass


@pytest.fixture(scope="module")
def torch_arrays() -> Any:
    if not INTERPRETED:
        device_or_skip()
    try:
        library = HostArrays() if INTERPRETED else LIBRARIES["torch"]()
    except Exception as error:
        pytest.skip(f"torch: {error}")
    yield library
    library.free_memory()


@pytest.fixture(scope="module")
def peers() -> dict[str, Callable[..., Any]]:
    if not INTERPRETED:
        device_or_skip()
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from vllm_peer import load_vllm

    try:
        return functions(load_vllm(ROOT / ".peers/vllm"))
    except (FileNotFoundError, ImportError) as error:
        pytest.skip(f"vLLM's kernels: {error}")


def functions(v: SimpleNamespace) -> dict[str, Callable[..., Any]]:
    """vLLM's functions under the names of nsa.compat.vllm; kernels that have none of their
    own with their grids."""

    def prepare_uniform_decode(**a: Any) -> None:
        v.indexer._PREPARE_UNIFORM_DECODE_KERNEL(**a)
        a["decode_seq_lens"][a["num_decode_tokens"] :] = 0

    def indexer_decode_metadata(**a: Any) -> None:
        n, capacity = a["num_tokens"], a["output_seq_lens"].numel()
        grid = max(a["num_reqs"], n + -(-(capacity - n) // 256))
        table, out = a["block_table"], a["output_block_table"]
        v.metadata._indexer_decode_metadata_kernel[(grid,)](
            **a,
            capacity=capacity,
            input_stride=table.stride(0),
            output_stride=out.stride(0),
            BLOCK_COLS=table.shape[1],
            num_warps=4,
        )

    def on_device(tables: Any) -> Any:
        """With what vLLM's object has made of it for its kernels."""
        import torch

        gpu = [table.gpu for table in tables.block_tables]

        def numbers(values: Any, dtype: Any) -> Any:
            return torch.tensor(list(values), dtype=dtype, device=gpu[0].device)

        given = SimpleNamespace(
            **vars(tables),
            block_table_ptrs=numbers((t.data_ptr() for t in gpu), torch.uint64),
            block_table_strides=numbers((t.stride(0) for t in gpu), torch.int64),
            block_sizes_tensor=numbers(tables.block_sizes, torch.int32),
        )
        if hasattr(tables, "_slot_mapping_enabled"):
            given.slot_mapping_enabled = numbers(tables._slot_mapping_enabled, torch.bool)
        if hasattr(tables, "_sliding_window_reach"):
            inputs = tables.input_block_tables
            given.sliding_window_reach = numbers(tables._sliding_window_reach, torch.int32)
            given.input_block_table_ptrs = numbers((t.data_ptr() for t in inputs), torch.uint64)
        return given

    blocks = v.block_table.BlockTables

    def dequantize_and_gather_k_cache(out: Any, **a: Any) -> None:
        import torch

        is_v4 = a["k_cache"].shape[-1] == 584
        peer = v.cache_utils_v4 if is_v4 else v.cache_utils_v41
        peer.dequantize_and_gather_k_cache(out.view(torch.bfloat16), **a)

    def compute_image_visibility(**a: Any) -> None:
        rows = a["left_visible"].numel() - a["token_offset"]
        if rows:
            pointers = {f"{k}_ptr": t for k, t in a.items() if hasattr(t, "data_ptr")}
            rest = {k: x for k, x in a.items() if not hasattr(x, "data_ptr")}
            v.sparse_swa._compute_image_visibility_kernel[(rows,)](**pointers, **rest)

    return {
        "prepare_uniform_decode": prepare_uniform_decode,
        "indexer_decode_metadata": indexer_decode_metadata,
        "build_prefill_chunk": v.indexer._BUILD_PREFILL_CHUNK_METADATA_KERNEL,
        "combine_sampled_and_draft_tokens": v.input_batch.combine_sampled_and_draft_tokens,
        "compute_slot_mappings": lambda tables, **a: blocks.compute_slot_mappings(
            on_device(tables), **a
        ),
        "dequantize_and_gather_k_cache": dequantize_and_gather_k_cache,
        "eagle_step_update_slot_mapping_and_metadata": (
            v.spec_decode_utils.eagle_step_update_slot_mapping_and_metadata
        ),
        "gather_block_tables": lambda tables, **a: blocks.gather_block_tables(
            on_device(tables), **a
        ),
        "get_num_sampled_and_rejected": v.input_batch.get_num_sampled_and_rejected,
        "post_update_num_computed_tokens": v.input_batch.post_update_num_computed_tokens,
        "prepare_draft_decode_inputs": v.speculator.prepare_decode_inputs,
        "update_draft_inputs": v.speculator.update_draft_inputs,
        "prepare_draft_prefill_inputs": v.speculator.prepare_prefill_inputs,
        "prepare_pos_seq_lens": v.input_batch.prepare_pos_seq_lens,
        "prepare_prefill_inputs": v.input_batch.prepare_prefill_inputs,
        "prepare_sparse_mla_safe_lengths": v.sparse_utils.prepare_sparse_mla_safe_lengths,
        "compute_image_visibility": compute_image_visibility,
        "compute_token_to_req_indices": v.metadata.compute_token_to_req_indices,
        "compute_kpool_tail_slot_mapping": v.indexer.compute_kpool_tail_slot_mapping,
        "get_compressed_slot_mapping": v.compressor_utils.get_compressed_slot_mapping,
        "compute_swa_indices_and_lens": v.sparse_swa._COMPUTE_SWA_INDICES_AND_LENS_KERNEL,
        "compute_dspark_noncausal_swa_indices": (
            v.sparse_swa._COMPUTE_DSPARK_NONCAUSAL_SWA_INDICES_KERNEL
        ),
        "compute_prefill_metadata": v.sparse_swa._COMPUTE_PREFILL_METADATA_KERNEL,
        "triton_convert_req_index_to_global_index": (
            v.sparse_utils.triton_convert_req_index_to_global_index
        ),
        "triton_filter_and_convert_dcp_index": (
            v.sparse_utils.triton_filter_and_convert_dcp_index
        ),
        "compute_global_topk_indices_and_lens": (
            v.cache_utils_v41.compute_global_topk_indices_and_lens
        ),
        "combine_topk_swa_indices": v.cache_utils_v41.combine_topk_swa_indices,
        "build_c128a_topk_metadata": v.sparse_mla.build_c128a_topk_metadata,
        "prepare_dcp_local_seq_lens": v.cp_utils.prepare_dcp_local_seq_lens,
        "expand_idx_mapping": v.input_batch.expand_idx_mapping,
        "eagle_prepare_inputs_padded": lambda **a: (
            v.spec_decode_utils._eagle_prepare_inputs_padded(
                a["cu_num_draft_tokens"], a["valid_sampled_tokens_count"],
                a["query_start_loc"], a["token_indices_to_sample"],
                a["num_rejected_tokens"], a["num_reqs"],
            )
        ),
        "eagle_prepare_next_token_padded": (
            v.spec_decode_utils._eagle_prepare_next_token_padded
        ),
    }  # fmt: skip


@pytest.mark.parametrize("name", PEER_CASES)
def test_same_bits(torch_arrays: Any, peers: dict[str, Any], name: str) -> None:
    """Both write the same, and what the reference says."""
    for seed in range(4):
        case = PEER_CASES[name](valid_draw(seed))
        theirs = results(case, peers[case.name], torch_arrays.asarray)
        ours = results(case, getattr(vllm, case.name), torch_arrays.asarray)
        for a, b, c in zip(theirs, ours, expected(case)):
            np.testing.assert_array_equal(torch_arrays.asnumpy(b), c, err_msg="nsa")
            np.testing.assert_array_equal(torch_arrays.asnumpy(a), c, err_msg="vLLM")
