# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays that functions of an engine return."""

from __future__ import annotations

from typing import Any


def empty(shape: tuple[int, ...], like: Any) -> Any:
    """An int32 array of the library and on the device of `like`."""
    if hasattr(like, "new_empty"):
        import torch

        return like.new_empty(shape, dtype=torch.int32)
    import numpy

    return numpy.empty(shape, numpy.int32)


def as_bytes(array: Any) -> Any:
    """A view of int32 rows as bytes."""
    if hasattr(array, "new_empty"):
        import torch

        return array.view(torch.uint8)
    import numpy

    return array.view(numpy.uint8)


def as_array(numbers: Any, like: Any) -> Any:
    """A list of integers as an int32 array of the library and on the device of `like`."""
    if hasattr(like, "new_empty"):
        import torch

        return torch.tensor(numbers, dtype=torch.int32, device=like.device)
    import numpy

    return numpy.array(numbers, numpy.int32)
