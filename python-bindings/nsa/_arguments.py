# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the arrays given to ``nsa.ops`` are."""

from . import _nsa_runtime

_CODES = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
_CUDA = (2, 13)


def describe(argument, array):
    """(dtype name, shape, target) of an array."""
    try:
        code, bits, shape, device, _ = _nsa_runtime.array_info(array)
    except (TypeError, ValueError) as error:
        text = str(error).replace("argument 'array'", f"argument {argument!r}", 1)
        raise type(error)(text) from None
    dtype = f"{_CODES.get(code, code)}{bits}"
    return dtype, shape, "cuda" if device in _CUDA else "cpu"


def length(argument, array):
    """(dtype name, number of elements, target) of a 1-D array."""
    dtype, shape, target = describe(argument, array)
    if len(shape) != 1:
        raise ValueError(
            f"argument {argument!r}: expected 1 dimension but got {len(shape)}"
        )
    return dtype, shape[0], target
