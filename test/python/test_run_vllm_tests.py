# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What run_vllm_tests.py puts in the place of vLLM, by tests as vLLM's that need no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

TESTS = '''
import numpy as np
from tests.v1.attention.utils import create_vllm_config
from vllm.platforms import current_platform
from vllm.v1.attention.ops.metadata import _indexer_decode_metadata_kernel
from vllm.v1.spec_decode.eagle import EagleProposer
from vllm.v1.spec_decode.utils import (
    PADDING_SLOT_ID,
    eagle_step_update_slot_mapping_and_metadata,
)

assert current_platform.is_cuda_alike() and not current_platform.is_rocm()
assert current_platform.is_device_capability_family(100) in (True, False)
assert not current_platform.supports_what_nobody_knows()


class Derived(EagleProposer):
    limit = EagleProposer.LIMIT // 2


def step(position, wanted):
    positions, lens = np.array([position]), np.array([7], np.int32)
    slots = np.zeros(3, np.int64)
    eagle_step_update_slot_mapping_and_metadata(
        positions_1d=positions,
        block_table_tensor=np.array([[5, 6]], np.int32),
        seq_lens=lens,
        block_size=4,
        max_model_len=8,
        out_clamped_positions=positions,
        out_slot_mapping=slots,
        input_batch_size=3,
    )
    assert slots.tolist() == [wanted, PADDING_SLOT_ID, PADDING_SLOT_ID]


def test_passes():
    step(4, 6 * 4 + 1)


def test_fails():
    step(4, 6 * 4 + 2)


def test_grid():
    starts, lens = np.array([0, 1, 3], np.int32), np.array([9, 8], np.int32)
    table = np.array([[3], [4]], np.int32)
    new = [np.full(6, -9, np.int32) for _ in range(4)]
    out_table = np.full((6, 2), -9, np.int32)
    _indexer_decode_metadata_kernel[(6,)](
        starts, lens, table, new[0], out_table, new[1], new[2], new[3], 2, 4, 6, 1, 2,
        BLOCK_COLS=1, num_warps=4,
    )
    assert new[0].tolist() == [9, 7, 8, 0, 0, 0]
    assert out_table[:4, 0].tolist() == [3, 4, 4, 0]


def test_needs_more():
    create_vllm_config(max_model_len=8)


def test_needs_a_method(default_vllm_config):
    proposer = object.__new__(EagleProposer)
    proposer.depth = 3
    assert proposer.depth == 3
    proposer.propose()


def test_needs_an_operator():
    class Namespace:
        def __getattr__(self, name):
            raise AttributeError(f"'_OpNamespace' '_C' object has no attribute {name!r}")

    Namespace().persistent_topk(1)
'''


def test_outcomes(tmp_path):
    """Functions are nsa's, what else is asked for skips, and what is wrong fails."""
    (tmp_path / "test_theirs.py").write_text(TESTS)
    run = subprocess.run(
        [
            sys.executable,
            Path(__file__).parent / "run_vllm_tests.py",
            tmp_path / "test_theirs.py",
            "-q",
        ],
        capture_output=True,
        text=True,
        # Without this test's own name, as if from a shell.
        env={k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"}
        | {"NSA_LOG": ""},
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "1 failed, 2 passed, 3 skipped" in run.stdout
    assert "test_fails" in run.stdout and "assert [25, -1, -1] == [26, -1, -1]" in run.stdout
    assert "needs vLLM's own vllm.v1.spec_decode.eagle.EagleProposer.propose" in run.stdout
    assert "needs what vLLM installs" in run.stdout
