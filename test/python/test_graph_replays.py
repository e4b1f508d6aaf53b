# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps that are run again with other contents in the same arrays: what graphs do on a GPU
(test_gpu_graph_replays.py)."""

from __future__ import annotations

import numpy as np
import pytest
from graph_replays import CASES, Replayed, _Host, run

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("name", list(CASES)[::7])
def test_changed_contents(name: str) -> None:
    run(name, range(2))


def test_contents_change() -> None:
    """An operation sees zeros, bits, zeros, bits and its own, in this order."""
    library = Replayed(_Host(), 0)
    array = library.asarray(np.arange(3))
    seen = []
    library.run(lambda: seen.append(array.tolist()))
    zeros, own = [0, 0, 0], [0, 1, 2]
    assert [seen[0], seen[2], seen[4]] == [zeros, zeros, own]
    assert not {tuple(zeros), tuple(own)} & {tuple(seen[1]), tuple(seen[3])}
