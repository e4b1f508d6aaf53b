# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Types of elements, and which one two of them meet in."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Union

from ._places import BuildError, Place

Number = Union[bool, int, float]


@dataclass(frozen=True)
class Type:
    """The type of an element: NumPy's name, MLIR's, and bits."""

    name: str
    text: str
    bits: int
    #: bool, int (signed) or float.
    kind: str

    def __str__(self) -> str:
        return self.name


BOOL = Type("bool", "i1", 1, "bool")
INT8 = Type("int8", "i8", 8, "int")
INT16 = Type("int16", "i16", 16, "int")
INT32 = Type("int32", "i32", 32, "int")
INT64 = Type("int64", "i64", 64, "int")
#: The type of indices and sizes. It is an int64 that needs no conversion to address.
INDEX = Type("index", "index", 64, "int")
FLOAT32 = Type("float32", "f32", 32, "float")
#: Moved and converted only.
BFLOAT16 = Type("bfloat16", "bf16", 16, "float")

TYPES = {
    type.name: type for type in (BOOL, INT8, INT16, INT32, INT64, INDEX, FLOAT32, BFLOAT16)
}
#: What arrays have.
ELEMENTS = tuple(name for name in TYPES if name not in ("bool", "index"))


def to_type(dtype: Any, known: tuple[str, ...] = tuple(TYPES)) -> Type:
    """The type that a name, or a dtype of NumPy, torch or ml_dtypes, says."""
    if isinstance(dtype, Type):
        name = dtype.name
    elif isinstance(dtype, str):
        name = dtype
    elif isinstance(dtype, type):
        name = {bool: "bool", int: "", float: ""}.get(dtype, dtype.__name__)
    else:
        name = getattr(dtype, "name", None) or str(dtype).rpartition(".")[2]
    if name not in known:
        raise BuildError(f"expected a dtype of {', '.join(known)} but got {dtype!r}")
    return TYPES[name]


def promote(a: Type, b: Type, place: Place) -> Type:
    """The type that operands of types `a` and `b` are converted to."""
    if a == b:
        return a
    if (a.kind == "float") == (b.kind == "float"):
        # The wider one; of 64 bits, the index.
        return max(a, b, key=lambda type: (type.bits, type is INDEX))
    raise BuildError(
        f"expected operands that meet in a type but got {a} and {b}; write"
        " .astype('float32'), or the type of the other",
        place,
    )


def to_float32(value: float) -> int:
    """The bits of the nearest float32."""
    try:
        packed = struct.pack("<f", value)
    except OverflowError:
        packed = struct.pack("<f", float("inf") if value > 0 else float("-inf"))
    return int(struct.unpack("<I", packed)[0])


def write_constant(value: Number, type: Type) -> str:
    """The constant as MLIR writes it, without its type if that is i1."""
    if type is BOOL:
        return "true" if value else "false"
    if type.kind == "int":
        return f"{int(value)} : {type.text}"
    bits = to_float32(float(value))
    if type is BFLOAT16:
        if value == value:  # to nearest even; NaN stays one
            bits += 0x7FFF + (bits >> 16 & 1)
        return f"0x{bits >> 16:04X} : bf16"
    plain = repr(float(value))
    is_exact = struct.unpack("<f", struct.pack("<I", bits))[0] == value
    if is_exact and plain.replace(".", "", 1).lstrip("-").isdigit():
        return f"{plain} : f32"
    return f"0x{bits:08X} : f32"


def to_literal(value: Any) -> tuple[Number, Type | None] | None:
    """A Python number, which has no type yet, or a NumPy scalar, which has; else None."""
    if isinstance(value, (bool, int, float)) and type(value) in (bool, int, float):
        return value, BOOL if isinstance(value, bool) else None
    if (
        getattr(value, "shape", None) == ()
        and hasattr(value, "dtype")
        and hasattr(value, "item")
    ):
        return value.item(), to_type(value.dtype)
    return None


def check_fits(value: Number, type: Type, place: Place) -> None:
    """Refuses a number that no element of the type is."""
    if type.kind == "float":
        return
    if isinstance(value, float):
        raise BuildError(
            f"expected an integer beside {type} but got {value!r}; write .astype('float32')"
            " at the other operand",
            place,
        )
    low, high = (0, 1) if type is BOOL else (-(1 << type.bits - 1), (1 << type.bits - 1) - 1)
    if not low <= value <= high:
        raise BuildError(
            f"expected a number that {type} holds but got {value}; write nb.constant({value},"
            " dtype), or .astype(dtype) at the other operand",
            place,
        )
