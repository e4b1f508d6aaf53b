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


#: With what other models and layers have: what one bundle for all has to know.
MORE_FIELDS = (
    *FIELDS, "req_indices", "pos_i64", "c128_topk_lengths_raw", "c128_sparse_topk_lengths",
    "c4_all_page_indices", "c4_all_raw_indices", "c4_page_indices",
)  # fmt: skip
#: Destinations that the step for all has.
BACKENDS = 4

OPTIONS = _v4.Options("decode", 1, False, False, 512, 256, 128, 64)


def text() -> str:
    """Made to measure: one destination, these fields."""
    return _v4.write(OPTIONS, (FIELDS,), {})[0]


def optional_text() -> str:
    """One for all: any of more fields, in any of several destinations."""
    return _v4.write(OPTIONS, (MORE_FIELDS,) * BACKENDS, {}, optional=True)[0]


def texts() -> set[str]:
    return {text(), optional_text()}
