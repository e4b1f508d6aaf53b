# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""ptxas takes the PTX that `line_info=True` makes of shipped steps."""

from __future__ import annotations

import pytest
from line_info_cases import assemble, find_ptxas, texts

import nsa

pytestmark = [
    pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler"),
    pytest.mark.skipif(not find_ptxas(), reason="no ptxas"),
]


@pytest.mark.parametrize("text", list(texts()), ids=lambda text: text.split("@", 1)[1].split("(")[0])
def test_shipped_steps(tmp_path, text):
    (step,) = nsa.compile(text, target="cuda", line_info=True).values()
    assemble(find_ptxas(), step.ptx, "sm_80", tmp_path)


def test_guards_and_dependent_launch(tmp_path):
    from places_cases import TEXT

    (step,) = nsa.compile(
        TEXT, target="cuda", chip="sm_90", guards=True, pdl=True, line_info=True
    ).values()
    assemble(find_ptxas(), step.ptx, "sm_90", tmp_path)


def test_without_lines(tmp_path):
    """What the test looks for is not in PTX without them."""
    (step,) = nsa.compile(next(texts()), target="cuda").values()
    with pytest.raises(AssertionError):
        assemble(find_ptxas(), step.ptx, "sm_80", tmp_path)
