# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The V4 step that is measured, as a text. Needs neither torch nor a GPU."""

from nsa import _v4

FIELDS = (
    "seq_lens_casual", "positions_casual", "swa_topk_lengths", "swa_page_indices",
    "page_table", "swa_out_cache_loc", "c4_out_loc", "c128_out_loc", "c4_topk_lengths_raw",
    "c4_topk_lengths_clamp1", "c128_topk_lengths_clamp1", "c4_sparse_topk_lengths",
    "c4_sparse_page_indices", "c128_page_indices",
)  # fmt: skip


def text() -> str:
    options = _v4.Options("decode", 1, False, False, 512, 256, 128, 64)
    return _v4.write(options, (FIELDS,), {})[0]
