# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Calls of the decode replay that are refused, on the host and on a GPU alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from decode_cases import FLAGSHIP, FLAGSHIP_FIELDS

from nsa import steps


class ErrorCase(NamedTuple):
    """A call of the flagship that is refused."""

    change: Callable[[dict[str, Any]], dict[str, Any]]
    error: type[Exception]
    message: str


def _same_memory(arguments: dict[str, Any]) -> dict[str, Any]:
    whole = arguments["b0_cu_seqlens_k"]
    return {"b0_cu_seqlens_k": whole[:6], "b1_cache_seqlens": whole[3:]}


#: Of 5 requests and 9 columns: see `error_arguments`.
ERRORS: dict[str, ErrorCase] = {
    "dtype of an input": ErrorCase(
        lambda a: {"seq_lens": a["b0_cache_seqlens"][:5]},
        TypeError,
        "argument 'seq_lens': expected dtype int64 but got int32",
    ),
    "dtype of a destination": ErrorCase(
        lambda a: {"b2_cache_seqlens": a["seq_lens"]},
        TypeError,
        "argument 'b2_cache_seqlens': expected dtype int32 but got int64",
    ),
    "rank": ErrorCase(
        lambda a: {"b1_page_table_1": a["b1_page_table_1"][0]},
        ValueError,
        "argument 'b1_page_table_1': expected 2 dimensions but got 1",
    ),
    "stride": ErrorCase(
        lambda a: {"b0_page_table_1": a["b0_page_table_1"].T},
        ValueError,
        "argument 'b0_page_table_1': expected stride 1 in dimension 1 but got 12",
    ),
    "too few elements": ErrorCase(
        lambda a: {"b0_cu_seqlens_k": a["b0_cu_seqlens_k"][:5]},
        ValueError,
        "argument 'b0_cu_seqlens_k': expected shape[0] to be at least 6 (bs + 1) but "
        "got 5",
    ),
    "too few rows": ErrorCase(
        lambda a: {"b1_real_page_table": a["b1_real_page_table"][:4]},
        ValueError,
        "argument 'b1_real_page_table': expected shape[0] to be at least 5 (bs) but "
        "got 4",
    ),
    "too few columns": ErrorCase(
        lambda a: {"b2_page_table_1": a["b2_page_table_1"][:, :8]},
        ValueError,
        "argument 'b2_page_table_1': expected shape[1] to be at least 9 (max_len) but "
        "got 8",
    ),
    "too few inputs": ErrorCase(
        lambda a: {"req_pool_indices": a["req_pool_indices"][:4]},
        ValueError,
        "argument 'req_pool_indices': expected shape[0] to be at least 5 (bs) but got 4",
    ),
    "overlap": ErrorCase(
        _same_memory,
        ValueError,
        "argument 'b1_cache_seqlens': expected an array that overlaps no other but it "
        "overlaps 'b0_cu_seqlens_k', to which another value is written",
    ),
    "overlap with a source": ErrorCase(
        lambda a: {"req_to_token": a["b1_page_table_1"][1:]},
        ValueError,
        "argument 'b1_page_table_1': expected an array that overlaps no other but it "
        "overlaps 'req_to_token'",
    ),
    "unknown argument": ErrorCase(
        lambda a: {"b3_cache_seqlens": a["b0_cache_seqlens"]},
        TypeError,
        "argument 'b3_cache_seqlens': step 'decode_replay' has no argument of that name",
    ),
    "missing argument": ErrorCase(
        lambda a: {"b2_nsa_cu_seqlens_k": ...},
        TypeError,
        "argument 'b2_nsa_cu_seqlens_k': expected a 1-d int32 array but it is missing",
    ),
    "missing size": ErrorCase(
        lambda a: {"max_len": ...},
        TypeError,
        "argument 'max_len': expected a size but it is missing",
    ),
    "negative size": ErrorCase(
        lambda a: {"bs": -1},
        ValueError,
        "argument 'bs': expected a size from 0 to 2147483647 but got -1",
    ),
    "size beyond 32 bits": ErrorCase(
        lambda a: {"max_len": 2**31},
        ValueError,
        "argument 'max_len': expected a size from 0 to 2147483647 but got 2147483648",
    ),
    "not an array": ErrorCase(
        lambda a: {"req_to_token": 3},
        TypeError,
        "argument 'req_to_token': expected a 2-d int32 array but got int",
    ),
    "stream": ErrorCase(
        lambda a: {"stream": "fast"},
        TypeError,
        "argument 'stream': expected an int, or an object with cuda_stream, ptr or "
        "__cuda_stream__, but got str",
    ),
}


def error_arguments(asarray: Callable[[np.ndarray], Any]) -> dict[str, Any]:
    """A good call of the flagship, with destinations full of -7."""
    vectors = {name: (11,) for name in FLAGSHIP_FIELDS}
    shapes = {**vectors, "page_table_1": (7, 12), "real_page_table": (7, 2)}
    arguments: dict[str, Any] = {
        "bs": 5,
        "max_len": 9,
        "seq_lens": asarray(np.array([3, 0, 9, 1, 2], np.int64)),
        "req_pool_indices": asarray(np.array([1, 0, 2, 1, 5], np.int64)),
        "req_to_token": asarray(np.arange(27, dtype=np.int32).reshape(3, 9)),
    }
    for backend, name in FLAGSHIP.outputs:
        array = asarray(np.full(shapes[name], -7, np.int32))
        arguments[steps.port(backend, name)] = array
    return arguments


def check_error(
    name: str,
    step: Any,
    asarray: Callable[[np.ndarray], Any],
    asnumpy: Callable[[Any], np.ndarray],
) -> None:
    """Calls `step` in a way that it has to refuse, and sees that nothing is written."""
    good = error_arguments(asarray)
    before = {
        name: asnumpy(a).copy() for name, a in good.items() if hasattr(a, "shape")
    }
    arguments = {**good, **ERRORS[name].change(good)}
    arguments = {name: value for name, value in arguments.items() if value is not ...}
    message = "no error"
    try:
        step(**arguments)
    except ERRORS[name].error as error:
        message = str(error)
    assert message == ERRORS[name].message
    for name, value in before.items():
        assert np.array_equal(asnumpy(good[name]), value), name
    step(**good)
    assert asnumpy(good["b2_cu_seqlens_k"])[:7].tolist() == [0, 3, 3, 12, 13, 15, -7]
