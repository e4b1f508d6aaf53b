# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Every value in every operand (pairs.py), and that the table has every operation."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pairs import pairs, report

import nsa
from nsa.fuzz.check import run_all
from nsa.fuzz.operations import FORMS, SKIPPED

ROOT = Path(__file__).resolve().parents[2]
#: What a slot takes, in the words of docs/Dialect.md.
WORDS = {
    "index": "index",
    "expansion": "How requests become rows",
    "vector": "1D tensor of 32-bit signless integer values",
    "indices": "1D tensor of 32-bit signless integer or 64-bit signless integer values",
    "numbers": "1D/2D tensor of 32-bit signless integer or 64-bit signless integer values",
    "table": "2D tensor of 32-bit signless integer values",
    "bytes": "2D tensor of 8-bit signless integer values",
}

needs_compiler = pytest.mark.skipif(
    not nsa.has_compiler(), reason="built without the compiler"
)


def documented() -> dict[str, dict[str, str]]:
    """The operands of each operation, with what they take."""
    page = (ROOT / "docs/Dialect.md").read_text().split("\n## Attributes\n")[0]
    found = {}
    for part in re.split(r"^### (?=`nsa\.)", page, flags=re.MULTILINE)[1:]:
        operands = part.partition("#### Operands")[2].partition("####")[0]
        rows = re.findall(r"^\| `(\w+)` \| (.*?) \|$", operands, re.MULTILINE)
        found[part[5 : part.index("`", 1)]] = dict(rows)
    return found


#: Operands that a pass gives, and whose tests have them.
MADE = {("scan", "sums"): "nsa-store-sums, test_stored_sums.py"}


def test_table_has_every_operation_and_operand():
    operations = documented()
    assert len(operations) > 20
    assert not SKIPPED.keys() & {form.operation for form in FORMS.values()}
    for operation, operands in operations.items():
        if operation in SKIPPED:
            continue
        slots = {
            name: WORDS[slot.kind]
            for form in FORMS.values()
            if form.operation == operation
            for name, slot in form.slots.items()
        }
        operands = {
            name: words for name, words in operands.items() if (operation, name) not in MADE
        }
        assert slots == operands, f"the forms of nsa.{operation} in nsa.fuzz.operations"


@needs_compiler
def test_pairs():
    """Works as the reference does, or is refused at a place and in our words."""
    counts: Counter[str] = Counter()
    wrong = []
    for task, outcome in run_all(pairs(), timeout=20):
        counts[outcome.kind] += 1
        if outcome.kind in ("fault", "crash"):
            wrong.append(report(task, outcome))
    assert not wrong, f"{len(wrong)} of {sum(counts.values())}:\n" + "\n".join(wrong)
    assert counts["ok"] > 300 and counts["refused"] > 300


@needs_compiler
def test_reference_is_that_of_the_other_tests():
    """nsa.fuzz's formulas against those of reference.py, where both have one."""
    import reference
    from nsa.fuzz import operations

    rng = np.random.default_rng(3)
    for _ in range(20):
        lens = rng.integers(-(2**31), 2**31, 9).astype(np.int32)
        table = rng.integers(-(2**31), 2**31, (5, 8)).astype(np.int32)
        rows = rng.integers(-1, 7, 9)
        of = operations.Array.of
        np.testing.assert_array_equal(
            operations.cu_seqlens(of(lens)).data, reference.cumulative(lens)
        )
        tab = operations.page_table(of(table), of(rows), 11).data
        np.testing.assert_array_equal(tab, reference.page_table_rows(rows, table, 11))
        np.testing.assert_array_equal(
            operations.real_page_table(of(tab), 3).data, reference.real_page_table(tab, 3)
        )


@needs_compiler
@pytest.mark.parametrize(
    "passes",
    (
        "--canonicalize --cse",
        "--nsa-merge-copies",
        "--nsa-form-launches",
        "--nsa-form-launches --nsa-fuse-launches",
    ),
)
def test_passes_are_idempotent(passes, tmp_path):
    """Of every operation once: what a pass makes of its own result is that result."""
    nsa_opt = Path(nsa.__file__).parents[2] / "bin/nsa-opt"
    if not nsa_opt.exists():
        pytest.skip("nsa-opt is not beside the package")
    texts = [task.program.text() for task in pairs() if task.name.startswith("copy of ")]
    text = "// -----\n".join(text for text in texts if "tensor." not in text)
    printed = []
    for _ in range(2):
        result = subprocess.run(
            [nsa_opt, "--split-input-file", "--output-split-marker=// -----", *passes.split()],
            input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        # Some texts are refused, and leave nothing.
        parts = [part for part in result.stdout.split("// -----\n") if "nsa.step" in part]
        text = "// -----\n".join(parts)
        printed.append(text)
    assert printed[0].count("nsa.step @") > 25
    assert printed[0] == printed[1]
