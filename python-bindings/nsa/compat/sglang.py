# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa's operations under SGLang's names and argument lists (SGLang 0.5.23).

Callers need only another import. Functions take torch tensors, and allocate what
SGLang's allocate.
"""

from ._dequant import (
    dequantize_k_cache_paged,
    dequantize_k_cache_paged_dsa,
    dequantize_k_cache_paged_dsv4,
)

__all__ = [
    "dequantize_k_cache_paged",
    "dequantize_k_cache_paged_dsa",
    "dequantize_k_cache_paged_dsv4",
]
