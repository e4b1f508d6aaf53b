# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The metadata of vLLM's engine steps: what is computed from a batch around its model's run.

Each function is one launch, in place into the caller's arrays; ``one_launch`` makes several of
them one. All of it is written in the language of ``nsa.build``.

Arrays are whatever has DLPack, on one device. Inputs are int32 or int64, whichever; so are
outputs, and what does not fit wraps. Outputs are as large as is said or larger, and what is
not said to be written is left as it is. Numbers in arrays may be any: a read outside of an
array has a stated value, never that of other memory. `context_parallel` is (size, rank,
interleave), as ``ContextParallel``, or None. Sizes that are left out are those of the arrays.
`stream` as in ``Step.__call__``.

Raises ``ValueError`` or ``TypeError`` that names the argument, and writes nothing then;
``CompileError`` if the step can neither be compiled nor found.
"""

from ._decode import (
    native_decode,
    ragged_decode,
    token_to_req_indices,
    uniform_decode,
    varlen_decode,
)
from ._drafts import draft_decode_inputs, draft_prefill_inputs, draft_step_inputs
from ._eagle import eagle_next_tokens, eagle_sampling_indices, eagle_step
from ._formulas import ContextParallel
from ._gather import dequantize_and_gather
from ._indices import (
    c128a_indices,
    combine_topk_swa_indices,
    global_topk_indices,
    req_to_global,
    safe_lengths,
)
from ._inputs import (
    computed_tokens,
    expand_idx_mapping,
    input_ids,
    pos_seq_lens,
    prefill_inputs,
    sampled_and_draft_inputs,
    sampled_and_rejected,
)
from ._prefill import prefill_chunk
from ._schedules import flashmla_schedule, paged_mqa_schedule
from ._slots import (
    compressed_slot_mapping,
    dcp_local_seq_lens,
    gather_block_tables,
    kernel_block_table,
    kpool_tail_slot_mapping,
    slot_mappings,
)
from ._together import Prepared, one_launch, prepare, step_text
from ._windows import (
    image_visible,
    prefill_gather_lens,
    swa_indices,
    swa_noncausal_indices,
)

__all__ = [
    "ContextParallel",
    "Prepared",
    "c128a_indices",
    "combine_topk_swa_indices",
    "compressed_slot_mapping",
    "computed_tokens",
    "dcp_local_seq_lens",
    "dequantize_and_gather",
    "draft_decode_inputs",
    "draft_prefill_inputs",
    "draft_step_inputs",
    "eagle_next_tokens",
    "eagle_sampling_indices",
    "eagle_step",
    "expand_idx_mapping",
    "flashmla_schedule",
    "gather_block_tables",
    "global_topk_indices",
    "image_visible",
    "input_ids",
    "kernel_block_table",
    "kpool_tail_slot_mapping",
    "native_decode",
    "one_launch",
    "paged_mqa_schedule",
    "pos_seq_lens",
    "prefill_chunk",
    "prefill_gather_lens",
    "prefill_inputs",
    "prepare",
    "ragged_decode",
    "req_to_global",
    "safe_lengths",
    "sampled_and_draft_inputs",
    "sampled_and_rejected",
    "slot_mappings",
    "step_text",
    "swa_indices",
    "swa_noncausal_indices",
    "token_to_req_indices",
    "uniform_decode",
    "varlen_decode",
]
