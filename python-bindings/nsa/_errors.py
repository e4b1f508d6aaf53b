# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Errors about arguments, and the constants that they are most often about.

Such an error has the name of its argument in the attribute ``argument``, wherever it
comes from, so that nobody has to read its text.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping
from typing import Any

INT32_MAX = 2**31 - 1


def wrong(kind: type[Exception], argument: str, text: str) -> Exception:
    """An error about `argument`."""
    error = kind(f"argument {argument!r}: {text}")
    error.argument = argument  # type: ignore[attr-defined]
    return error


def renamed(error: Exception, names: Mapping[str, str]) -> Exception:
    """The error of a call that named its arguments otherwise: `names` maps those names to
    the caller's."""
    text = str(error)
    for inner, outer in names.items():
        text = text.replace(f"'{inner}'", f"'{outer}'")
        text = text.replace(f"{inner}.shape", f"{outer}.shape")
    made = type(error)(text)
    argument = getattr(error, "argument", None)
    made.argument = names.get(argument, argument)  # type: ignore[attr-defined]
    return made


def constant(argument: str, value: Any, least: int, most: int = INT32_MAX) -> int:
    """`value` as an int from `least` to `most`, if it is an integer that says so.

    Constants become text and keys: 2.0 and True, which equal 2 and 1, are refused before
    they are either.
    """
    # What a launch has almost always; True is of another type.
    if type(value) is int and least <= value <= most:
        return value
    error: type[Exception] = TypeError
    if not isinstance(value, bool):
        try:
            number = operator.index(value)
        except TypeError:
            pass
        else:
            if least <= number <= most:
                return number
            error = ValueError
    got = reprlib.repr(value)
    raise wrong(error, argument, f"expected an integer from {least} to {most} but got {got}")


def optional_constant(argument: str, value: Any, least: int) -> int | None:
    """The same, or None."""
    return None if value is None else constant(argument, value, least)


def check_mode(mode: Any, modes: tuple[str, ...]) -> str:
    """Raises ``ValueError`` for what is none of `modes`."""
    if isinstance(mode, str) and mode in modes:
        return mode
    known = ", ".join(map(repr, modes))
    got = reprlib.repr(mode)
    raise wrong(ValueError, "mode", f"expected one of {known} but got {got}")


def index_dtype(argument: str, dtype: Any) -> str:
    """`dtype`, if lengths and indices have it."""
    if dtype in ("int32", "int64"):
        return str(dtype)
    raise wrong(TypeError, argument, f"expected dtype int32 or int64 but got {dtype}")
