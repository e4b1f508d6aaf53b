# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""nsa.ops.replay_metadata with pooled index keys beside SGLang's own backend, as it fills the
arrays of a captured decode, verification and draft extend, field for field, on a GPU.

See ``peer_benchmark.compare``, which says when it is skipped.
"""

from __future__ import annotations

from peer_benchmark import compare


def test_sequences() -> None:
    found = compare("kpool.py", "kernels/ops/attention/dsa/kpool_metadata/decode.py")
    for mode, fields in (("decode", 12), ("target_verify", 14), ("draft_extend", 13)):
        for columns in ("", ", live columns"):
            assert f"pooled keys, {mode}{columns}: {fields} fields equal to SGLang" in found
