# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the arrays given to ``nsa.ops`` are."""

from . import _nsa_runtime
from ._errors import wrong

_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
_CUDA = (2, 13)


def dtype_name(code, bits):
    """The name of an array's type, as in ``int32``."""
    return f"{_CODES.get(code, code)}{bits}"


def describe(argument, array):
    """(dtype name, shape, target) of an array."""
    (code, bits, shape), device, _ = _nsa_runtime.array_info(array, argument)
    return dtype_name(code, bits), shape, "cuda" if device in _CUDA else "cpu"


def check_rank(argument, shape, rank):
    """Raises ``ValueError`` for an array that has not `rank` dimensions."""
    if len(shape) != rank:
        raise wrong(
            ValueError,
            argument,
            f"expected {rank} dimension{'s' * (rank != 1)} but got {len(shape)}",
        )


def length(argument, array):
    """(dtype name, number of elements, target) of a 1-D array."""
    dtype, shape, target = describe(argument, array)
    check_rank(argument, shape, 1)
    return dtype, shape[0], target
