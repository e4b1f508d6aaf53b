# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""scripts/prepare_peer_tests.py, on tests that are written as SGLang's are: what they import is
nsa, and nothing else is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
import prepare_peer_tests  # noqa: E402

TEST = """\
import sglang.srt.layers.attention.dsv4.sparse_prefill_utils as module
from sglang.srt.layers.attention.dsv4.sparse_prefill_utils import (
    combined_topk_width,
)
from sglang.test.ci.ci_register import register_cuda_ci
from sglang.test.kernels.widths import expected
from sglang.test.test_utils import CustomTestCase

register_cuda_ci(est_time=1, stage="some")


class TestWidth(CustomTestCase):
    def test_width(self):
        self.assertTrue(combined_topk_width.__module__.startswith("nsa.compat"))
        self.assertIs(module.combined_topk_width, combined_topk_width)
        self.assertEqual(combined_topk_width(64, 128), expected(64, 128))
"""
HELPER = """\
from sglang.kernels.ops.attention.dsv4 import combined_topk_width, compress_forward
from sglang.srt.utils import get_device


def expected(topk, window):
    return {value}
"""
OTHER = """\
from sglang.kernels.ops.attention.dsa.metadata import fused_dsa_decode_metadata, some_kernel
"""
UNRELATED = "from sglang.srt.utils import get_device\n"
#: Of another release, whose function has another name; and one that calls what nsa has not.
OLDER = """\
from sglang.nsa.transform_index import transform_index_page_table_decode_fast as transform


def test_name():
    assert transform.__name__ == "transform_index_page_table_decode"
"""
CALLS = "from sglang.kernels import combined_topk_width, compress_forward\n"


def checkout(tmp_path: Path, value: int = 256) -> tuple[Path, Path]:
    tests = tmp_path / "sglang" / prepare_peer_tests.REGISTERED / "kernels"
    helpers = tmp_path / "wheel/sglang/test/kernels"
    for folder in (tests, helpers):
        folder.mkdir(parents=True)
    (tests / "test_width.py").write_text(TEST)
    (tests / "test_other.py").write_text(OTHER)
    (tests / "test_unrelated.py").write_text(UNRELATED)
    (tests / "test_older.py").write_text(OLDER)
    (tests / "test_calls.py").write_text(CALLS)
    (helpers / "widths.py").write_text(HELPER.format(value=value))
    return tmp_path / "sglang", tmp_path / "wheel"


def run(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))


def test_checkout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, wheel = checkout(tmp_path)
    prepare_peer_tests.main(str(source), str(tmp_path / "to"), wheel)
    assert capsys.readouterr().out.splitlines() == [
        "test_calls.py: needs sglang.kernels.compress_forward",
        "test_older.py: transform_index_page_table_decode_fast",
        "test_other.py: needs sglang.kernels.ops.attention.dsa.metadata.some_kernel",
        "test_width.py: combined_topk_width",
    ]
    assert (tmp_path / "to/test_width.py").read_text() == TEST
    names = sorted(path.name for path in (tmp_path / "to").glob("test_*"))
    assert names == ["test_older.py", "test_width.py"]
    found = run(tmp_path / "to")
    assert found.returncode == 0 and "2 passed" in found.stdout, found.stdout


def test_failures(tmp_path: Path) -> None:
    source, wheel = checkout(tmp_path, value=255)
    tests = source / prepare_peer_tests.REGISTERED / "kernels"
    prepare_peer_tests.main(str(tests), str(tmp_path / "to"), wheel)
    found = run(tmp_path / "to")
    assert "cannot import name 'some_kernel'" in found.stdout
    assert found.returncode == 2
    (tmp_path / "to/test_other.py").unlink()
    found = run(tmp_path / "to")
    assert "256 != 255" in found.stdout and found.returncode == 1
