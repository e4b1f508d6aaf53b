# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The operators of torch: what nsa.ops computes, with errors, under torch.compile, in a graph."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nsa
import torch_cases

torch = pytest.importorskip("torch", reason="torch is not installed")
import nsa.torch as ours  # noqa: E402

needs_compiler = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")
# Those that scripts/make_test_bundles.py has the steps of.
needs_steps = pytest.mark.skipif(
    not nsa.has_compiler() and not os.environ.get("NSA_BUNDLE_PATH"),
    reason="no compiler, and no bundles: NSA_BUNDLE_PATH is not set",
)

DEVICES = ["cpu"]
if torch.cuda.is_available():
    DEVICES.append("cuda")


def placed(value: Any, device: str) -> Any:
    """With its arrays as torch's, on a device."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value).to(device)
    if isinstance(value, dict):
        return {key: placed(each, device) for key, each in value.items()}
    return [placed(each, device) for each in value] if isinstance(value, list) else value


def replay_arguments(device: str, *sizes: int) -> dict[str, Any]:
    return placed(torch_cases.replay_arguments(*sizes), device)


def destinations(device: str, *sizes: int) -> list[dict[str, Any]]:
    return placed(torch_cases.destinations(*sizes), device)


def assert_equal(left: list[dict[str, Any]], right: list[dict[str, Any]]) -> None:
    for ours, theirs in zip(left, right):
        for field, array in ours.items():
            assert torch.equal(array, theirs[field]), field


@needs_steps
@pytest.mark.parametrize("device", DEVICES)
def test_tensors_that_became_others(device: str) -> None:
    """Known arrays are looked at in each call: a tensor may have another memory or shape."""

    def tensor(*values: int) -> Any:
        return torch.tensor(values, dtype=torch.int32, device=device)

    # Fields that a step is shipped for.
    source = {
        "cache_seqlens": tensor(1, 2, 3),
        "cu_seqlens_k": tensor(0, 1, 2, 3),
        "nsa_cache_seqlens": tensor(1, 2, 3),
        "nsa_cu_seqlens_k": tensor(0, 1, 2, 3),
        "page_table_1": tensor(*range(12)).reshape(3, 4),
    }
    out = {name: torch.empty_like(array) for name, array in source.items()}

    def check(*values: int) -> None:
        for _ in range(2):
            for each in out.values():
                each.zero_()
            nsa.ops.copy_metadata(source, [out], bs=len(values), max_len=2)
            assert out["cache_seqlens"][: len(values)].tolist() == list(values)
            table = source["page_table_1"][: len(values), :2]
            assert torch.equal(out["page_table_1"][: len(values), :2], table)

    check(1, 2, 3)
    lens = source["cache_seqlens"]
    lens.set_(tensor(4, 5, 6))
    check(4, 5, 6)
    lens.data = tensor(7, 8, 9)
    check(7, 8, 9)
    torch.utils.swap_tensors(lens, tensor(10, 11, 12))
    check(10, 11, 12)
    out["cache_seqlens"].resize_(100_000).resize_(3)
    check(10, 11, 12)
    source["page_table_1"].as_strided_((3, 4), (1, 1))
    check(10, 11, 12)
    lens.resize_(2)
    with pytest.raises(ValueError, match="'src_cache_seqlens'"):
        check(10, 11, 12)
    check(10, 11)
    with pytest.raises(TypeError, match="'src_cache_seqlens': expected dtype int32"):
        source["cache_seqlens"] = lens.long()
        check(10, 11)
    source["cache_seqlens"] = lens
    check(10, 11)
    # What has no memory is refused, as it is where nothing is known.
    source["cache_seqlens"] = lens.to_sparse()
    for _ in range(2):
        with pytest.raises(ValueError, match="argument 'src_cache_seqlens'"):
            check(10, 11)
    source["cache_seqlens"] = lens
    check(10, 11)


@needs_steps
@pytest.mark.parametrize("device", DEVICES)
def test_replay(device: str) -> None:
    arguments = replay_arguments(device)
    expected, out = destinations(device), destinations(device)
    nsa.ops.replay_metadata(expected, "decode", **arguments)
    ours.replay_metadata(out, "decode", **arguments)
    assert_equal(out, expected)
    assert (out[0]["cache_seqlens"] == arguments["seq_lens"]).all()


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
def test_incremental_replay(device: str) -> None:
    arguments = replay_arguments(device)
    expected, out = destinations(device), destinations(device)
    since = (arguments["seq_lens"] - 3).to(torch.int32)
    nsa.ops.replay_metadata(expected, "decode", **arguments, since=since, new_columns=8)
    ours.replay_metadata(out, "decode", **arguments, since=since, new_columns=8)
    assert_equal(out, expected)
    assert 0 < (out[0]["page_table_1"] != -1).sum() <= 3 * 5


@needs_steps
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("as_array", [False, True])
def test_draft_extend(device: str, as_array: bool) -> None:
    """Extends of all, and of each."""
    arguments = replay_arguments(device)
    arguments["extend_seq_lens"] = placed(torch_cases.extends(as_array), device)
    out, expected = destinations(device, 10), destinations(device, 10)
    nsa.ops.replay_metadata(expected, "draft_extend", **arguments)
    ours.replay_metadata(out, "draft_extend", **arguments)
    assert_equal(out, expected)


def cases(device: str) -> dict[str, tuple[Callable[..., None], Callable[..., None], Any, int]]:
    """name -> (ours, that of nsa.ops, what makes the arguments, how many of the last are written)."""

    def int32(*shape: int, high: int = 30) -> Any:
        generator = torch.Generator().manual_seed(3)
        return torch.randint(0, high, shape, generator=generator, dtype=torch.int32).to(device)

    def expand() -> list[Any]:
        return [int32(4, high=3), 50 + int32(4), 64, int32(12), int32(12), True, int32(1)]

    def dequantize() -> list[Any]:
        cache = (int32(8, 656, high=255)).to(torch.uint8)
        return [cache, int32(5, high=8), int32(5, 576).to(torch.bfloat16)]

    def swa() -> list[Any]:
        table = int32(9, 200, high=500)
        return [
            60 + int32(4), 1 + int32(4, high=3), int32(4, high=9).long(), table,
            int32(600, high=500).long(), 128, int32(520), int32(4), int32(4), int32(5),
        ]

    def compressed() -> list[Any]:
        starts = torch.tensor([0, 2, 5], dtype=torch.int32, device=device)
        return [int32(5, 10), starts, int32(2, 40), 4, 64]

    def combine() -> list[Any]:
        starts = torch.tensor([0, 2, 5], dtype=torch.int32, device=device)
        bases = torch.tensor([0, 700], dtype=torch.int32, device=device)
        return [
            int32(5, 64), starts, 40 + int32(2), 9 + int32(2), bases, bases + 64, 128, 4, 64,
            int32(5, 256), int32(5),
        ]

    def schedule() -> list[Any]:
        return [50 + int32(7, 1, high=9000), int32(17, 2)]

    paged = {"convention": "gen1", "num_sms": 16}
    return {
        "paged_mqa_schedule": (
            lambda *a: ours.paged_mqa_schedule(*a, **paged),
            lambda *a: nsa.ops.paged_mqa_schedule(*a, **paged),
            schedule, 1,
        ),
        "expand_seqlens": (ours.expand_seqlens, nsa.ops.expand_seqlens, expand, 4),
        "dequantize_k_cache_paged": (
            lambda *a: ours.dequantize_k_cache_paged(*a, page_size=1),
            lambda *a: nsa.ops.dequantize_k_cache_paged(*a, page_size=1),
            dequantize, 1,
        ),
        "build_swa_token_ids": (ours.build_swa_token_ids, nsa.ops.build_swa_token_ids, swa, 4),
        "build_compressed_token_ids": (
            ours.build_compressed_token_ids, nsa.ops.build_compressed_token_ids, compressed, 3,
        ),
        "combine_topk_swa_indices": (
            ours.combine_topk_swa_indices, nsa.ops.combine_topk_swa_indices, combine, 2,
        ),
    }


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", list(cases("cpu")))
def test_each(name: str, device: str) -> None:
    call, reference, make, written = cases(device)[name]
    left, right = make(), make()
    before = [a.clone() for a in left[-written:] if torch.is_tensor(a)]
    call(*left)
    reference(*right)
    pairs = [(a, b) for a, b in zip(left, right) if torch.is_tensor(a)]
    assert all(torch.equal(a.view(torch.uint8), b.view(torch.uint8)) for a, b in pairs)
    after = [a for a in left[-written:] if torch.is_tensor(a)]
    assert any(not torch.equal(a, b) for a, b in zip(after, before))
    # And what torch itself has to say about schema, fake kernel and aliasing.
    operator = getattr(torch.ops.nsa, name).default
    constants: dict[str, list[Any]] = {
        "dequantize_k_cache_paged": ["v32", 1],
        "paged_mqa_schedule": ["gen1", 16, None, 1, *[None] * 4],
    }
    flat = [*make(), *constants.get(name, [])]
    torch.library.opcheck(operator, tuple(flat), test_utils=("test_schema", "test_faketensor"))


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["decode", "extend"])
def test_replay_v4(device: str, mode: str) -> None:
    """Every kind of argument: sizes, constants, arrays that are there or not."""
    known = replay_arguments(device)
    arguments = {
        **{k: known[k] for k in ("seq_lens", "req_pool_indices", "req_to_token", "max_len")},
        "full_to_swa": torch.arange(1 << 20, dtype=torch.int64, device=device) // 3,
        "page_size": 16,
        "index_page_size": 4,
        "topk": 64,
    }
    rows = 5
    if mode == "extend":
        rows = 12
        arguments["extend_seq_lens"] = torch.full((5,), 2, dtype=torch.int32, device=device)
        arguments |= {"rows": rows, "num_tokens": 10}

    def sets() -> list[dict[str, Any]]:
        names = {"seq_lens_casual": (), "swa_page_indices": (128,), "c4_topk_lengths_raw": ()}
        made = {
            name: torch.full((rows, *shape), -7, dtype=torch.int32, device=device)
            for name, shape in names.items()
        }
        return [made, {"page_table": torch.full((rows, 7), -7, dtype=torch.int32, device=device)}]

    out, expected = sets(), sets()
    nsa.ops.replay_v4(expected, mode, **arguments)
    ours.replay_v4(out, mode, **arguments)
    assert_equal(out, expected)
    assert all((array != -7).any() for fields in out for array in fields.values())


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
def test_windows_and_ranks(device: str) -> None:
    """Arguments that are not among those of each step."""
    lens = torch.tensor([3, 200, 129], dtype=torch.int32, device=device)
    pool = torch.tensor([5, 2, 9], device=device)
    rows = torch.arange(12, device=device)

    def like(shapes: dict[str, tuple[int, ...]]) -> list[dict[str, Any]]:
        int64 = ("window_req", "req", "pos")
        return [
            {
                name: torch.full(
                    shape, -7, dtype=torch.int64 if name in int64 else torch.int32, device=device
                )
                for name, shape in shapes.items()
            }
            for _ in range(2)
        ]

    def check(left: Any, right: Any) -> None:
        assert_equal([left], [right])
        assert all((array != -7).any() for array in left.values())

    out, expected = like({"window_indices": (12, 128), "swa_topk_lengths": (12,), "window_req": (12,)})
    given = {
        "seq_lens": lens, "req_pool_indices": pool, "next_n": 4,
        "request_window": {"groups": 4, "zero_row": 7},
    }  # fmt: skip
    ours.replay_v4([out], "target_verify", **given)
    nsa.ops.replay_v4([expected], "target_verify", **given)
    check(out, expected)
    with pytest.raises(TypeError, match="request_window"):
        ours.replay_v4([out], "target_verify", seq_lens=lens, next_n=4, request_window={"groups": 4})

    out, expected = like({"rank_seq_lens_casual": (4,)})
    given = {"seq_lens": lens, "next_n": 4, "ranks": 3, "rank": 1}
    ours.replay_v4([out], "target_verify", **given)
    nsa.ops.replay_v4([expected], "target_verify", **given)
    check(out, expected)

    out, expected = like({"rank_ks": (4,), "rank_requests": (3,)})
    given = {
        "seq_lens": lens, "extend_seq_lens": torch.full_like(lens, 3), "num_tokens": 9,
        "ranks": 2, "rank": 1,
    }  # fmt: skip
    ours.dsa_prefill(out, **given)
    nsa.ops.dsa_prefill(expected, **given)
    check(out, expected)

    out, expected = like({"req": (12,), "indices": (12, 128), "lengths": (12,)})
    ours.window_layout(out, rows // 4, rows, zero_row=7)
    nsa.ops.window_layout(expected, rows // 4, rows, zero_row=7)
    check(out, expected)

    out, expected = like({"tail": (3, 8), "total": (3,)})
    indices = torch.arange(24, dtype=torch.int32, device=device).view(3, 8)
    ours.pack_sparse_tail(indices, lens, out["tail"], out["total"])
    nsa.ops.pack_sparse_tail(indices, lens, expected["tail"], expected["total"])
    check(out, expected)


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
def test_schedule_workspace(device: str) -> None:
    """The operator says that it writes the workspace."""
    lens = torch.arange(70, dtype=torch.int32, device=device) * 100
    made = torch.full((17, 2), -7, dtype=torch.int32, device=device)
    expected, workspace = made.clone(), torch.full((3,), -7, dtype=torch.int64, device=device)
    nsa.ops.paged_mqa_schedule(lens, expected, convention="gen1", num_sms=16)
    ours.paged_mqa_schedule(
        lens, made, convention="gen1", num_sms=16, workspace=workspace
    )
    assert torch.equal(made, expected)
    assert (workspace >= 0).all()
    arguments = (lens, made, "gen1", 16, None, 1, None, None, None, workspace)
    operator = torch.ops.nsa.paged_mqa_schedule.default
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
def test_copy(device: str) -> None:
    source = destinations(device)[0]
    for number, array in enumerate(source.values()):
        array.fill_(number + 3)
    out, expected = [dict(destinations(device)[0])], [dict(destinations(device)[0])]
    fields = [{k: v for k, v in d.items() if k != "page_table_1"} for d in (*out, *expected)]
    nsa.ops.copy_metadata(source, [fields[1]], "decode", bs=5)
    ours.copy_metadata(source, [fields[0]], "decode", bs=5)
    assert_equal([fields[0]], [fields[1]])


@needs_compiler
@pytest.mark.parametrize("device", DEVICES)
def test_prefill_v4(device: str) -> None:
    lens = torch.tensor([3, 0, 700], device=device)
    fields = [
        {name: torch.zeros(3, dtype=torch.int32, device=device) for name in ("c2_base", "c128_base")}
        for _ in range(2)
    ]
    nsa.ops.prefill_v4(fields[0], seq_lens=lens, max_len=700)
    ours.prefill_v4(fields[1], seq_lens=lens, max_len=700)
    assert_equal([fields[0]], [fields[1]])
    assert fields[1]["c128_base"].tolist() == [0, 5, 10]


@needs_steps
def test_errors() -> None:
    """Those of nsa.ops, with the name of the argument."""
    arguments = replay_arguments("cpu")
    out = destinations("cpu")
    out[0]["cache_seqlens"] = out[0]["cache_seqlens"][:2]
    with pytest.raises(ValueError, match="argument 'b0_cache_seqlens': expected shape"):
        ours.replay_metadata(out, "decode", **arguments)
    with pytest.raises(ValueError, match="argument 'mode'"):
        ours.replay_metadata(destinations("cpu"), "nonsense", **arguments)


@needs_steps
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled(backend: str, device: str) -> None:
    """One graph; writes are seen by what comes after, and sizes may change."""

    def step(out: list[dict[str, Any]], arguments: dict[str, Any]) -> Any:
        ours.replay_metadata(out, "decode", **arguments)
        total = out[0]["cu_seqlens_k"] * 2
        # The same buffer once more: the operator may not move over the read.
        out[0]["cu_seqlens_k"].zero_()
        return total

    compiled = torch.compile(step, fullgraph=True, backend=backend, dynamic=True)
    for bs in (5, 3, 7):
        arguments = replay_arguments(device, bs)
        expected, out = destinations(device, bs), destinations(device, bs)
        assert torch.equal(compiled(out, arguments), step(expected, arguments))
        assert_equal(out, expected)
        assert not out[0]["cu_seqlens_k"].any() and out[1]["cu_seqlens_k"].any()


@needs_steps
@pytest.mark.skipif("cuda" not in DEVICES, reason="no CUDA device")
def test_captured() -> None:
    """A graph replays it on other lengths; a side stream is followed."""
    arguments, out = replay_arguments("cuda"), destinations("cuda")
    ours.replay_metadata(out, "decode", **arguments)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        ours.replay_metadata(out, "decode", **arguments)
    for seed in range(20):
        arguments["seq_lens"].copy_(torch.randint(1, 100, (5,), device="cuda"))
        graph.replay()
        expected = destinations("cuda")
        nsa.ops.replay_metadata(expected, "decode", **arguments)
        assert_equal(out, expected)


def test_import_is_optional() -> None:
    """`import nsa` does without torch, and nsa.torch says what is missing."""
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import nsa\n"
        "try:\n    import nsa.torch\n"
        "except ImportError as error: print(type(error).__name__, 'torch' in str(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "ModuleNotFoundError True"
