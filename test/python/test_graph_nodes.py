# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps as nodes of graphs, without a GPU: what the driver is told, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import stub_driver
from conftest import HostStep

import nsa


def test_captured_and_updated(tmp_path: Path) -> None:
    assert stub_driver.run(tmp_path, "graph_nodes.py") == "well\n"


def test_host_arrays_are_refused() -> None:
    host = HostStep()
    bound = host.step.bind(
        lens=np.zeros(2, np.int64), table=np.zeros((1, 4), np.int32), sums=np.zeros(3, np.int32),
        row=np.zeros(4, np.int32), width=4,
    )  # fmt: skip
    with pytest.raises(ValueError, match="expected arrays on a GPU to capture it"):
        bound.capture()
    assert host.calls == []
    with pytest.raises(TypeError):
        nsa.Binding.update(bound, None, 5)
