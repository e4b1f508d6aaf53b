# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What pictures of benchmarks say; drawing them needs matplotlib."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def plot() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/plot.py"
    spec = importlib.util.spec_from_file_location("nsa_plot", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_legends_have_no_internal_names(plot: ModuleType) -> None:
    result = {"machine": {"sglang": "0.5.23"}}
    labels = [plot.label_of(way, result) for way in plot.COLOURS]
    assert len(set(labels)) == len(plot.COLOURS)
    assert not [label for label in labels if "_" in label or "peer" in label]
    assert plot.label_of("peer", result).startswith("SGLang 0.5.23")
    # Releases of a peer come with their names.
    assert plot.label_of("SGLang 0.5.20", result) == "SGLang 0.5.20"


def test_words_and_ticks(plot: ModuleType) -> None:
    assert plot.spell("target_verify") == "target verify"
    assert [plot.thousands(n) for n in (3, 256, 1024, 16384)] == ["3", "256", "1K", "16K"]
