# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Dequantisation of paged caches by host kernels, against the reference."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dequant_cases import LAYOUTS, Problem, cases, run_case
from dequant_reference import canonical, reference_dequant
from strided_arrays import HostArrays

import nsa
from nsa import layouts

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")


def test_cases() -> None:
    for case in cases():
        run_case(case, HostArrays())


def all_numbers(layout: layouts.KVLayout, scales: np.ndarray) -> np.ndarray:
    """Pages of one token: every e4m3 byte with each of `scales`, one group each."""
    per_scale = 256 // layout.group
    values = np.arange(256, dtype=np.uint8).reshape(per_scale, layout.group)
    groups = np.repeat(scales, per_scale), np.tile(values, (len(scales), 1))
    count = layout.scales.count
    tokens = -(-len(groups[0]) // count)
    cache = np.zeros((tokens, layout.token_bytes), np.uint8)
    for index, (scale, bytes_) in enumerate(zip(*groups)):
        token, group = divmod(index, count)
        cache[token, group * layout.group : (group + 1) * layout.group] = bytes_
        at = layout.scales.offset + group * layout.scales.nbytes // count
        at += layout.data_bytes if layout.footer_bytes else 0
        raw = np.frombuffer(scale.tobytes(), np.uint8)
        cache[token, at : at + len(raw)] = raw
    return cache


def check_all_numbers(layout: str, scales: np.ndarray) -> None:
    parsed = layouts.parse(layout)
    cache = all_numbers(parsed, scales)
    ids = np.arange(len(cache))
    out = np.empty((len(cache), parsed.row), np.uint16)
    nsa.ops.dequantize_k_cache_paged(cache, ids, out, layout, page_size=1)
    expected = reference_dequant(cache, ids, parsed, 1)
    assert np.array_equal(canonical(out), canonical(expected))


@pytest.mark.parametrize("layout", ["v4", "v41"])
def test_every_number_with_every_ue8m0_scale(layout: str) -> None:
    check_all_numbers(layout, np.arange(256, dtype=np.uint8))


@pytest.mark.parametrize("layout", ["v32", "indexer"])
def test_every_number_with_many_float_scales(layout: str) -> None:
    random = np.random.default_rng(1)
    patterns = random.integers(0, 2**32, 600, dtype=np.uint64).astype(np.uint32)
    edges = [0, 1, 0x007FFFFF, 0x00800000, 0x7F7FFFFF, 0x7F800000, 0x7FC00000]
    # 1, just below and above; halfway between two bf16, and a hair from it.
    edges += [0x3F800000, 0x3F7FFFFF, 0x3F800001, 0x3F808000, 0x3F818000]
    edges += [0x3F807FFF, 0x3F808001, 0x3F817FFF, 0x3F818001]
    bits = np.array(edges + [e | 0x80000000 for e in edges], np.uint32)
    # Around the least normal number, and around overflow, times 448.
    near = np.concatenate([bits, patterns, np.arange(0x00600000, 0x01200000, 0x8001)])
    check_all_numbers(layout, near.astype(np.uint32).view(np.float32))


def test_reference_knows_numbers() -> None:
    from dequant_reference import E4M3, UE8M0, to_bf16

    assert E4M3[[0x00, 0x80, 0x01, 0x08, 0x38, 0x7E, 0xFE]].tolist() == [
        0.0, -0.0, 2.0**-9, 2.0**-6, 1.0, 448.0, -448.0,
    ]  # fmt: skip
    assert np.isnan(E4M3[[0x7F, 0xFF]]).all() and np.isnan(E4M3).sum() == 2
    assert UE8M0[[0, 1, 127, 254]].tolist() == [2.0**-127, 2.0**-126, 1.0, 2.0**127]
    ties = np.array([1.00390625, 1.01171875, -1.00390625], np.float32)
    assert to_bf16(ties).tolist() == [0x3F80, 0x3F82, 0xBF80]


def test_layouts_agree_with_the_compiler() -> None:
    """nsa.layouts and the compiler know the same names, texts and sizes."""
    text = (Path(__file__).parents[2] / "include/nsa/IR/KVLayouts.def").read_text()
    named = {
        name: "".join(re.findall(r'"([^"]*)"', body))
        for name, body in re.findall(r'NSA_KV_LAYOUT\((\w+), ((?:"[^"]*"\s*)+)\)', text)
    }
    assert named == layouts.NAMED
    for layout in LAYOUTS.values():
        parsed = layouts.parse(layout)
        assert layouts.parse(str(parsed)) == parsed


def test_picture_is_that_of_the_attributes(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    picture = tmp_path / "layouts.svg"
    subprocess.run(
        [sys.executable, root / "scripts/draw_layouts.py", picture], check=True
    )
    assert picture.read_text() == (root / "docs/kv-layouts.svg").read_text()
    page = (root / "docs/KVLayouts.md").read_text()
    assert all(text in page for text in layouts.NAMED.values())


def test_texts_of_the_picture_are_apart() -> None:
    """By the width that digits have in fonts without serifs."""
    picture = (Path(__file__).parents[2] / "docs/kv-layouts.svg").read_text()
    pattern = r'<text x="([\d.]+)" y="([\d.]+)" font-size="(\d+)" text-anchor="(\w+)">([^<]*)<'
    boxes = []
    for x, y, size, anchor, label in re.findall(pattern, picture):
        width, height = 0.556 * int(size) * len(label), 0.75 * int(size)
        left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        boxes.append((left, left + width, float(y) - height, float(y), label))
    assert len(boxes) > 40
    for i, (left, right, top, bottom, label) in enumerate(boxes):
        for other in boxes[:i]:
            is_beside = right <= other[0] or other[1] <= left
            assert is_beside or bottom <= other[2] or other[3] <= top, (label, other[4])


@pytest.mark.parametrize(
    ("name", "token_bytes", "row", "stride64"),
    [
        ("v32", 656, 576, 41984),
        ("v4", 584, 512, 37440),
        ("v41", 528, 512, 33792),
        ("indexer", 132, 128, 8448),
    ],
)
def test_layout_sizes(name: str, token_bytes: int, row: int, stride64: int) -> None:
    layout = layouts.parse(name)
    assert (layout.token_bytes, layout.row) == (token_bytes, row)
    assert layout.page_stride(64) == stride64


def test_two_into_one_workspace() -> None:
    """Two caches of other page sizes, side by side in one workspace, by one launch."""
    text = nsa.steps.dequant_paged([("v4", 64, "int32"), ("v4", 256, "int64")])
    step = nsa.compile(text, target="cpu")["dequant_paged"]
    assert len(step.kernels) == 1
    unfused = nsa.compile(text, target="cpu", fuse=False)["dequant_paged"]
    assert len(unfused.kernels) == 2
    layout = layouts.parse("v4")
    random = np.random.default_rng(0)
    caches = [
        random.integers(0, 256, (pages, layout.page_stride(size)), dtype=np.uint8)
        for pages, size in ((3, 64), (2, 256))
    ]
    ids = [
        random.integers(-3, 200, 50, dtype=np.int32),
        random.integers(0, 600, 70, dtype=np.int64),
    ]
    want = np.concatenate(
        [
            reference_dequant(cache, ids_, layout, size)
            for cache, ids_, size in zip(caches, ids, (64, 256))
        ]
    )
    for each in (step, unfused):
        workspace = np.full((130, 512), 0xABCD, np.uint16)
        each(
            cache0=caches[0], ids0=ids[0], out0=workspace[:50],
            cache1=caches[1], ids1=ids[1], out1=workspace[50:120],
        )  # fmt: skip
        assert np.array_equal(canonical(workspace[:120]), canonical(want))
        assert (workspace[120:] == 0xABCD).all()


def test_guards_hold() -> None:
    """Kernels that check every access find nothing, over all that may go wrong."""
    for case in list(cases())[::5]:
        problem = Problem(case, HostArrays())
        step = nsa.compile(case.text, target="cpu", guards=True)["dequant_paged"]
        step(tokens0=case.tokens, cache0=problem.cache, ids0=problem.ids, out0=problem.out)
        step.check()
        problem.check()


@pytest.mark.parametrize(
    ("changes", "kind", "text"),
    [
        (dict(cache=np.zeros((3, 100), np.uint8)), ValueError, "argument 'cache'"),
        (dict(cache=np.zeros((3, 41984), np.int32)), TypeError, "argument 'cache'"),
        (dict(token_ids=np.zeros(4, np.int16)), TypeError, "'token_ids': expected dtype"),
        (dict(token_ids=np.zeros((4, 1), np.int32)), ValueError, "1 dimension"),
        (dict(out=np.zeros((3, 576), np.uint16)), ValueError, "argument 'out'"),
        (dict(out=np.zeros((4, 575), np.uint16)), ValueError, "argument 'out'"),
        (dict(out=np.zeros((4, 576), np.float16)), TypeError, "argument 'out'"),
        (dict(page_size=0), ValueError, "argument 'page_size'"),
        (dict(layout="v33"), ValueError, "expected one of v32, v4, v41, indexer"),
    ],
)
def test_errors(changes: dict, kind: type, text: str) -> None:
    arguments = dict(
        cache=np.zeros((3, 41984), np.uint8),
        token_ids=np.zeros(4, np.int64),
        out=np.zeros((4, 576), np.uint16),
        layout="v32",
        page_size=64,
    )
    arguments.update(changes)
    with pytest.raises(kind, match=text):
        nsa.ops.dequantize_k_cache_paged(**arguments)
