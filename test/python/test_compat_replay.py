# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""SGLang's functions that compute metadata, against the reference; on the host, so NumPy
stands in for torch."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from reference import extend_rows, reference_metadata

import nsa
from nsa.compat import sglang

pytestmark = pytest.mark.skipif(not nsa.has_compiler(), reason="built without the compiler")

POISON, TOPK = -7, 23
COMMON = "seq_lens req_pool_indices req_to_token cache_seqlens cu_seqlens_k page_table_1"
NSA = "dsa_cache_seqlens dsa_cu_seqlens_k real_page_table bs"
# Names of sglang 0.5.23, in order.
PARAMETERS = {
    "decode": f"{COMMON} {NSA} max_len dsa_index_topk physical_page_size",
    "target_verify": f"{COMMON} seqlens_expanded {NSA} max_seqlen_k dsa_index_topk "
    "physical_page_size next_n paged_mqa_ctx_lens_2d",
    "draft_extend": f"{COMMON} seqlens_expanded {NSA} total_len max_seqlen_k dsa_index_topk "
    "physical_page_size max_extend_len max_total_len static_extend_len",
}
PARAMETERS["draft_extend"] = PARAMETERS["draft_extend"].replace(
    "seq_lens req", "seq_lens extend_seq_lens req", 1
)
DEFAULTS = {"paged_mqa_ctx_lens_2d": None, "static_extend_len": False}
FIELDS = {
    "cache_seqlens": "cache_seqlens",
    "cu_seqlens_k": "cu_seqlens_k",
    "seqlens_expanded": "seqlens_expanded",
    "dsa_cache_seqlens": "nsa_cache_seqlens",
    "dsa_cu_seqlens_k": "nsa_cu_seqlens_k",
    "page_table_1": "page_table_1",
    "real_page_table": "real_page_table",
    "paged_mqa_ctx_lens_2d": "paged_mqa_ctx_lens",
}


def function(mode: str) -> Any:
    return getattr(sglang, f"fused_dsa_{mode}_metadata")


@pytest.mark.parametrize("mode", PARAMETERS)
def test_signature(mode: str) -> None:
    parameters = inspect.signature(function(mode)).parameters
    assert list(parameters) == PARAMETERS[mode].split()
    defaults = {n: p.default for n, p in parameters.items() if p.default is not p.empty}
    assert defaults == {n: v for n, v in DEFAULTS.items() if n in parameters}
    assert getattr(sglang, f"fused_nsa_{mode}_metadata") is function(mode)


class Call:
    """Arguments by SGLang's names, and what the arrays become."""

    def __init__(self, mode: str, bs: int, page_size: int, seed: int, **options: Any) -> None:
        rng = np.random.default_rng(seed)
        room = bs + int(rng.integers(0, 3))
        dtypes = [np.int32, np.int64]
        next_n = options.get("next_n", 3 if mode == "target_verify" else 1)
        lens = rng.integers(1, 300, room).astype(dtypes[seed % 2])
        pool = rng.integers(0, 20, room).astype(dtypes[seed // 2 % 2])
        table = rng.integers(0, 1 << 20, (20, 320)).astype(np.int32)
        columns = int(lens[:bs].max(initial=0)) + next_n
        extend = np.full(room, 4) if options.get("static") else rng.integers(0, 6, room)
        extend = extend.astype(np.int32)
        draft = {"E": extend[:bs]} if mode == "draft_extend" else {}
        self.values = reference_metadata(
            mode, lens[:bs], pool[:bs], table, columns, TOPK, page_size, next_n, **draft
        )
        rows = np.arange(bs)
        if mode == "target_verify":
            rows = np.repeat(rows, next_n)
        elif draft:
            rows = extend_rows(extend[:bs], bs)[0]
        self.live = self.values["cache_seqlens"][rows]
        self.page_size = page_size
        self.arguments: dict[str, Any] = {
            "seq_lens": lens,
            "req_pool_indices": pool,
            "req_to_token": table,
            "bs": bs,
            "dsa_index_topk": TOPK,
            "physical_page_size": page_size,
            "max_len" if mode == "decode" else "max_seqlen_k": columns,
        }
        if mode == "target_verify":
            self.arguments["next_n"] = next_n
        if draft:
            longest = 4 if options.get("static") else 6
            self.arguments |= {
                "extend_seq_lens": extend,
                "total_len": len(rows),
                "max_extend_len": longest,
                "max_total_len": bs * longest,
                "static_extend_len": bool(options.get("static")),
            }
        for theirs, ours in FIELDS.items():
            if theirs in PARAMETERS[mode].split():
                shape = [n + int(rng.integers(0, 4)) for n in self.values[ours].shape]
                self.arguments[theirs] = np.full(shape, POISON, np.int32)
        self.function = function(mode)

    def run(self) -> None:
        assert self.function(**self.arguments) is None
        for theirs, ours in FIELDS.items():
            array = self.arguments.get(theirs)
            if array is not None and not (theirs.startswith("real") and self.page_size == 1):
                self.check(array, self.values[ours], ours)

    def check(self, array: np.ndarray, values: np.ndarray, field: str) -> None:
        inside = tuple(slice(0, n) for n in values.shape)
        found = array[inside].copy()
        if field in ("page_table_1", "real_page_table"):
            page = self.page_size if field == "real_page_table" else 1
            dead = np.arange(values.shape[1]) * page >= self.live[:, None]
            assert np.isin(found[dead], [POISON, *values[dead]]).all()
            found[dead] = values[dead]
        assert np.array_equal(found, values), field
        array[inside] = POISON
        assert (array == POISON).all(), field


@pytest.mark.parametrize("mode", PARAMETERS)
@pytest.mark.parametrize("page_size", [1, 64])
@pytest.mark.parametrize("bs", [0, 1, 33])
@pytest.mark.parametrize("seed", range(4))
def test_values(mode: str, page_size: int, bs: int, seed: int) -> None:
    Call(mode, bs, page_size, seed).run()


@pytest.mark.parametrize("mode", PARAMETERS)
def test_optional_arrays(mode: str) -> None:
    call = Call(mode, 5, 64, seed=1)
    call.arguments["page_table_1"] = None
    call.arguments.pop("paged_mqa_ctx_lens_2d", None)
    call.run()
    call = Call(mode, 5, 1, seed=2)
    call.arguments["real_page_table"] = None
    call.run()
    call = Call(mode, 5, 1, seed=3)
    call.arguments["real_page_table"] = call.arguments["page_table_1"]
    call.run()


@pytest.mark.parametrize("seed", range(4))
def test_static_extend(seed: int) -> None:
    call = Call("draft_extend", 7, 64, seed, static=True)
    call.run()
    # Fewer rows than the longest would make: the lengths count.
    call = Call("draft_extend", 7, 64, seed, static=True)
    call.arguments |= {"max_extend_len": 5, "max_total_len": 40}
    call.run()


def test_rows_past_the_total() -> None:
    """No row past total_len is written, whatever the lengths on the device say."""
    call = Call("draft_extend", 7, 64, seed=5)
    total = call.arguments["total_len"] - 2
    call.arguments["total_len"] = total
    call.live = call.live[:total]
    for field, values in call.values.items():
        if field not in ("cache_seqlens", "cu_seqlens_k"):
            call.values[field] = values[: total + (field == "nsa_cu_seqlens_k")]
    call.run()


@pytest.mark.parametrize("mode", PARAMETERS)
@pytest.mark.parametrize("pool", [1, 2, 4])
@pytest.mark.parametrize("static", [False, True])
def test_pools(mode: str, pool: int, static: bool) -> None:
    """SGLang's twins, where some tokens have one index key."""
    twin = getattr(sglang, f"fused_dsa_{mode}_metadata_kpool")
    parameters = inspect.signature(twin).parameters
    assert list(parameters) == [*PARAMETERS[mode].split(), "index_kpool"]
    assert parameters["index_kpool"].default == 1
    for seed, bs in enumerate((0, 1, 7)):
        call = Call(mode, bs, 64, seed, **({"static": True} if static else {}))
        call.function, call.arguments["index_kpool"] = twin, pool
        lens = call.values["seqlens_expanded"]
        clipped = np.minimum(lens // pool * pool, TOPK) + (lens % pool if pool > 1 else 0)
        call.values["nsa_cache_seqlens"] = clipped
        call.values["nsa_cu_seqlens_k"] = np.concatenate(([0], np.cumsum(clipped)))
        call.run()


def test_errors_of_pools() -> None:
    call = Call("decode", 3, 64, seed=0)
    call.function = sglang.fused_dsa_decode_metadata_kpool
    for changes, error, message in (
        ({"dsa_cu_seqlens_k": np.zeros(9, np.int64)}, RuntimeError, "dsa_cu_seqlens_k must have"),
        ({"real_page_table": np.zeros((2, 9), np.int32)}, ValueError, "'real_page_table': expected"),
        ({"index_kpool": 0}, ValueError, "'index_kpool': expected an integer from 1"),
    ):
        with pytest.raises(error, match=message):
            call.function(**{"index_kpool": 4, **call.arguments, **changes})
    assert (call.arguments["cache_seqlens"] == POISON).all()


def test_older_names() -> None:
    call = Call("target_verify", 4, 64, seed=1)
    renamed = {"physical_page_size": "real_page_size"}
    call.arguments = {
        renamed.get(name, name.replace("dsa_", "nsa_")): value
        for name, value in call.arguments.items()
    }
    call.function(**call.arguments)
    assert np.array_equal(
        call.arguments["nsa_cache_seqlens"][:12], call.values["nsa_cache_seqlens"]
    )
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        call.function(**call.arguments, nonsense=1)


@pytest.mark.parametrize(
    ("mode", "changes", "error", "message"),
    [
        (
            "decode",
            {"dsa_cache_seqlens": np.zeros(9, np.int64)},
            RuntimeError,
            "Tensor dsa_cache_seqlens must have dtype int32, but got int64",
        ),
        (
            "target_verify",
            {"paged_mqa_ctx_lens_2d": np.zeros((9, 3), np.float32)},
            RuntimeError,
            "Tensor paged_mqa_ctx_lens_2d must have dtype int32, but got float32",
        ),
        (
            "decode",
            {"seq_lens": np.zeros(9, np.int16)},
            TypeError,
            "'seq_lens': expected dtype int32 or int64 but got int16",
        ),
        (
            "decode",
            {"physical_page_size": 1, "page_table_1": None},
            ValueError,
            "'page_table_1': expected an array, as physical_page_size is 1",
        ),
        (
            "draft_extend",
            {"real_page_table": None},
            ValueError,
            "'real_page_table': expected an array, as physical_page_size is 64",
        ),
        (
            "target_verify",
            {"seqlens_expanded": np.zeros(3, np.int32)},
            ValueError,
            r"'seqlens_expanded': expected shape\[0\] to be at least 12",
        ),
        ("draft_extend", {"total_len": 25}, ValueError, "'total_len': expected 0 to 24 but got"),
        ("draft_extend", {"max_total_len": 1}, ValueError, "'total_len': expected 0 to 1 but"),
        ("decode", {"bs": 99}, ValueError, "expected shape.* to be at least (99|100)"),
    ],
)
def test_errors(mode: str, changes: Any, error: Any, message: str) -> None:
    call = Call(mode, 4, 64, seed=3)
    call.arguments |= changes
    with pytest.raises(error, match=message):
        call.function(**call.arguments)
    written = [call.arguments[n] for n in FIELDS if n in call.arguments and n not in changes]
    assert all((array == POISON).all() for array in written if array is not None)


@pytest.mark.parametrize("adaptive", ["", "_adaptive"])
def test_fill_draft_extend(adaptive: str) -> None:
    fill = getattr(sglang, f"fill_draft_extend_metadata_cuda{adaptive}")
    assert list(inspect.signature(fill).parameters) == [
        "extend_seq_lens",
        "seq_lens",
        "nsa_index_topk",
        "out_seqlens_expanded",
        "out_nsa_cache_seqlens",
    ]
    rng = np.random.default_rng(6)
    for bs in (0, 1, 16, 17, 200):
        extend = rng.integers(0, 6, bs).astype(np.int32)
        lens = rng.integers(1, 90, bs).astype(np.int32)
        expected = reference_metadata(
            "draft_extend", lens, np.zeros(bs), np.zeros((1, 1)), 1, TOPK, 1, E=extend
        )
        n = int(extend.sum())
        rows, clipped = np.full(n + 3, POISON, np.int32), np.full(n + 3, POISON, np.int32)
        total = fill(extend, lens, TOPK, rows, clipped)
        assert total.shape == (1,) and total.dtype == np.int32 and total.item() == n
        assert np.array_equal(rows[:n], expected["seqlens_expanded"])
        assert np.array_equal(clipped[:n], expected["nsa_cache_seqlens"])
        assert (rows[n:] == POISON).all() and (clipped[n:] == POISON).all()
    with pytest.raises(RuntimeError, match="out_seqlens_expanded must have dtype int32"):
        fill(extend, lens, TOPK, rows.astype(np.int64), clipped)
