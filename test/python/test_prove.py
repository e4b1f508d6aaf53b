# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Accesses that are shown to be inside for all sizes and contents, and that the prover can
fail: kernels with a check changed or taken away, launchers that check less."""

from __future__ import annotations

import itertools
import json
import random
import re
from pathlib import Path

import pytest

import nsa
from nsa import prebuild

z3 = pytest.importorskip("z3", reason="needs the package z3-solver")
if not nsa.has_compiler():
    pytest.skip("built without the compiler", allow_module_level=True)

from nsa.prove import prove_ir, structured  # noqa: E402
from nsa.prove.__main__ import find_all, prove_all  # noqa: E402
from nsa.prove._facts import Facts  # noqa: E402
from nsa.prove._ir import ParseError, parse  # noqa: E402

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
VALUES = (-7, -1, 0, 1, 2, 5, 2**31 - 1, 2**31)


#: Of any fields, with rows that only the device counts: ten seconds to three minutes each, so only
#: `make prove` goes through them; docs/Safety.md says what it shows.
TOO_LONG = (
    "flashmla_schedule", "prefill_v4", "v4_extend", "v4_target_verify", "dsa_prefill", "pooled_draft_extend",
    "draft_extend_replay", "vllm_step",
)  # fmt: skip
#: What has to be shown of each kind of the sample, of global and of shared memory, at least. A
#: step that is shipped is in here, or named above.
SHOWN = {
    "decode_replay": 75, "target_verify_replay": 75, "draft_extend_replay": 100,
    "copy_decode": 90, "copy_target_verify": 55, "copy_draft_extend": 55, "expand_seqlens": 18,
    "dequant_paged": 45, "compressed_token_ids": 20, "swa_token_ids": 35, "combine_indices": 36,
    "paged_mqa_schedule": 60, "plan_topk": 105, "pooled_decode": 70,
    "pooled_target_verify": 140, "v4_decode": 136, "v4_draft_extend": 60,
    "vllm_c128a_indices": 20, "vllm_compressed_slot_mapping": 18, "vllm_gather_block_tables": 45,
    "vllm_input_ids": 15, "vllm_pos_seq_lens": 12, "vllm_prefill_inputs": 28,
    "vllm_sampled_and_draft_inputs": 6, "vllm_slot_mappings": 30,
    "vllm_token_to_req_indices": 4, "vllm_uniform_decode": 12, "vllm_windows": 24,
    "vllm_combine_topk_swa_indices": 45, "vllm_dequantize_and_gather": 65,
    "vllm_draft_decode_inputs": 9, "vllm_global_topk_indices": 29, "vllm_prefill_chunk": 13,
    "vllm_prefill_gather_lens": 5, "vllm_req_to_global": 40,
}  # fmt: skip


def kind_of(text: str) -> str:
    return text[text.index("@") + 1 : text.index("(")]


def some_of_each() -> list[str]:
    """Of each kind of shipped step the one with the longest text, and the shortest."""
    kinds: dict[str, list[str]] = {}
    for text in prebuild.texts():
        kind = kind_of(text)
        whole = ("flashmla_schedule", "vllm_step")
        if kind in TOO_LONG and ("optional" in text or kind in whole):
            continue
        kinds.setdefault(kind, []).append(text)
    some = [pick(texts, key=len) for texts in kinds.values() for pick in (min, max)]
    return list(dict.fromkeys(some))


def test_shipped_steps() -> None:
    """Every access of a sample; `python -m nsa.prove` has all."""
    shown = dict.fromkeys(SHOWN, 0)
    for results in prove_all(some_of_each()):
        for result in results:
            missing = [access for access in result.accesses if access.missing]
            assert not missing, (result.step, missing)
            shown[result.step] += len(result.accesses)
    fewer = {kind: n for kind, n in shown.items() if n < SHOWN[kind]}
    assert not fewer
    assert {kind_of(text) for text in prebuild.texts()} <= {*SHOWN, *TOO_LONG}


def test_rows_of_five() -> None:
    """A quotient of 64 bits that is compared with 32."""
    text = next(
        text
        for text in prebuild.v4_steps()
        if "@v4_draft_extend" in text and "arith.constant 5 : index" in text
    )
    ((result,),) = prove_all([text])
    assert result.accesses and not [access for access in result.accesses if access.missing]


def test_results_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file has is not looked at again; what changed is."""
    file = tmp_path / "results.jsonl"
    (first,) = find_all([COPY], 1, file)
    assert first[0]["global"] == (10, 10) and not first[0]["missing"]
    monkeypatch.setattr("nsa.prove.__main__.prove_ir", lambda *_: [])
    (again,), (other,) = find_all([COPY], 1, file), find_all([GATHER], 1, file)
    assert again[0]["global"] == [10, 10] and other == []
    assert len(file.read_text().splitlines()) == 2


def manifests(text: str) -> dict[str, dict]:
    module = nsa.compile(text, target="cpu")
    return {name: json.loads(module[name].manifest) for name in module}


REPLAY = (EXAMPLES / "decode_replay.mlir").read_text()
COPY = "nsa.step @copies(in %n : index, in %m : index, in %a[%n, %m] : tensor<?x?xi32>," + """
         out %b : memref<?x?xi32, strided<[?, 1]>>) {
  nsa.copy %a to %b : tensor<?x?xi32> to memref<?x?xi32, strided<[?, 1]>>
}"""
GATHER = """
nsa.step @gather(in %n : index, in %ids[%n] : tensor<?xi32>, in %table : tensor<?xi64>,
                 out %b : memref<?xi32>) {
  %v = nsa.lookup %table[%ids] : tensor<?xi64>, tensor<?xi32>
  nsa.copy %v to %b : tensor<?xi32> to memref<?xi32>
}"""


def missing(ir: str, text: str, described: dict | None = None) -> int:
    results = prove_ir(ir, described or manifests(text))
    return sum(bool(access.missing) for result in results for access in result.accesses)


def comparisons(ir: str) -> list[re.Match[str]]:
    """Of indices, signed and less: those that guard accesses."""
    return list(re.finditer(r"cmpi\"\(.*\) <\{predicate = (2) : i64\}> : \(index,", ir))


@pytest.mark.parametrize("text", [REPLAY, COPY], ids=["replay", "copy"])
def test_bounds_that_are_off_by_one(text: str) -> None:
    """Each comparison of an index, with what it allows one more: an access is not shown."""
    ir, described = structured(text), manifests(text)
    assert missing(ir, text, described) == 0
    found = comparisons(ir)
    survivors = []
    for match in found:
        at = match.start(1)
        # slt to sle.
        if not missing(ir[:at] + "3" + ir[at + 1 :], text, described):
            survivors.append(match[0])
    assert len(found) >= 2
    assert not survivors


def change(ir: str, pattern: str, to: str, count: int = 1) -> str:
    changed, times = re.subn(pattern, to, ir, count=count)
    assert times == count
    return changed


def test_guards_that_are_dropped() -> None:
    ir = structured(GATHER)
    guard = re.search(r'(%\d+) = "arith.cmpi"\(.*predicate = 6 .*\(index, index\)', ir)
    assert guard is not None
    # Always so: of an index that is compared with itself.
    changed = change(ir, re.escape(guard[0]), guard[0].replace("predicate = 6", "predicate = 7"))
    changed = re.sub(
        rf'({guard[1]} = "arith.cmpi"\()(%\d+), %\d+\)', r"\1\2, \2)", changed
    )
    assert missing(ir, GATHER) == 0 < missing(changed, GATHER)


def test_indices_that_are_swapped() -> None:
    ir = structured(COPY)
    access = r'("memref.store"\(%\d+, %arg\d+), (%\w+), (%\w+)\)'
    assert missing(change(ir, access, r"\1, \3, \2)"), COPY)


def test_what_the_launcher_checks_is_needed() -> None:
    for text in (COPY, GATHER):
        ir, described = structured(text), manifests(text)
        (manifest,) = described.values()
        for place in range(len(manifest["requires"])):
            fewer = dict(manifest, requires=manifest["requires"][:])
            del fewer["requires"][place]
            assert missing(ir, text, {manifest["step"]: fewer}), manifest["requires"][place]


def test_grid_that_is_too_large() -> None:
    """Blocks past a segment's are the next one's, or nobody's."""
    manifest = manifests(COPY)["copies"]
    (kernel,) = manifest["kernels"]
    (segment,) = kernel["segments"]
    more = dict(segment, rows=["add", segment["rows"], 1])
    changed = dict(manifest, kernels=[dict(kernel, segments=[more])])
    assert missing(structured(COPY), COPY, {"copies": changed})


def test_operations_that_are_not_known_are_not_shown() -> None:
    ir = structured(GATHER)
    assert missing(ir.replace('"memref.load"', '"memref.prefetch_twice"'), GATHER)
    with pytest.raises(ParseError):
        parse('"builtin.module"() ({\n  what is this\n}) : () -> ()')


@pytest.mark.parametrize("seed", range(4))
def test_laws_of_products_and_quotients_hold(seed: int) -> None:
    """What is assumed of them is true of numbers, so nothing is shown from it alone."""
    rng = random.Random(seed)
    facts = Facts()
    numbers = [facts.number("n") for _ in range(3)]
    facts.casts[numbers[1].get_id()] = numbers[1]
    terms = [*numbers, numbers[0] + 1, numbers[1] * 4 - numbers[2]]
    pairs = list(itertools.combinations_with_replacement(terms, 2))
    products = [(a, b, facts.product(a, b)) for a, b in pairs]
    quotients = [(a, d, *facts.divide(a, d)) for a, d in pairs]
    ceilings = [(a, d, facts.ceil_divide(a, d)) for a in numbers for d in (1, 3, 128)]
    for _ in range(6):
        values = [rng.choice(VALUES) for _ in numbers]

        def of(term, values=values):
            return z3.simplify(
                z3.substitute(term, *zip(numbers, map(z3.IntVal, values)))
            ).as_long()

        known = [n == v for n, v in zip(numbers, values)]
        known += [p == of(a) * of(b) for a, b, p in products]
        for a, d, q, r in quotients:
            x, y = of(a), of(d)
            if x >= 0 and y > 0:
                known += [q == x // y, r == x % y]
        known += [c == -(-of(a) // d) for a, d, c in ceilings]
        facts.solver.push()
        facts.solver.set("rlimit", 0)
        facts.solver.add(*known)
        assert facts.solver.check() == z3.sat, values
        facts.solver.pop()


def test_laws_of_powers_hold() -> None:
    facts = Facts()
    exponent = facts.number("n")
    power = facts.power(exponent)
    for value in range(64):
        facts.solver.push()
        facts.solver.add(exponent == value, power == 2**value)
        assert facts.solver.check() == z3.sat, value
        facts.solver.pop()
    with facts.where(exponent >= 31):
        assert facts.proves(power >= 2**31) and not facts.proves(power >= 2**32)


def test_optional_arrays() -> None:
    """Blocks of segments whose arrays are missing are not counted, by launchers and kernels
    alike; of a launcher that counts them not all is shown."""
    text = next(text for text in prebuild.v4_steps() if "@v4_decode" in text)
    ir, described = structured(text), manifests(text)
    assert missing(ir, text, described) == 0
    for segment in described["v4_decode"]["kernels"][0]["segments"]:
        segment.pop("any_of", None)
    assert missing(ir, text, described) > 0


def test_what_facts_show_and_do_not() -> None:
    facts = Facts()
    rows, tiles = facts.number("rows", 0, 2**31 - 1), facts.number("tiles", 1, 2**31 - 1)
    block = facts.number("block", 0)
    facts.assume(block < facts.product(rows, tiles))
    row, tile = facts.divide(block, tiles)
    assert facts.proves(row < rows) and facts.proves(tile < tiles)
    assert not facts.proves(row < rows - 1) and not facts.proves(tile < tiles - 1)
    with facts.where(rows == 0):
        assert not facts.is_reachable()
    assert facts.is_reachable()
    more = facts.number("more")
    facts.casts[more.get_id()] = more
    with facts.where(more == rows + 1):
        assert facts.proves(facts.product(more, tiles) == facts.product(rows, tiles) + tiles)
    with facts.where(more == rows + 2):
        assert not facts.proves(facts.product(more, tiles) == facts.product(rows, tiles) + tiles)
