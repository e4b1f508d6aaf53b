# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The Python of docs/Tutorial.md and docs/WriteYourOwnStep.md, run in order, and the step
by hand against the reference. (What the tutorial shows of files and tools is compared by
generate_docs.py.)"""

from __future__ import annotations

import doctest
import shutil
from pathlib import Path

import numpy as np
import pytest
from reference import reference_metadata

import nsa

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def tutorial(tmp_path, monkeypatch):
    """A copy of the tutorial's files, as the current folder."""
    shutil.copytree(DOCS / "tutorial", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def sessions(page: str) -> str:
    """The Python sessions of a page at their lines, and nothing else."""
    lines, inside = [], False
    for line in page.splitlines():
        is_fence = line.startswith("```")
        lines.append(line if inside and not is_fence else "")
        inside = line == "```pycon" if is_fence else inside
    return "\n".join(lines) + "\n"


@pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
@pytest.mark.parametrize("name", ["Tutorial.md", "WriteYourOwnStep.md"])
def test_sessions(tutorial, name):
    page = DOCS / name
    text = sessions(page.read_text())
    test = doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0)
    report: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
    assert result.attempted > 15
    assert not result.failed, "".join(report)


def test_by_hand(tutorial):
    import by_hand

    rng = np.random.default_rng(1)
    bs, max_len = 5, 3000
    state = dict(
        seq_lens=rng.integers(1, max_len, bs),
        req_pool_indices=rng.permutation(9)[:bs],
        req_to_token=rng.integers(0, 2**31, (9, 4096), np.int32),
    )
    backends = [by_hand.make_backend(max_bs=8, max_columns=4096) for _ in range(2)]
    by_hand.verify_step(backends, **state, max_len=max_len)
    expected = reference_metadata(
        "target_verify",
        state["seq_lens"],
        state["req_pool_indices"],
        state["req_to_token"],
        max_len,
        by_hand.TOPK,
        by_hand.PAGE_SIZE,
        by_hand.DRAFT,
    )
    for backend in backends:
        for field, array in backend.items():
            image = np.zeros_like(array)
            image[tuple(slice(size) for size in expected[field].shape)] = expected[field]
            np.testing.assert_array_equal(array, image, field)
