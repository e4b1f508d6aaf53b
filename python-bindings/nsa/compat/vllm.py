# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""vLLM's names and argument lists, as of vllm 0.33.0, over the functions of ``nsa.vllm``.

A caller changes the import and nothing else. docs/vLLM.md says which function is which of
vLLM's, and what differs. Torch tensors are what vLLM calls with; any arrays will do where
nothing has to be allocated, NumPy's everywhere. Errors are ``ValueError`` and ``TypeError``
with the argument's name in nsa, where vLLM has assertions.
"""

from ._vllm_lists import (
    build_c128a_topk_metadata,
    build_prefill_chunk,
    combine_topk_swa_indices,
    compute_global_topk_indices_and_lens,
    dequantize_and_gather_k_cache,
    prepare_sparse_mla_safe_lengths,
    triton_convert_req_index_to_global_index,
    triton_filter_and_convert_dcp_index,
)
from ._vllm_steps import (
    combine_sampled_and_draft_tokens,
    eagle_prepare_inputs_padded,
    eagle_prepare_next_token_padded,
    eagle_step_update_slot_mapping_and_metadata,
    expand_idx_mapping,
    get_num_sampled_and_rejected,
    post_update_num_computed_tokens,
    prepare_draft_decode_inputs,
    prepare_draft_prefill_inputs,
    prepare_pos_seq_lens,
    prepare_prefill_inputs,
    update_draft_inputs,
)
from ._vllm_tables import (
    compute_kpool_tail_slot_mapping,
    compute_slot_mappings,
    compute_token_to_req_indices,
    gather_block_tables,
    get_compressed_slot_mapping,
    indexer_decode_metadata,
    prepare_dcp_local_seq_lens,
    prepare_uniform_decode,
)
from ._vllm_windows import (
    compute_dspark_noncausal_swa_indices,
    compute_image_visibility,
    compute_prefill_metadata,
    compute_swa_indices_and_lens,
    get_dspark_swa_index_width,
)

__all__ = [
    "build_c128a_topk_metadata",
    "build_prefill_chunk",
    "combine_sampled_and_draft_tokens",
    "combine_topk_swa_indices",
    "compute_dspark_noncausal_swa_indices",
    "compute_global_topk_indices_and_lens",
    "compute_image_visibility",
    "compute_kpool_tail_slot_mapping",
    "compute_prefill_metadata",
    "compute_slot_mappings",
    "compute_swa_indices_and_lens",
    "compute_token_to_req_indices",
    "dequantize_and_gather_k_cache",
    "eagle_prepare_inputs_padded",
    "eagle_prepare_next_token_padded",
    "eagle_step_update_slot_mapping_and_metadata",
    "expand_idx_mapping",
    "gather_block_tables",
    "get_compressed_slot_mapping",
    "get_dspark_swa_index_width",
    "get_num_sampled_and_rejected",
    "indexer_decode_metadata",
    "post_update_num_computed_tokens",
    "prepare_dcp_local_seq_lens",
    "prepare_draft_decode_inputs",
    "prepare_draft_prefill_inputs",
    "prepare_pos_seq_lens",
    "prepare_prefill_inputs",
    "prepare_sparse_mla_safe_lengths",
    "prepare_uniform_decode",
    "triton_convert_req_index_to_global_index",
    "triton_filter_and_convert_dcp_index",
    "update_draft_inputs",
]
