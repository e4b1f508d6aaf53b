# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The extends that are measured beside SGLang's: the bundles made for them are those that
the call asks for, and every element is written."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import nsa
from nsa import _dsa_prefill, _fields

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from dsa_prefill_steps import INPUT_DTYPES, Case, cases  # noqa: E402

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

LENS, EXTENDS = [70, 256, 900], [70, 3, 130]


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_call(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def get_step(name, text, target):
        asked.append(text)
        return get(name, text, target)

    get = _fields.get_step
    monkeypatch.setattr(_fields, "get_step", get_step)
    _dsa_prefill._runner.cache_clear()  # the call asks again
    random = np.random.default_rng(0)
    given = {
        "seq_lens": np.array(LENS),
        "extend_seq_lens": np.array(EXTENDS),
        "req_pool_indices": np.array([3, 1, 5]),
        "req_to_token": random.integers(0, 4096, (7, 1024)),
    }
    destination = {
        name: np.full(shape, -77, dtype)
        for name, (shape, dtype) in case.outputs(LENS, EXTENDS).items()
    }
    nsa.ops.dsa_prefill(
        destination,
        **{name: array.astype(INPUT_DTYPES[name]) for name, array in given.items()},
        **case.arguments(LENS, EXTENDS),
    )
    assert asked == [case.text()]
    assert set(destination) == set(case.fields)
    for name, array in destination.items():
        assert array.size and (array != -77).all(), name


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
def test_one_launch(case: Case) -> None:
    (step,) = nsa.compile(case.text(), "cuda").values()
    assert len(step.kernels) == 1
