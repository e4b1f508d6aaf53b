# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Arrays of a caller's library, for functions that return new ones."""

from __future__ import annotations

from typing import Any


def empty(shape: Any, like: Any, dtype: str = "int32") -> Any:
    """An array of the library and on the device of `like`."""
    if hasattr(like, "new_empty"):
        import torch

        return like.new_empty(tuple(shape), dtype=getattr(torch, dtype))
    import numpy

    return numpy.empty(shape, dtype)


def rows(array: Any) -> Any:
    """A table, of an array with dimensions of one between its rows and its columns."""
    return array if array.ndim == 2 else array.reshape(array.shape[0], array.shape[-1])


def columns_of(*arrays: Any) -> int | None:
    """How many columns tables have, if these and vectors beside them are contiguous, and
    tables begin at multiples of 16 bytes, so that a kernel can be made for that."""
    columns = int(arrays[0].shape[-1])
    if columns == 0 or columns % 4:
        return None
    for array in arrays:
        is_torch = hasattr(array, "data_ptr")
        strides = array.stride() if is_torch else array.strides
        unit = 1 if is_torch else array.itemsize
        is_table = array.ndim == 2
        if tuple(strides) != ((columns * unit, unit) if is_table else (unit,)):
            return None
        if is_table and _address(array) % 16:
            return None
    return columns


def copy(array: Any) -> Any:
    """For what is updated in place: what it was, to be read while it is written."""
    return array.clone() if hasattr(array, "clone") else array.copy()


def apart(array: Any, written: Any) -> Any:
    """`array`, or a copy of it where `written` begins at the same memory."""
    return copy(array) if _address(array) == _address(written) else array


def as_words(array: Any) -> Any:
    """Elements of two or four bytes as integers of as many, to be moved."""
    if hasattr(array, "data_ptr"):
        import torch

        return array.view(torch.int16 if array.element_size() == 2 else torch.int32)
    return array.view("int16" if array.itemsize == 2 else "int32")


def _address(array: Any) -> int:
    if hasattr(array, "data_ptr"):
        return int(array.data_ptr())
    return int(array.__array_interface__["data"][0])


def flat(array: Any) -> Any:
    """The rows of an array of three dimensions, which has to be contiguous."""
    if hasattr(array, "data_ptr"):
        return array.view(-1, array.shape[-1])
    array = array.view()
    array.shape = (-1, array.shape[-1])
    return array


def as_bytes(array: Any) -> Any:
    """A view of rows of integers as bytes."""
    if hasattr(array, "new_empty"):
        import torch

        return array.view(torch.uint8)
    return array.view("uint8")


def from_list(numbers: Any, like: Any) -> Any:
    """Integers as an int32 array of the library and on the device of `like`."""
    if hasattr(like, "new_empty"):
        import torch

        return torch.tensor(numbers, dtype=torch.int32, device=like.device)
    import numpy

    return numpy.array(numbers, "int32")
