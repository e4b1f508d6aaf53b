# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.dsa_prefill beside SGLang's own backend in an eager extend, field for field, on a
GPU: lengths, tables, ranges of keys, and the plan of pooled index keys; and what ranks of context
parallelism have of them.

See ``peer_benchmark.compare``, which says when it is skipped.
"""

from __future__ import annotations

from peer_benchmark import compare


def test_sequences() -> None:
    found = compare("dsa_prefill.py", "srt/layers/attention/dsa/kpool_plan.py")
    assert "V3.2: 13 fields equal to SGLang" in found
    assert "pools of 4 keys: 27 fields equal to SGLang" in found
    assert "V3.2, of ranks: 13 fields equal to SGLang" in found
    assert "pools of 4 keys, of ranks: 19 fields equal to SGLang" in found
