# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.replay_v4 beside the sequences of SGLang's own backend, field for field, on a GPU:
rows, windows, page tables, compressed lengths and locations, indexers' tables, plans.

See ``peer_benchmark.compare``, which says when it is skipped.
"""

from __future__ import annotations

from peer_benchmark import compare


def test_sequences() -> None:
    found = compare("v4.py", "srt/layers/attention/deepseek_v4_backend.py")
    assert found.count("equal to SGLang") == 8
