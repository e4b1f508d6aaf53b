# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The steps of V4, V4.1, DSA extends and pooled keys are written in the language alone: no
field has an operation of its own. Page tables of DSA's replays are those of V3.2, which have."""

from __future__ import annotations

import re

import dsa_prefill_cases
import dsa_rank_cases
import kpool_cases
import prefill_v4_cases
import pytest
import ragged_prefill_cases
import request_window_cases
import transform_cases
import v4_cases
import v4_plan_cases
import v4_rank_cases
import v4_trtllm_cases
import v4_window_cases

from nsa import prebuild

WORDS = {
    "nsa.step", "nsa.map", "nsa.read", "nsa.yield", "nsa.scan", "nsa.search", "nsa.reduce",
    "nsa.iterate", "nsa.copy",
}  # fmt: skip
TABLES = {"nsa.page_table", "nsa.real_page_table", "nsa.expansion", "nsa.expand_rows"}
TEXTS = {
    **{
        module.__name__: module.texts
        for module in (
            v4_cases, v4_plan_cases, v4_window_cases, v4_rank_cases, v4_trtllm_cases, kpool_cases,
            dsa_prefill_cases, transform_cases, request_window_cases, ragged_prefill_cases,
            prefill_v4_cases,
        )  # fmt: skip
    },
    "dsa_rank_cases": lambda: {dsa_rank_cases.text("int64")},
    "V4, shipped": prebuild.v4_steps,
    "DSA, shipped": prebuild.dsa_steps,
}


@pytest.mark.parametrize("name", TEXTS)
def test_words(name: str) -> None:
    texts = list(TEXTS[name]())
    assert texts
    for text in texts:
        is_replay = re.search(r"@(pooled_\w+|\w+_replay)\(", text)
        known = WORDS | TABLES if is_replay else WORDS
        assert set(re.findall(r"\bnsa\.[a-z_]+", text)) <= known, text
