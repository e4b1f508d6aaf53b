# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Values put together in ways that no ready-made operation does, on the host, and their
kernels in the simulator."""

from __future__ import annotations

import pytest
from composed_cases import cases, run

import nsa

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


@pytest.mark.parametrize("target", ["cpu", "simt"])
@pytest.mark.parametrize("options", [{}, {"fuse": False}, {"guards": True}], ids=str)
def test_cases(options: dict[str, bool], target: str) -> None:
    built = {}
    for case in cases():
        if case.text not in built:
            module = nsa.compile(case.text, target=target, **options)
            built[case.text] = module[next(iter(module))]
        run(case, built[case.text])
        if "guards" in options:
            built[case.text].check()
