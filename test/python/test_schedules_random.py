# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Some thousands of random batches of schedules; more by ``schedule_random.py``."""

from __future__ import annotations

import flashmla_cases
import numpy as np
import pytest
import schedule_cases
import schedule_random
import topk_plan_cases

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("kind, name", schedule_random.KINDS)
def test_random_batches(kind, name):
    for seed in range(400):
        schedule_random.check(kind, name, seed)


def test_formulas_agree_with_serial_schedulers():
    """Both sorts of reference, of the same batches."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        lens, slots = schedule_random.lengths(rng, (9, 2)) % 50_000, int(rng.integers(1, 20))
        for convention in schedule_cases.CONVENTIONS:
            np.testing.assert_array_equal(
                schedule_random.paged_mqa(lens, convention, slots),
                schedule_cases.reference(lens, convention, slots),
            )
        for sparse in (False, True):
            options = flashmla_cases.Options(sparse=sparse)
            wanted = flashmla_cases.reference(options, lens[:, 0], slots)
            for made, one in zip(schedule_random.flashmla(lens[:, 0], slots, sparse), wanted):
                np.testing.assert_array_equal(made, one)
        rows = topk_plan_cases.draw(rng, 200)
        for arch in topk_plan_cases.TABLES:
            plan = schedule_random.topk_plan(rows, arch)
            wanted = topk_plan_cases.reference(rows, 30, arch)
            np.testing.assert_array_equal(plan, wanted[: len(plan)])
