# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Schedules of attention kernels on a GPU.

Skipped, with the reason, where there is no CUDA device or no library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from schedule_cases import CONVENTIONS, draw, reference, split_of

import nsa


def test_paged_mqa(gpu: Any) -> None:
    rng = np.random.default_rng(0)
    for convention in CONVENTIONS:
        for bs in (0, 1, 3, 64, 1500, 4096):
            for slots in (1, 78, 132):
                lens = draw(rng, bs, 2, "int32")
                out = gpu.asarray(np.full((slots + 1, 2), -7, np.int32))
                nsa.ops.paged_mqa_schedule(
                    gpu.asarray(lens), out, convention=convention, num_sms=slots, next_n=2
                )
                wanted = reference(lens, convention, slots, split_of(convention))
                np.testing.assert_array_equal(gpu.asnumpy(out), wanted)
