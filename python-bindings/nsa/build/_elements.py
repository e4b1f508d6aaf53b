# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Elements of arrays as expressions: what the formulas of maps are made of.

An operator makes a node and nothing else; a map writes the nodes that its element needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, NoReturn

from ._places import BuildError, Place, here
from ._types import (
    BFLOAT16,
    BOOL,
    FLOAT32,
    INDEX,
    INT32,
    INT64,
    Number,
    Type,
    check_fits,
    promote,
    to_literal,
    to_type,
)

__all__ = ["Element", "Operand", "ceildiv", "constant", "maximum", "minimum", "where"]


class Operand:
    """What has operators: an element, or a size."""

    #: NumPy's scalars leave operators to the other side.
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]

    def element(self) -> Element:
        raise NotImplementedError

    def __add__(self, other: Any) -> Any:
        return binary("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return binary("add", other, self)

    def __sub__(self, other: Any) -> Any:
        return binary("sub", self, other)

    def __rsub__(self, other: Any) -> Any:
        return binary("sub", other, self)

    def __mul__(self, other: Any) -> Any:
        return binary("mul", self, other)

    def __rmul__(self, other: Any) -> Any:
        return binary("mul", other, self)

    def __truediv__(self, other: Any) -> Any:
        return binary("/", self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return binary("/", other, self)

    def __floordiv__(self, other: Any) -> Any:
        return binary("//", self, other)

    def __rfloordiv__(self, other: Any) -> Any:
        return binary("//", other, self)

    def __mod__(self, other: Any) -> Any:
        return binary("%", self, other)

    def __rmod__(self, other: Any) -> Any:
        return binary("%", other, self)

    def __and__(self, other: Any) -> Any:
        return binary("and", self, other)

    def __rand__(self, other: Any) -> Any:
        return binary("and", other, self)

    def __or__(self, other: Any) -> Any:
        return binary("or", self, other)

    def __ror__(self, other: Any) -> Any:
        return binary("or", other, self)

    def __xor__(self, other: Any) -> Any:
        return binary("xor", self, other)

    def __rxor__(self, other: Any) -> Any:
        return binary("xor", other, self)

    def __lshift__(self, other: Any) -> Any:
        return binary("<<", self, other)

    def __rlshift__(self, other: Any) -> Any:
        return binary("<<", other, self)

    def __rshift__(self, other: Any) -> Any:
        return binary(">>", self, other)

    def __rrshift__(self, other: Any) -> Any:
        return binary(">>", other, self)

    def __lt__(self, other: Any) -> Any:
        return binary("lt", self, other)

    def __le__(self, other: Any) -> Any:
        return binary("le", self, other)

    def __gt__(self, other: Any) -> Any:
        return binary("gt", self, other)

    def __ge__(self, other: Any) -> Any:
        return binary("ge", self, other)

    def __eq__(self, other: Any) -> Any:
        return binary("eq", self, other)

    def __ne__(self, other: Any) -> Any:
        return binary("ne", self, other)

    def __neg__(self) -> Any:
        element = self.element()
        if element.type.kind == "float":
            check_arithmetic(element, "-")
            return Element("negf", element.type, (element,))
        return binary("sub", 0, self)

    def __pos__(self) -> Any:
        return self

    def __invert__(self) -> Any:
        element = self.element()
        if element.type.kind == "float":
            raise BuildError(f"expected integers or bools for ~ but got {element.type}")
        return binary("xor", element, True if element.type is BOOL else -1)

    def astype(self, dtype: Any) -> Element:
        """The element converted to another type.

        Parameters
        ----------
        dtype : str or dtype
            ``"bool"``, ``"int8"``, ``"int16"``, ``"int32"``, ``"int64"``, ``"index"``,
            ``"float32"`` or ``"bfloat16"``. To a narrower integer: the low bits. From a
            bool: 1 or 0; to it: whether it is not 0. From a float to an integer: towards
            0, saturating, NaN gives 0. To a narrower float: to nearest even.
        """
        return convert(self.element(), to_type(dtype))

    # ------------------------------------------------------------------------
    # What Python would ask now, and the device answers later
    # ------------------------------------------------------------------------

    def __bool__(self) -> NoReturn:
        raise BuildError(
            "expected no Python condition (if, while, and, or, not, a < b < c) on a traced"
            " value, which only a launch knows; write nb.where(condition, a, b), and"
            " & | ~ between conditions, each in parentheses"
        )

    def __iter__(self) -> Iterator[Any]:
        raise BuildError(
            "expected no iteration over a traced value, which only a launch knows; write"
            " a map over the indices, s.map((n,), lambda i: ...)"
        )

    def __index__(self) -> int:
        raise BuildError(
            "expected no use of a traced value as a Python integer (range, a list's"
            " index, int), as only a launch knows it; write a map over the indices,"
            " s.map((n,), lambda i: ...), and .astype(dtype) for a conversion"
        )

    __int__ = __index__

    def __float__(self) -> float:
        raise BuildError(
            "expected no use of a traced value as a Python float, as only a launch knows"
            " it; write .astype('float32')"
        )


class Space:
    """The index space of one map."""

    __slots__ = ("place",)

    def __init__(self, place: Place) -> None:
        self.place = place


class Element(Operand):
    """An element, from its indices.

    Operators are NumPy's: ``+ - *``, ``//`` and ``%`` (rounding down), ``/`` on float32,
    ``& | ^ ~ << >>``, comparisons. See ``nsa.build`` for their types and for what has no
    answer elsewhere.

    Attributes
    ----------
    type : Type
        Its ``name`` is that of the dtype.
    """

    __slots__ = ("data", "op", "operands", "place", "space", "type")

    def __init__(
        self,
        op: str,
        type: Type,
        operands: tuple[Element, ...] = (),
        data: Any = None,
        space: Space | None = None,
        place: Place | None = None,
    ) -> None:
        self.op, self.type, self.operands, self.data = op, type, operands, data
        self.place = place or here()
        self.space = space
        for operand in operands:
            if operand.space is None or operand.space is self.space:
                continue
            if self.space is not None:
                raise BuildError(
                    "expected indices of one map but got those of the map at"
                    f" {self.space.place} and of that at {operand.space.place}; make an"
                    " array of the one by s.map, and read it in the other",
                    self.place,
                )
            self.space = operand.space

    def element(self) -> Element:
        return self

    @property
    def dtype(self) -> str:
        return self.type.name

    def otherwise(self, fill: Any) -> Element:
        """The element that was read, or `fill` where its indices are outside.

        Parameters
        ----------
        fill : number or Element
            Of the array's type; a Python number adapts, a narrower integer is widened.
        """
        if self.op != "read":
            raise BuildError(
                "expected .otherwise(fill) right after a read, as in a[i].otherwise(0)"
            )
        rank = len(self.data.shape)
        if len(self.operands) > rank:
            raise BuildError("expected one .otherwise(fill) at a read but got two")
        operand = fit(fill, self.type, "a fill")
        return Element(
            "read", self.type, (*self.operands, operand), self.data, place=self.place
        )

    def __repr__(self) -> str:
        return f"<{self.type} element of {self.place}>"


def constant(value: Number, dtype: Any) -> Element:
    """A number of a stated type.

    Parameters
    ----------
    value : int, float or bool
    dtype : str or dtype
        As in ``astype``. A number that the type does not hold is refused.
    """
    return make_constant(value, to_type(dtype))


def make_constant(value: Number, type: Type, place: Place | None = None) -> Element:
    place = place or here()
    check_fits(value, type, place)
    if type.kind == "float":
        value = float(value)
    return Element("constant", type, (), value, place=place)


def default_type(value: Number) -> Type:
    """The type of a Python number that meets no element."""
    if isinstance(value, bool):
        return BOOL
    return INT32 if isinstance(value, int) else FLOAT32


def lift(value: Any, what: str = "an operand", place: Place | None = None) -> Element | Number:
    """An element, or a Python number whose type the other operand gives."""
    if isinstance(value, Operand):
        return value.element()
    literal = to_literal(value)
    if literal is None:
        hint = ""
        if isinstance(value, (tuple, list)):
            hint = "; a map makes one array"
        elif value is None:
            hint = "; does the formula return something?"
        raise BuildError(
            f"expected {what} that is an element, a size or a number but got"
            f" {type(value).__name__}{hint}",
            place,
        )
    number, known = literal
    return number if known is None or known is BOOL else make_constant(number, known)


def meet(values: list[Element | Number], place: Place) -> list[Element]:
    """All of them in one type: that of the elements, to which numbers adapt."""
    common: Type | None = None
    for value in values:
        if isinstance(value, Element):
            common = value.type if common is None else promote(common, value.type, place)
    for value in values:
        if not isinstance(value, Element):
            own = default_type(value)
            if common is None or (common is BOOL and own.kind == "int"):
                common = own
            elif common.kind == "int" and own is FLOAT32:
                check_fits(value, common, place)
    assert common is not None
    return [to_element(value, common, place) for value in values]


def to_element(value: Element | Number, type: Type, place: Place) -> Element:
    if isinstance(value, Element):
        return convert(value, type)
    return make_constant(value, type, place)


def fit(value: Any, type: Type, what: str) -> Element:
    """As an element of the type, where nothing is lost by that."""
    lifted = lift(value, what)
    place = here()
    if isinstance(lifted, Element) and lifted.type != type:
        is_wider = (
            lifted.type.kind != "float" != type.kind
            and type is not BOOL
            and lifted.type.bits <= type.bits
        )
        if not is_wider:
            raise BuildError(
                f"expected {what} of type {type} but got {lifted.type}; write"
                f" .astype({type.name!r})",
                place,
            )
    return to_element(lifted, type, place)


def convert(element: Element, type: Type) -> Element:
    """`element` as `type`, as ``astype`` says."""
    source = element.type
    if source == type:
        return element
    if element.op == "constant" and source.kind == type.kind == "int":
        # Written in its type at once, where that holds it.
        if -(1 << type.bits - 1) <= element.data < 1 << type.bits - 1:
            return make_constant(element.data, type, element.place)

    def cast(op: str, value: Element = element, to: Type = type) -> Element:
        return Element(op, to, (value,), place=element.place)

    if type is BOOL:
        return compare("ne", element, make_constant(0, source, element.place))
    if source.kind == "float":
        if type.kind == "float":
            return cast("extf" if type.bits > source.bits else "truncf")
        wide = convert(element, FLOAT32)
        if type is INDEX:
            return convert(cast("fptosi", wide, INT64), INDEX)
        return cast("fptosi", wide)
    if type.kind == "float":
        if type is BFLOAT16:
            return convert(convert(element, FLOAT32), BFLOAT16)
        if source is INDEX:
            return convert(convert(element, INT64), type)
        return cast("uitofp" if source is BOOL else "sitofp")
    if INDEX in (source, type):
        return cast("index_castui" if source is BOOL else "index_cast")
    if source is BOOL:
        return cast("extui")
    return cast("extsi" if type.bits > source.bits else "trunci")


_INTEGER = {"add": "addi", "sub": "subi", "mul": "muli"}
_FLOAT = {"add": "addf", "sub": "subf", "mul": "mulf", "/": "divf"}
_BITS = {"and": "andi", "or": "ori", "xor": "xori"}
_SHIFT = {"<<": "shli", ">>": "shrsi"}
_COMMUTATIVE = ("add", "mul", "and", "or", "xor")
_COMPARE = ("lt", "le", "gt", "ge", "eq", "ne")
_SIGNS = {"add": "+", "sub": "-", "mul": "*", "and": "&", "or": "|", "xor": "^"}


def check_arithmetic(element: Element, sign: str) -> None:
    if element.type is BOOL:
        raise BuildError(
            f"expected numbers for {sign} but got bools; write & | ^ ~, or .astype('int32')"
        )
    if element.type is BFLOAT16:
        raise BuildError(
            f"expected no arithmetic ({sign}) on bfloat16; write .astype('float32')"
        )


def binary(op: str, a: Any, b: Any) -> Element:
    """The operator on two operands, brought to one type."""
    place = here()
    x, y = meet([lift(a), lift(b)], place)
    kind = x.type.kind
    if op in _COMPARE:
        return compare(op, x, y)
    sign = _SIGNS.get(op, op)
    if x.op == "constant" and op in _COMMUTATIVE:
        x, y = y, x  # one form of what is the same
    if op in _BITS:
        if kind == "float":
            raise BuildError(f"expected integers or bools for {sign} but got {x.type}", place)
        return Element(_BITS[op], x.type, (x, y), place=place)
    check_arithmetic(x, sign)
    if kind == "float":
        if op not in _FLOAT:
            raise BuildError(
                f"expected integers for {sign} but got {x.type}; write .astype(dtype)", place
            )
        return Element(_FLOAT[op], x.type, (x, y), place=place)
    if op == "/":
        raise BuildError(
            f"expected float32 for / but got {x.type}; write // to round down, or"
            " .astype('float32')",
            place,
        )
    if op in ("//", "%"):
        return (divide if op == "//" else remainder)(x, y, place)
    return Element({**_INTEGER, **_SHIFT}[op], x.type, (x, y), place=place)


def check_divisor(y: Element, place: Place) -> None:
    if y.op == "constant" and y.data == 0:
        raise BuildError("expected a divisor that is not always 0", place)


def divide(x: Element, y: Element, place: Place) -> Element:
    check_divisor(y, place)
    return Element("floordivsi", x.type, (x, y), place=place)


def remainder(x: Element, y: Element, place: Place) -> Element:
    """What division leaves: of the divisor's sign; 0 of a division by 0, as in NumPy."""
    check_divisor(y, place)
    if y.op == "constant" and y.data > 0 and y.data & y.data - 1 == 0:
        return Element("andi", x.type, (x, make_constant(y.data - 1, y.type)), place=place)
    # Shares the division of x // y.
    whole = Element("muli", x.type, (divide(x, y, place), y), place=place)
    rest = Element("subi", x.type, (x, whole), place=place)
    if y.op == "constant":
        return rest
    zero = make_constant(0, x.type, place)
    return select(compare("eq", y, zero), zero, rest, place)


def compare(op: str, x: Element, y: Element) -> Element:
    if x.type.kind == "float":
        if x.type is BFLOAT16:
            x, y = convert(x, FLOAT32), convert(y, FLOAT32)
        # With a NaN only != holds.
        return Element("cmpf", BOOL, (x, y), "une" if op == "ne" else f"o{op}")
    if op in ("eq", "ne"):
        return Element("cmpi", BOOL, (x, y), op)
    if x.type is BOOL:
        raise BuildError("expected numbers to compare but got bools; write & | ^ ~")
    return Element("cmpi", BOOL, (x, y), f"s{op}")


def select(condition: Element, x: Element, y: Element, place: Place) -> Element:
    return Element("select", x.type, (condition, x, y), place=place)


def where(condition: Any, x: Any, y: Any) -> Element:
    """`x` where `condition` holds, else `y`.

    Parameters
    ----------
    condition : Element
        A bool.
    x, y : Element, size or number
        Brought to one type, as by an operator.
    """
    place = here()
    lifted = lift(condition, "a condition")
    if not isinstance(lifted, Element) or lifted.type is not BOOL:
        got = lifted.type if isinstance(lifted, Element) else repr(condition)
        raise BuildError(
            f"expected a condition of type bool but got {got}; write a != 0", place
        )
    first, second = meet([lift(x), lift(y)], place)
    return select(lifted, first, second, place)


def _extreme(name: str, a: Any, b: Any) -> Element:
    place = here()
    x, y = meet([lift(a), lift(b)], place)
    check_arithmetic(x, f"nb.{name}imum")
    suffix = "imumf" if x.type.kind == "float" else "si"
    return Element(name + suffix, x.type, (x, y), place=place)


def minimum(a: Any, b: Any) -> Element:
    """The smaller one of two elements; NaN if one of them is."""
    return _extreme("min", a, b)


def maximum(a: Any, b: Any) -> Element:
    """The larger one of two elements; NaN if one of them is."""
    return _extreme("max", a, b)


def ceildiv(a: Any, b: Any) -> Any:
    """`a` divided by `b`, rounded up; 0 of a division by 0.

    A size, divided by a Python integer, stays a size.
    """
    divided: Callable[[Any], Any] | None = getattr(a, "_ceildiv", None)
    if divided is not None and type(b) is int:
        return divided(b)
    place = here()
    x, y = meet([lift(a), lift(b)], place)
    check_arithmetic(x, "nb.ceildiv")
    check_divisor(y, place)
    if x.type.kind == "float":
        raise BuildError(f"expected integers for nb.ceildiv but got {x.type}", place)
    return Element("ceildivsi", x.type, (x, y), place=place)
