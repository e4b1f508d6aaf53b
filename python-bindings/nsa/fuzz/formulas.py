# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Formulas as data: the bodies of `nsa.map` and `nsa.iterate`, drawn at random, and what they compute.

Each operation is written from the table in docs/Dialect.md, on NumPy arrays of its type,
whose sums and products wrap.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from .operations import KNOWN, Array, Form, dims, tensor

__all__ = [
    "FORMULAS", "ITERATE", "MAP", "Node", "draw_counts", "draw_map", "draw_places",
    "draw_recurrence", "draw_space",
]  # fmt: skip

#: i1 is bool, bf16 its bits.
TYPES = {
    "i1": np.bool_, "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
    "index": np.int64, "f32": np.float32, "bf16": np.uint16,
}  # fmt: skip
WIDTHS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "index": 64}
INTEGERS = ("i8", "i16", "i32", "i64", "index")


@dataclass(frozen=True)
class Node:
    """An operation of a body, as a tree; `data` is what is not an operand."""

    op: str
    type: str
    operands: tuple[Node, ...] = ()
    data: Any = None

    def walk(self) -> Iterator[Node]:
        yield self
        for operand in self.operands:
            yield from operand.walk()


# ----------------------------------------------------------------------------
# Values
# ----------------------------------------------------------------------------


def unsigned(a: np.ndarray) -> np.ndarray:
    return a if a.dtype == np.bool_ else a.view(f"u{a.dtype.itemsize}")


def signed(a: np.ndarray) -> np.ndarray:
    """An i1 is 0 or -1."""
    return -a.astype(np.int8) if a.dtype == np.bool_ else a


def divide(make: Callable[..., np.ndarray], is_signed: bool) -> Callable[..., np.ndarray]:
    """By 0: 0. The smallest number by -1: as by 1."""

    def value(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        x, y = (a, b) if is_signed else (unsigned(a), unsigned(b))
        zero = y == 0
        by_one = zero | ((x == np.iinfo(a.dtype).min) & (y == -1)) if is_signed else zero
        with np.errstate(all="ignore"):
            result = make(x, np.where(by_one, y.dtype.type(1), y))
        return np.where(zero, 0, result).astype(x.dtype).view(a.dtype)

    return value


def truncate(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    quotient = x // y
    return quotient + ((quotient * y != x) & ((x < 0) != (y < 0)))


def ceil(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    quotient = x // y
    return quotient + (quotient * y != x)


def shift(name: str) -> Callable[..., np.ndarray]:
    def value(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        width = a.dtype.itemsize * 8
        amount = unsigned(b)
        inside = amount < width
        amount = np.where(inside, amount, 0).astype(amount.dtype)
        if name == "shrsi":
            return np.where(inside, a >> amount.view(a.dtype), np.where(a < 0, -1, 0)).astype(a.dtype)
        bits = unsigned(a) << amount if name == "shli" else unsigned(a) >> amount
        return np.where(inside, bits, 0).astype(bits.dtype).view(a.dtype)

    return value


def quiet(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def value(*operands: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return make(*operands)

    return value


BINARY: dict[str, Callable[..., np.ndarray]] = {
    "addi": quiet(np.add), "subi": quiet(np.subtract), "muli": quiet(np.multiply),
    "andi": np.bitwise_and, "ori": np.bitwise_or, "xori": np.bitwise_xor,
    "minsi": np.minimum, "maxsi": np.maximum,
    "minui": lambda a, b: np.minimum(unsigned(a), unsigned(b)).view(a.dtype),
    "maxui": lambda a, b: np.maximum(unsigned(a), unsigned(b)).view(a.dtype),
    "divsi": divide(truncate, True), "divui": divide(np.floor_divide, False),
    "floordivsi": divide(np.floor_divide, True),
    "ceildivsi": divide(ceil, True), "ceildivui": divide(ceil, False),
    "remsi": divide(lambda x, y: x - truncate(x, y) * y, True),
    "remui": divide(np.remainder, False),
    "shli": shift("shli"), "shrsi": shift("shrsi"), "shrui": shift("shrui"),
}  # fmt: skip
FLOAT: dict[str, Callable[..., np.ndarray]] = {
    "addf": quiet(np.add), "subf": quiet(np.subtract), "mulf": quiet(np.multiply),
    "divf": quiet(np.divide),
}  # fmt: skip
SIGNED = {
    "eq": np.equal, "ne": np.not_equal, "slt": np.less, "sle": np.less_equal,
    "sgt": np.greater, "sge": np.greater_equal,
}  # fmt: skip
UNSIGNED = {
    "ult": np.less, "ule": np.less_equal, "ugt": np.greater, "uge": np.greater_equal
}  # fmt: skip
#: Ordered, all but `une`.
FLOATS = {
    "oeq": np.equal, "olt": np.less, "ole": np.less_equal, "ogt": np.greater,
    "oge": np.greater_equal, "une": np.not_equal,
}  # fmt: skip


def to_integer(a: np.ndarray, type: str, is_signed: bool) -> np.ndarray:
    width = WIDTHS[type]
    low, high = (-(2 ** (width - 1)), 2 ** (width - 1) - 1) if is_signed else (0, 2**width - 1)
    made = []
    for number in a.ravel().tolist():
        if math.isnan(number):
            made.append(0)
        else:
            made.append(int(min(max(number, low), high)) if math.isinf(number) else min(max(int(number), low), high))
    return cast(np.array(made, object).reshape(a.shape), type)


def cast(numbers: np.ndarray, type: str) -> np.ndarray:
    """The low bits of integers of any size."""
    width = WIDTHS[type]
    if type == "i1":
        return (numbers & 1).astype(np.bool_)
    bits = (numbers & (2**width - 1)).astype(np.uint64).astype(f"u{width // 8}")
    return bits.view(TYPES[type])


def to_float(numbers: np.ndarray) -> np.ndarray:
    """Rounded once, which NumPy does from 64 bits; larger ones go by their bits."""
    return numbers.astype(np.float32)


def from_bf16(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bf16(number: np.ndarray) -> np.ndarray:
    bits = number.view(np.uint32)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(number), np.uint16(0x7FC0), rounded)


class Evaluator:
    """Values of nodes at all points at once."""

    def __init__(self, shape: tuple[int, ...], sources: dict[str, Any]):
        self.indices = [
            np.broadcast_to(index, shape) for index in np.indices(shape, np.int64, sparse=True)
        ]
        self.shape = shape
        self.sources = sources
        self.state = np.zeros(shape, np.uint8)
        #: Of a recurrence: the element before.
        self.element: Any = None

    def get(self, node: Node) -> np.ndarray:
        operands = [self.get(operand) for operand in node.operands]
        make = getattr(self, f"get_{node.op}", None)
        if make:
            return make(node, *operands)
        if node.type == "i1" and node.op == "addi":
            return np.not_equal(*operands)  # NumPy's sum of bools does not wrap
        return {**BINARY, **FLOAT}[node.op](*operands)

    def get_index(self, node: Node) -> np.ndarray:
        return self.indices[node.data]

    def get_element(self, node: Node) -> np.ndarray:
        return np.broadcast_to(self.element, self.shape)

    def get_constant(self, node: Node) -> np.ndarray:
        return np.broadcast_to(TYPES[node.type](node.data), self.shape)

    def get_size(self, node: Node) -> np.ndarray:
        return np.broadcast_to(np.int64(self.sources[node.data]), self.shape)

    def get_read(self, node: Node, *operands: np.ndarray) -> np.ndarray:
        source = self.sources[node.data]
        *indices, fill = operands
        inside = np.ones(self.shape, np.bool_)
        for index, size in zip(indices, source.data.shape):
            inside = inside & (index >= 0) & (index < size)
        result = np.array(fill)
        places = tuple(index[inside] for index in indices)
        result[inside] = source.data[places]
        state = np.zeros(self.shape, np.uint8)
        state[inside] = source.state[places]
        self.state = np.maximum(self.state, state != KNOWN)
        return result

    def get_search(self, node: Node, position: np.ndarray) -> np.ndarray:
        source = self.sources[node.data]
        if (source.state != KNOWN).any():
            self.state = np.maximum(self.state, 1)
        return np.searchsorted(source.data.astype(np.int64), position, "right").astype(np.int64)

    def get_cmpi(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        if node.data in SIGNED:
            return SIGNED[node.data](signed(a), signed(b))
        return UNSIGNED[node.data](unsigned(a), unsigned(b))

    def get_cmpf(self, node: Node, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return FLOATS[node.data](a, b)

    def get_select(self, node: Node, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.where(c, a, b)

    def get_cast(self, node: Node, a: np.ndarray) -> np.ndarray:
        a = unsigned(a) if node.data in ("extui", "index_castui") else signed(a)
        return cast(a.astype(object), node.type)

    def get_to_float(self, node: Node, a: np.ndarray) -> np.ndarray:
        return to_float(unsigned(a) if node.data == "uitofp" else a)

    def get_to_integer(self, node: Node, a: np.ndarray) -> np.ndarray:
        return to_integer(a, node.type, node.data == "fptosi")

    def get_extf(self, node: Node, a: np.ndarray) -> np.ndarray:
        return from_bf16(a)

    def get_truncf(self, node: Node, a: np.ndarray) -> np.ndarray:
        return to_bf16(a)


# ----------------------------------------------------------------------------
# Text
# ----------------------------------------------------------------------------


class Writer:
    def __init__(self, names: dict[str, Any]):
        self.names, self.lines = names, []

    def line(self, text: str) -> str:
        name = f"%x{len(self.lines)}"
        self.lines.append(f"{name} = {text}")
        return name

    def write(self, node: Node) -> str:
        words = [self.write(operand) for operand in node.operands]
        if node.op == "index":
            return ("%r", "%c")[node.data]
        if node.op == "element":
            return "%x"
        if node.op == "size":
            return f"{self.names[node.data]}"
        if node.op == "constant":
            text = f"{node.data:.8e}" if node.type == "f32" else str(int(node.data))
            if node.type == "i1":
                return self.line(f"arith.constant {'true' if node.data else 'false'}")
            return self.line(f"arith.constant {text} : {node.type}")
        if node.op in ("read", "search"):
            source = self.names[node.data]
            if node.op == "search":
                return self.line(f"nsa.search {source} for {words[0]} : {source.type}")
            *indices, fill = words
            text = f"nsa.read {source}[{', '.join(indices)}] else {fill}"
            return self.line(f"{text} : {source.type}")
        first = node.operands[0].type
        if node.op in ("cmpi", "cmpf"):
            return self.line(f"arith.{node.op} {node.data}, {words[0]}, {words[1]} : {first}")
        if node.op == "select":
            return self.line(f"arith.select {', '.join(words)} : {node.type}")
        if node.op in ("cast", "to_float", "to_integer", "extf", "truncf"):
            name = node.data or node.op
            return self.line(f"arith.{name} {words[0]} : {first} to {node.type}")
        return self.line(f"arith.{node.op} {words[0]}, {words[1]} : {node.type}")


class MapForm(Form):
    """Its parameters are `formula`, a `Node`, and `sizes`: constants, and slots of sizes."""

    def write(self, words: dict[str, Any], parameters: dict[str, Any], result: str) -> str:
        writer = Writer(words)
        last = writer.write(parameters["formula"])
        sizes = ", ".join(str(words.get(size, size)) for size in parameters["sizes"])
        indices = ", ".join(("%r", "%c")[: len(parameters["sizes"])])
        body = "\n".join(f"    {line}" for line in writer.lines)
        end = f"    nsa.yield {last} : {parameters['formula'].type}"
        return f"nsa.map({indices}) in ({sizes}) : {result} {{\n{body}\n{end}\n  }}"

    def infer(self, types: dict[str, str], parameters: dict[str, Any]) -> str:
        sizes = [size if isinstance(size, int) else "?" for size in parameters["sizes"]]
        return tensor(sizes, parameters["formula"].type)

    def evaluate(self, operands: dict[str, Any], parameters: dict[str, Any]) -> Any:
        sizes = [operands.get(size, size) for size in parameters["sizes"]]
        evaluator = Evaluator(tuple(max(size, 0) for size in sizes), operands)
        data = np.array(evaluator.get(parameters["formula"]))
        return Array(data, evaluator.state, max(-sizes[-1], 0))


class IterateForm(Form):
    """Its parameters are `formula`, `size`, a constant or a slot, and `first`."""

    def write(self, words: dict[str, Any], parameters: dict[str, Any], result: str) -> str:
        writer = Writer(words)
        last = writer.write(parameters["formula"])
        size = words.get(parameters["size"], parameters["size"])
        head = f"nsa.iterate(%r, %x) in ({size}) from {parameters['first']} : {result}"
        body = "\n".join(f"    {line}" for line in writer.lines)
        return f"{head} {{\n{body}\n    nsa.yield {last} : {parameters['formula'].type}\n  }}"

    def infer(self, types: dict[str, str], parameters: dict[str, Any]) -> str:
        size = parameters["size"]
        return tensor([size + 1 if isinstance(size, int) else "?"], parameters["formula"].type)

    def evaluate(self, operands: dict[str, Any], parameters: dict[str, Any]) -> Any:
        steps = operands.get(parameters["size"], parameters["size"])
        formula = parameters["formula"]
        elements, states = [TYPES[formula.type](parameters["first"])], [np.uint8(KNOWN)]
        for step in range(steps):
            evaluator = Evaluator((1,), operands)
            evaluator.indices = [np.array([step], np.int64)]
            evaluator.element = elements[-1]
            elements.append(evaluator.get(formula)[0])
            states.append(np.maximum(evaluator.state[0], states[-1]))
        return Array(np.array(elements, TYPES[formula.type]), np.array(states, np.uint8))


MAP = MapForm("map", "nsa.map", {}, None, None)  # type: ignore[arg-type]
ITERATE = IterateForm("iterate", "nsa.iterate", {}, None, None)  # type: ignore[arg-type]
FORMULAS: dict[str, Form] = {form.name: form for form in (MAP, ITERATE)}


# ----------------------------------------------------------------------------
# Drawing
# ----------------------------------------------------------------------------


class Drawer:
    def __init__(
        self,
        rng: random.Random,
        rank: int,
        sources: dict[str, str],
        element: str = "",
        own: str = "",
    ):
        self.rng, self.rank = rng, rank
        #: Type of the `inout` port that the map is stored to, empty if it is another one.
        self.own = own
        #: Type of a recurrence's element, empty in a map.
        self.element = element
        #: Type of each slot.
        self.sources = sources

    def constant(self, type: str) -> Node:
        if type == "i1":
            return Node("constant", type, data=self.rng.random() < 0.5)
        if type == "f32":
            numbers = (0.0, 1.0, -1.0, 0.5, 3.0e38, -7.25, 1e-40, 2147483648.0, 1e10)
            return Node("constant", type, data=float(np.float32(self.rng.choice(numbers))))
        width = WIDTHS[type]
        extreme = (-(2 ** (width - 1)), 2 ** (width - 1) - 1, -1, 0, 1, width - 1, width)
        number = self.rng.choice((*extreme, self.rng.randrange(-9, 100)))
        return Node("constant", type, data=number)

    def leaf(self, type: str, depth: int) -> Node:
        if type == self.element and self.rng.random() < 0.5:
            return Node("element", type)
        if type == self.own and self.rng.random() < 0.4:
            return self.before()
        able = [s for s, t in self.sources.items() if t != "index" and dims(t)[1] == type]
        if type == "index" and self.rng.random() < 0.7:
            sizes = [s for s, t in self.sources.items() if t == "index"]
            if sizes and self.rng.random() < 0.2:
                return Node("size", type, data=self.rng.choice(sizes))
            return Node("index", type, data=self.rng.randrange(self.rank))
        if able and self.rng.random() < 0.8:
            return self.read(self.rng.choice(able), depth)
        if type == "bf16":
            return Node("truncf", type, (self.draw("f32", depth - 1),))
        return self.constant(type)

    def fill(self, type: str) -> Node:
        if type == "bf16":
            return Node("truncf", type, (self.constant("f32"),))
        return self.constant(type)

    def before(self) -> Node:
        """The element that the map's own one takes the place of."""
        indices = (Node("index", "index", data=n) for n in range(self.rank))
        return Node("read", self.own, (*indices, self.fill(self.own)), OWN)

    def read(self, source: str, depth: int) -> Node:
        sizes, type = dims(self.sources[source])
        indices = [
            Node("index", "index", data=min(n, self.rank - 1))
            if self.rng.random() < 0.5 else self.draw("index", depth - 2)
            for n in range(len(sizes))
        ]  # fmt: skip
        return Node("read", type, (*indices, self.fill(type)), source)

    def draw(self, type: str, depth: int) -> Node:
        rng = self.rng
        if depth <= 0 or type == "bf16":
            return self.leaf(type, max(depth, 0))
        kind = rng.random()
        if kind < 0.12:
            return Node(
                "select", type,
                (self.draw("i1", depth - 1), self.draw(type, depth - 1), self.draw(type, depth - 1)),
            )  # fmt: skip
        if kind < 0.25:
            return self.leaf(type, depth)
        if type == "i1":
            if kind < 0.5:
                names = ("andi", "ori", "xori", "addi", "muli")
                return self.binary(rng.choice(names), type, depth)
            if kind < 0.6:
                pair = (self.draw("f32", depth - 1), self.draw("f32", depth - 1))
                return Node("cmpf", type, pair, rng.choice(list(FLOATS)))
            other = rng.choice(INTEGERS)
            pair = (self.draw(other, depth - 1), self.draw(other, depth - 1))
            return Node("cmpi", type, pair, rng.choice([*SIGNED, *UNSIGNED]))
        if type == "f32":
            if kind < 0.4:
                other = rng.choice(INTEGERS[:-1])
                return Node(
                    "to_float", type, (self.draw(other, depth - 1),), rng.choice(("sitofp", "uitofp"))
                )
            if kind < 0.5:
                return Node("extf", type, (self.leaf("bf16", depth),))
            return self.binary(rng.choice(list(FLOAT)), type, depth)
        if kind < 0.45:
            return self.convert(type, depth)
        return self.binary(rng.choice(list(BINARY)), type, depth)

    def convert(self, type: str, depth: int) -> Node:
        rng = self.rng
        if type == "index":
            searched = [
                s for s, t in self.sources.items()
                if t in (tensor("?"), tensor("?", "i64")) and s.startswith("sums")
            ]  # fmt: skip
            if searched and rng.random() < 0.4:
                return Node("search", type, (self.draw("index", depth - 1),), rng.choice(searched))
            other = rng.choice(INTEGERS[:-1])
            return Node("cast", type, (self.draw(other, depth - 1),), rng.choice(("index_cast", "index_castui")))
        if rng.random() < 0.2:
            return Node("to_integer", type, (self.draw("f32", depth - 1),), rng.choice(("fptosi", "fptoui")))
        other = rng.choice([t for t in ("i1", *INTEGERS) if t != type])
        if other == "index":
            name = rng.choice(("index_cast", "index_castui"))
        elif WIDTHS[other] < WIDTHS[type]:
            name = rng.choice(("extsi", "extui"))
        else:
            name = "trunci"
        return Node("cast", type, (self.draw(other, depth - 1),), name)

    def binary(self, name: str, type: str, depth: int) -> Node:
        return Node(name, type, (self.draw(type, depth - 1), self.draw(type, depth - 1)))


def draw_sources(program: Any, rng: random.Random) -> tuple[dict[str, str], dict[str, str]]:
    """Slots for what `program` has: the value of each, and its type."""
    types = program.types
    # What is stored in place of what it is computed from has no other use.
    hidden = {op.name for op in program.body if any(slot == OWN for slot, _ in op.operands)}
    able = [
        n for n, t in types.items()
        if t == "index" or (t.startswith("tensor") and n != "starts" and n not in hidden)
    ]  # fmt: skip
    operands, sources = {}, {}
    for n, name in enumerate(rng.sample(able, min(len(able), 4))):
        # What is searched has to ascend.
        prefix = "sums" if name.startswith("ascending") else "s"
        operands[f"{prefix}{n}"] = name
        sources[f"{prefix}{n}"] = types[name]
    return operands, sources


def draw_recurrence(
    program: Any, rng: random.Random
) -> tuple[dict[str, str], dict[str, Any]]:
    """Operands and parameters of a recurrence over what `program` has."""
    operands, sources = draw_sources(program, rng)
    size: Any = rng.choice((0, 1, 7, 33))
    if rng.random() < 0.7:
        size = "n0"
        operands[size] = program.need("bs")
        sources[size] = "index"
    type = rng.choice(("i32", "i64"))
    formula = Drawer(rng, 1, sources, type).draw(type, rng.randint(2, 5))
    used = {node.data for node in formula.walk() if node.op in ("read", "search", "size")}
    operands = {s: n for s, n in operands.items() if s in used or s == size}
    first = rng.choice((0, 1, -7, 2**31 - 1, -(2**31)))
    return operands, {"formula": formula, "size": size, "first": first}


#: The sizes of a map, and the values of those that are slots.
Space = tuple[tuple[Any, ...], dict[str, str]]
#: The slot of an `inout` port.
OWN = "own"


def draw_space(program: Any, rng: random.Random) -> Space:
    sizes: list[Any] = []
    slots = {}
    for n in range(rng.choice((1, 1, 2))):
        if rng.random() < 0.3:
            sizes.append(rng.choice((0, 1, 4, 7, 64, 129)))
            continue
        slot = f"n{n}"
        slots[slot] = program.need("bs" if n == 0 and rng.random() < 0.7 else "columns")
        sizes.append(slot)
    return tuple(sizes), slots


def finish_map(
    formula: Node, operands: dict[str, str], space: Space
) -> tuple[dict[str, str], dict[str, Any]]:
    used = {node.data for node in formula.walk() if node.op in ("read", "search", "size")}
    taken = {s: n for s, n in operands.items() if s in used or s in space[0]}
    return taken, {"formula": formula, "sizes": space[0]}


def draw_map(
    program: Any,
    rng: random.Random,
    space: Space | None = None,
    types: tuple[str, ...] = ("i8", "i16", "i32", "i32", "i32", "i64", "f32", "bf16"),
    own: str = "",
) -> tuple[dict[str, str], dict[str, Any]]:
    """Operands and parameters of a map over what `program` has. `own`: the `inout` port that
    it is to be stored to, which it reads."""
    operands, sources = draw_sources(program, rng)
    space = space or draw_space(program, rng)
    operands |= space[1]
    sources |= dict.fromkeys(space[1], "index")
    type = rng.choice(types)
    drawer = Drawer(rng, len(space[0]), sources, own=type if own else "")
    formula = drawer.draw(type, rng.randint(1, 5))
    if own:
        operands[OWN] = own
        if all(node.data != OWN for node in formula.walk()):
            formula = Node("select", type, (drawer.draw("i1", 2), drawer.before(), formula))
    return finish_map(formula, operands, space)


def draw_places(
    program: Any, rng: random.Random, space: Space, size: int, distinct: bool
) -> tuple[dict[str, str], dict[str, Any]]:
    """The same of a map of places among `size`, most of them inside. `distinct`: no two are
    alike."""
    if not distinct and rng.random() < 0.3:
        return draw_map(program, rng, space, ("i32", "i64"))
    sizes = space[0]
    number = Node("index", "index", data=len(sizes) - 1)
    if len(sizes) == 2:
        factor = Node("constant", "index", data=rng.choice((1, 2, 7, 64)))
        if distinct:
            kind = "size" if sizes[1] in space[1] else "constant"
            factor = Node(kind, "index", data=sizes[1])
        row = Node("muli", "index", (Node("index", "index", data=0), factor))
        number = Node("addi", "index", (row, number))
    if not distinct and rng.random() < 0.5:
        number = Node("remui", "index", (number, Node("constant", "index", data=size)))
    first = Node("constant", "index", data=rng.choice((0, 0, -2, 3)))
    number = Node("addi", "index", (number, first))
    type = rng.choice(("i32", "i64"))
    place = Node("cast", type, (number,), "index_cast")
    return finish_map(place, space[1], space)


def draw_counts(program: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """The same of a map whose sums ascend."""
    source, size = program.need("more"), program.need("bs")
    read = Node(
        "read", "i32", (Node("index", "index", data=0), Node("constant", "i32", data=0)), "s0"
    )
    formula = Node("andi", "i32", (read, Node("constant", "i32", data=15)))
    return {"s0": source, "n0": size}, {"formula": formula, "sizes": ("n0",)}
