# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A kernel, executed once for all sizes, contents, blocks and threads.

An integer is a term of z3 over the sizes and over names for what is not known: an element
that was loaded is any number of its type. Conditions of branches are assumed inside of them.
A loop's body is executed for any iteration: what is assumed there of the values that it
carries is what of some candidates holds at first and is kept by the body.

An operation of w bits gives the mathematical result where that fits into them, and otherwise
any number of w bits: an access that is shown to be inside is, whether something wraps on the
way or not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import z3

from ._facts import Facts
from ._ir import Block, Operation, Value

__all__ = ["Access", "Kernel"]

MOST_SIZE = 2**31 - 1
MOST_BYTES = 2**62
MOST_INDEX = 2**63 - 1
#: Bytes of elements.
ITEMS = {"i8": 1, "i16": 2, "bf16": 2, "i32": 4, "f32": 4, "i64": 8, "f64": 8}
#: What takes an array and looks into none of it.
LOOKS = ("memref.dim", "memref.extract_strided_metadata", "memref.extract_aligned_pointer_as_index")
COMPARISONS: tuple[Callable[[Any, Any], Any], ...] = (
    lambda a, b: a == b, lambda a, b: a != b,
    lambda a, b: a < b, lambda a, b: a <= b, lambda a, b: a > b, lambda a, b: a >= b,
)  # fmt: skip


def width(type: str) -> int:
    """Bits of an integer; 0 of anything else."""
    if type == "index":
        return 64
    return int(type[1:]) if re.fullmatch(r"i\d+", type) else 0


def elements(type: str) -> int:
    """Of what a load or a store moves."""
    match = re.match(r"vector<(\d+)x", type)
    return int(match[1]) if match else 1


@dataclass(eq=False)
class Array:
    name: str
    sizes: list[Any]
    is_shared: bool = False
    #: What is asked of it again is the same number.
    numbers: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Access:
    """`missing` says what could not be shown; empty of an access that is inside. `is_dead`
    says that no launch gets there."""

    operation: str
    argument: str
    is_shared: bool
    line: int
    text: str
    missing: tuple[str, ...]
    is_dead: bool = False


class Kernel:
    """Executes a `gpu.func` with what a manifest says of its launches."""

    def __init__(self, function: Operation, manifest: dict[str, Any], kernel: dict[str, Any]):
        self.facts = Facts()
        self.env: dict[Value, Any] = {}
        #: Values that follow from sizes, the block and the thread alone: whether these fit is
        #: asked, of contents it is mostly unknown.
        self.plain: set[Value] = set()
        self.accesses: list[Access] = []
        #: Lines of index arithmetic that could not be shown to fit into 64 bits.
        self.wraps: set[int] = set()
        self.sizes: dict[str, Any] = {}
        self.arrays: dict[str, Array] = {}
        #: Whether optional arrays are there; and by the numbers of the words that say so, those
        #: of their bits.
        self.present: dict[str, Any] = {}
        self.words: dict[int, list[Any]] = {}
        #: Of each segment: blocks in a column, blocks in a row, and all.
        self.grids: list[tuple[Any, Any, Any]] = []
        self.is_trial = False
        (block,) = function.regions
        assert block is not None
        self._arguments(block, manifest, kernel)
        self._grid(kernel)
        self.execute(block)

    # -- What the launcher has checked

    def _arguments(self, block: Block, manifest: dict[str, Any], kernel: dict[str, Any]) -> None:
        names = list(
            dict.fromkeys(p["argument"] for p in kernel["parameters"] if "argument" in p)
        )
        words = [p["arguments"] for p in kernel["parameters"] if p["field"] == "presence"]
        described = {argument["name"]: argument for argument in manifest["arguments"]}
        for name, argument in zip(names, block.arguments):
            if described[name]["kind"] == "size":
                self.env[argument] = self._size(name)
            else:
                self.env[argument] = self._array(name, argument.type)
        self.plain.update(block.arguments)
        first = len(names) + len(words)
        # Any of the optional arrays may be there.
        for optional, argument in zip(words, block.arguments[len(names) : first]):
            word = self.facts.number("presence", -(2**63), 2**63 - 1)
            self.env[argument] = word
            self.words[word.get_id()] = [self.facts.boolean(name) for name in optional]
            self.present.update(zip(optional, self.words[word.get_id()]))
        for argument in block.arguments[first:]:
            shape, _ = _shape(argument.type)
            if "workgroup" not in argument.type or None in shape:
                raise ValueError(f"unknown argument of type {argument.type}")
            sizes = [z3.IntVal(size) for size in shape]
            self.env[argument] = Array("shared memory", sizes, is_shared=True)
        for name, argument in described.items():
            if argument["kind"] == "size":
                self._size(name)
            elif name not in self.arrays:
                shape = "x".join("?" if n is None else str(n) for n in argument["shape"])
                self._array(name, f"memref<{shape}xi8>")
        for need in manifest["requires"]:
            sizes = self.arrays[need["argument"]].sizes
            least = self._evaluate(need["at_least"])
            self.facts.assume(sizes[need["dim"]] >= least)
            if len(sizes) == 2 and self.facts.constant(least):
                other = sizes[1 - need["dim"]]
                self.facts.assume(self.facts.product(*sizes) >= least * other)

    def _size(self, name: str) -> Any:
        if name not in self.sizes:
            self.sizes[name] = self.facts.number(name, 0, MOST_SIZE)
        return self.sizes[name]

    def _array(self, name: str, type: str) -> Array:
        """It fits the address space: nsa_is_addressable in nsa-c/checks.h."""
        shape, element = _shape(type)
        sizes = [
            self.facts.number(f"{name}.{dim}", 0, MOST_INDEX) if size is None else z3.IntVal(size)
            for dim, size in enumerate(shape)
        ]
        most = MOST_BYTES // ITEMS[element]
        count = sizes[0] if sizes else z3.IntVal(1)
        for size in sizes[1:]:
            count = self.facts.product(count, size)
        some = z3.And([size > 0 for size in sizes])
        small = [size <= most for size in sizes]
        self.facts.assume(z3.Implies(some, z3.And(count <= most, *small)))
        self.arrays[name] = Array(name, sizes)
        return self.arrays[name]

    def _evaluate(self, size: Any) -> Any:
        """A size expression of the manifest."""
        if isinstance(size, int):
            return z3.IntVal(size)
        if isinstance(size, str):
            return self.sizes[size]
        operator, a, b = size
        if operator == "dim":
            return self.arrays[a].sizes[b]
        a = self._evaluate(a)
        if operator in ("floordiv", "ceildiv", "mod"):
            return self._divide(operator, a, b)
        b = self._evaluate(b)
        return {"add": lambda: a + b, "mul": lambda: self.facts.product(a, b)}[operator]()

    def _divide(self, operator: str, a: Any, b: int) -> Any:
        if operator == "ceildiv":
            return self.facts.ceil_divide(a, b)
        return self.facts.divide(a, z3.IntVal(b))[operator == "mod"]

    def _grid(self, kernel: dict[str, Any]) -> None:
        blocks = z3.IntVal(0)
        for segment in kernel["segments"]:
            counts = []
            for key, tile in zip(("rows", "columns"), segment["tile"]):
                count = self.facts.ceil_divide(self._evaluate(segment[key]), tile)
                counts.append(z3.simplify(count))
            # Where a size is not positive there are no blocks.
            product = self.facts.product(*counts)
            self.grids.append((counts[0], counts[1], product))
            some = z3.And(counts[0] > 0, counts[1] > 0)
            if "any_of" in segment:
                some = z3.And(some, z3.Or([self.present[name] for name in segment["any_of"]]))
            blocks = blocks + z3.If(some, product, 0)
            self.facts.assume(z3.Implies(some, product <= MOST_SIZE))
        self.facts.assume(blocks <= MOST_SIZE)
        self.thread = self.facts.number("thread", 0, kernel["threads"] - 1)
        self.block = self.facts.number("block", 0, MOST_SIZE)
        self.facts.assume(self.block < blocks)

    # -- Values

    def get(self, value: Value) -> Any:
        if value not in self.env:
            self.env[value] = self.unknown(value.type)
        return self.env[value]

    def unknown(self, type: str) -> Any:
        """Any number of an integer type; None of another one."""
        bits = width(type)
        if bits == 1:
            return self.facts.boolean("any")
        if bits:
            return self.facts.number("any", -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
        return None

    def fit(self, number: Any, type: str, operation: Operation) -> Any:
        """The number if it is one of the type. Else any of the type, or what has the same low
        bits where a number is cut to them."""
        bits = width(type)
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        if self.facts.is_between(number, low, high, self.asks(operation)):
            return number
        if type == "index" and not self.is_trial:
            self.wraps.add(operation.line)
        result = self.unknown(type)
        if operation.name in ("arith.index_cast", "arith.trunci"):
            self.facts.assume(number == result + 2**bits * self.facts.number("cut"))
            self.facts.casts[result.get_id()] = result
        else:
            fits = z3.And(number >= low, number <= high)
            self.facts.assume(z3.Implies(fits, result == number))
        return result

    def asks(self, operation: Operation) -> bool:
        """Whether it is worth asking what holds of the operands."""
        types = {value.type for value in (*operation.operands, *operation.results)}
        return "index" in types or self.plain.issuperset(operation.operands)

    def unsigned(self, number: Any, bits: int, operation: Operation) -> Any:
        if self.facts.interval(number)[0] >= 0:
            return number
        if self.asks(operation) and self.facts.proves(number >= 0):
            return number
        return z3.If(number < 0, number + 2**bits, number)

    # -- Operations

    def execute(self, block: Block) -> Operation:
        """Returns the terminator."""
        for operation in block.operations[:-1]:
            self.step(operation)
        return block.operations[-1]

    def step(self, operation: Operation) -> None:
        name = operation.name
        dialect, _, kind = name.partition(".")
        if dialect in ("arith", "affine", "gpu") or name == "memref.dim":
            if name != "gpu.shuffle" and self.plain.issuperset(operation.operands):
                self.plain.update(operation.results)
        if name in ("memref.load", "memref.store", "vector.load", "vector.store"):
            self.access(operation)
        elif name in LOOKS:
            self.look(operation)
        elif any(operand.type.startswith("memref") for operand in operation.operands):
            self.record(operation, "an array", False, ["what it does is not known"])
        elif name == "scf.if":
            self.branch(operation)
        elif name == "scf.for":
            self.count(operation)
        elif name == "scf.while":
            self.repeat(operation)
        elif operation.regions:
            raise ValueError(f"line {operation.line}: unknown: {operation.text}")
        elif name == "gpu.thread_id":
            self.env[operation.results[0]] = self.thread
        elif name == "gpu.block_id":
            self.env[operation.results[0]] = self.block
        elif name == "gpu.shuffle":
            self.shuffle(operation)
        elif name == "affine.apply":
            self.env[operation.results[0]] = self.apply(operation)
        elif dialect == "arith" and width(operation.results[0].type):
            result = None
            if all(width(operand.type) for operand in operation.operands):
                result = self.compute(kind, operation)
            self.env[operation.results[0]] = (
                self.unknown(operation.results[0].type) if result is None else result
            )
        # Anything else gives any number: `get` makes it.

    def access(self, operation: Operation) -> None:
        is_store = operation.name.endswith("store")
        moved = operation.operands[0].type if is_store else operation.results[0].type
        array = self.get(operation.operands[is_store])
        indices = [self.get(index) for index in operation.operands[1 + is_store :]]
        count = elements(moved) if operation.name.startswith("vector") else 1
        if not is_store:
            self.env[operation.results[0]] = self.unknown(moved)
        if self.is_trial:
            return
        if not isinstance(array, Array):
            self.record(operation, "an array", False, ["which array it is, is not known"])
            return
        missing = []
        for dim, (index, size) in enumerate(zip(indices, array.sizes)):
            last = count if dim == len(indices) - 1 else 1
            if not self.facts.proves(index >= 0, insists=True):
                missing.append(f"index {dim} is not negative")
            if not self.facts.proves(index + last <= size, insists=True):
                more = f", {last} elements" if last > 1 else ""
                missing.append(f"index {dim}{more} is below the size")
        self.record(operation, array.name, array.is_shared, missing)

    def record(self, operation: Operation, name: str, shared: bool, missing: list[str]) -> None:
        if not self.is_trial:
            self.accesses.append(
                Access(
                    operation.name, name, shared, operation.line, operation.text,
                    tuple(missing), not self.facts.is_reachable(),
                )
            )  # fmt: skip

    def look(self, operation: Operation) -> None:
        array = self.get(operation.operands[0])
        if not isinstance(array, Array):
            return
        if operation.name == "memref.dim":
            dim = self.facts.constant(self.get(operation.operands[1]))
            if dim is not None:
                self.env[operation.results[0]] = array.sizes[dim]
            return
        for place, result in enumerate(operation.results):
            key = f"{operation.name} {place}"
            if key not in array.numbers:
                array.numbers[key] = self.unknown(result.type)
            self.env[result] = array.numbers[key]
        if operation.name == "memref.extract_strided_metadata":
            for result, size in zip(operation.results[2:], array.sizes):
                self.env[result] = size

    def shuffle(self, operation: Operation) -> None:
        """The number of another thread that is here: what holds of every thread's holds of it."""
        given = self.get(operation.operands[0])
        if given is not None:
            low, high = self.facts.interval(given)
            if high - low < float("inf"):
                number = self.facts.number("shuffled", int(low), int(high))
                self.env[operation.results[0]] = number

    def here(self, fact: Any) -> None:
        """Known where this is executed."""
        self.facts.assume(z3.Implies(z3.And(self.facts.path), fact))

    def apply(self, operation: Operation) -> Any:
        text = operation.attribute(r"affine_map<(.*)>\}?>$")
        match = re.fullmatch(r"\((.*)\)(?:\[(.*)\])? -> \((.*)\)", text or "")
        if not match:
            raise ValueError(f"line {operation.line}: unknown: {operation.text}")
        names = re.findall(r"\w+", f"{match[1]} {match[2] or ''}")
        values = dict(zip(names, map(self.get, operation.operands)))
        formula = match[3]
        for word, sign in (("ceildiv", "@"), ("floordiv", "//"), ("mod", "%")):
            formula = formula.replace(f" {word} ", f" {sign} ")
        number = self._affine(ast.parse(formula, mode="eval").body, values)
        return self.fit(number, "index", operation)

    def _affine(self, node: Any, values: dict[str, Any]) -> Any:
        if isinstance(node, ast.Constant):
            return z3.IntVal(node.value)
        if isinstance(node, ast.Name):
            return values[node.id]
        if isinstance(node, ast.UnaryOp):
            return -self._affine(node.operand, values)
        a, b = self._affine(node.left, values), self._affine(node.right, values)
        if isinstance(node.op, ast.Add):
            return a + b
        if isinstance(node.op, ast.Sub):
            return a - b
        if isinstance(node.op, ast.Mult):
            return self.facts.product(a, b)
        names = {ast.MatMult: "ceildiv", ast.FloorDiv: "floordiv", ast.Mod: "mod"}
        return self._divide(names[type(node.op)], a, b.as_long())

    def compute(self, kind: str, operation: Operation) -> Any:
        """The result of integer arithmetic; None where only its type is known."""
        type = operation.results[0].type
        if kind == "constant":
            text = operation.attribute(r"value = (-?\w+)")
            assert text is not None
            if width(type) == 1:
                return z3.BoolVal(text == "true")
            return z3.IntVal(int(text))
        numbers = [self.get(operand) for operand in operation.operands]
        bits = width(operation.operands[-1].type)
        if kind == "select":
            return z3.If(*numbers)
        if width(type) == 1 and kind != "cmpi":
            join = {"andi": z3.And, "ori": z3.Or, "xori": z3.Xor}.get(kind)
            return join(*numbers) if join else None
        if bits == 1:
            return z3.If(numbers[0], 1, 0) if kind == "extui" else None
        if kind == "cmpi":
            predicate = int(operation.attribute(r"predicate = (\d+)") or 0)
            if predicate > 5:
                numbers = [self.unsigned(number, bits, operation) for number in numbers]
            return COMPARISONS[predicate if predicate < 6 else predicate - 4](*numbers)
        make = getattr(self, f"compute_{kind}", None)
        return make(operation, type, bits, *numbers) if make else None

    def compute_addi(self, operation, type, bits, a, b):
        return self.fit(a + b, type, operation)

    def compute_subi(self, operation, type, bits, a, b):
        return self.fit(a - b, type, operation)

    def compute_muli(self, operation, type, bits, a, b):
        return self.fit(self.facts.product(a, b), type, operation)

    def compute_index_cast(self, operation, type, bits, a):
        return self.fit(a, type, operation)

    compute_trunci = compute_extsi = compute_index_cast

    def compute_extui(self, operation, type, bits, a):
        return self.fit(self.unsigned(a, bits, operation), type, operation)

    compute_index_castui = compute_extui

    def compute_minsi(self, operation, type, bits, a, b):
        return self.choose(operation, a < b, a, b)

    def compute_maxsi(self, operation, type, bits, a, b):
        return self.choose(operation, a > b, a, b)

    def choose(self, operation: Operation, condition: Any, a: Any, b: Any) -> Any:
        """One of them where it is known which: sizes then look as they do in the manifest."""
        if self.plain.issuperset(operation.operands):
            if self.facts.proves(z3.Or(condition, a == b)):
                return a
            if self.facts.proves(z3.Not(condition)):
                return b
        return z3.If(condition, a, b)

    def compute_minui(self, operation, type, bits, a, b):
        return z3.If(self.unsigned(a, bits, operation) < self.unsigned(b, bits, operation), a, b)

    def compute_maxui(self, operation, type, bits, a, b):
        return z3.If(self.unsigned(a, bits, operation) > self.unsigned(b, bits, operation), a, b)

    def compute_divui(self, operation, type, bits, a, b):
        a, b = self.unsigned(a, bits, operation), self.unsigned(b, bits, operation)
        if not self.is_positive(b, a):
            return None
        if self.facts.constant(b) is None and self.facts.proves(a >= 0):
            self.settle(a, b)
        return self.fit(self.facts.divide(a, b)[0], type, operation)

    def is_positive(self, divisor: Any, dividend: Any) -> bool:
        """A number of tiles is, since this block is one of them: asked step by step."""
        if self.facts.proves(divisor > 0, insists=True):
            return True
        if not self.facts.proves(z3.And(dividend >= 0, divisor >= 0)):
            return False
        # What is 0 times anything is not more than the dividend.
        return any(
            self.facts.proves(dividend < product, insists=True)
            for _, product in self.multiples(divisor)
        )

    def multiples(self, factor: Any) -> list[tuple[Any, Any]]:
        """(other factor, product) of products that are known, the launcher's ones first."""
        factor = z3.simplify(factor, som=True)
        grids = [(a, p) for a, b, p in self.grids if z3.simplify(b, som=True).eq(factor)]
        return grids + self.facts.multiples(factor)

    def settle(self, a: Any, b: Any) -> None:
        """What holds of a quotient by an unknown, asked where it is computed: where it is an
        index, all that was executed since is in the way."""
        quotient, rest = self.facts.divide(a, b)
        whole = self.facts.product(quotient, b)
        self.here(z3.And(quotient >= 0, rest >= 0, rest < b, a == whole + rest))
        for factor, product in self.multiples(b):
            if not factor.eq(quotient) and self.facts.proves(a < product, insists=True):
                self.here(quotient < factor)

    def compute_remui(self, operation, type, bits, a, b):
        a, b = self.unsigned(a, bits, operation), self.unsigned(b, bits, operation)
        if not self.facts.proves(b > 0):
            return None
        return self.fit(self.facts.divide(a, b)[1], type, operation)

    def compute_ceildivui(self, operation, type, bits, a, b):
        by = self.facts.constant(b)
        if by is None or by <= 0:
            return None
        return self.fit(self.facts.ceil_divide(self.unsigned(a, bits, operation), by), type, operation)

    def compute_floordivsi(self, operation, type, bits, a, b):
        by = self.facts.constant(b)
        if by is None or by <= 0:
            return None
        return self.fit(self.facts.divide(a, b)[0], type, operation)

    def compute_divsi(self, operation, type, bits, a, b):
        """Towards zero."""
        by = self.facts.constant(b)
        if by is None or by <= 0:
            if self.facts.proves(z3.And(a >= 0, b > 0)):
                return self.facts.divide(a, b)[0]
            return None
        if self.facts.proves(a >= 0):
            return self.facts.divide(a, b)[0]
        return z3.If(a >= 0, self.facts.divide(a, b)[0], -self.facts.divide(-a, b)[0])

    def compute_remsi(self, operation, type, bits, a, b):
        if not self.facts.proves(z3.And(a >= 0, b > 0)):
            return None
        return self.facts.divide(a, b)[1]

    def compute_shli(self, operation, type, bits, a, b):
        by = self.shift(b, bits)
        return None if by is None else self.fit(self.facts.product(a, by), type, operation)

    def shift(self, by: Any, bits: int) -> Any:
        """The power of two that a shift multiplies or divides by; None of one that may shift by
        too much."""
        known = self.facts.constant(by)
        if known is not None:
            return z3.IntVal(2**known) if 0 <= known < bits else None
        if not self.facts.proves(z3.And(by >= 0, by < bits)):
            return None
        return self.facts.power(by)

    def compute_shrui(self, operation, type, bits, a, b):
        by = self.shift(b, bits)
        if by is None:
            return None
        number = self.facts.divide(self.unsigned(a, bits, operation), by)[0]
        return self.fit(number, type, operation)

    def compute_shrsi(self, operation, type, bits, a, b):
        by = self.shift(b, bits)
        if by is None or (self.facts.constant(by) is None and not self.facts.proves(a >= 0)):
            return None
        return self.facts.divide(a, by)[0]

    def compute_andi(self, operation, type, bits, a, b):
        mask = self.facts.constant(b)
        if mask is not None and a.get_id() in self.words:
            asked = [bit for n, bit in enumerate(self.words[a.get_id()]) if mask >> n & 1]
            result = self.unknown(type)
            self.facts.assume((result != 0) == z3.Or(asked))
            return result
        if mask is not None and mask >= 0 and mask & (mask + 1) == 0:
            return self.facts.divide(a, z3.IntVal(mask + 1))[1]
        if mask is not None and mask < 0 and -mask & (-mask - 1) == 0:
            return a - self.facts.divide(a, z3.IntVal(-mask))[1]
        for number in (a, b):
            if self.facts.proves(number >= 0):
                result = self.facts.number("and", 0)
                self.here(result <= number)
                return result
        return None

    def compute_xori(self, operation, type, bits, a, b):
        """Low bits that are flipped, such as which of two halves is next."""
        mask = self.facts.constant(b)
        if mask is None or mask < 0 or mask & (mask + 1):
            return None
        rest = self.facts.divide(a, z3.IntVal(mask + 1))[1]
        return a + mask - 2 * rest

    # -- Structure

    def branch(self, operation: Operation) -> None:
        condition = self.get(operation.operands[0])
        results: list[list[Any]] = []
        for block, taken in zip(operation.regions, (condition, z3.Not(condition))):
            if block is None:
                continue
            with self.facts.where(taken):
                if operation.results:
                    results.append([self.get(v) for v in self.execute(block).operands])
                    continue
                # What is known of values inside is of no use outside, but would cost each
                # later question: a fused kernel has many segments.
                with self.facts.trial():
                    self.execute(block)
        if len(results) < 2:
            return
        for result, a, b in zip(operation.results, *results):
            known = a is not None and b is not None
            self.env[result] = z3.If(condition, a, b) if known else None

    def count(self, operation: Operation) -> None:
        low, high, step = (self.get(operand) for operand in operation.operands[:3])
        (block,) = operation.regions
        assert block is not None
        place, *carried = block.arguments

        def body(values: list[Any]) -> list[Any]:
            trips = self.facts.number("trip", 0)
            index = self.facts.number("index")
            self.env[place] = index
            self.env.update(zip(carried, values))
            inside = [index >= low, index < high, index == low + self.facts.product(trips, step)]
            with self.facts.where(*inside):
                yielded = self.execute(block)
                self.loop_facts = list(self.facts.path)
                return [self.get(value) for value in yielded.operands]

        inits = operation.operands[3:]
        first = [self.get(value) for value in inits]
        values = self.loop(inits, body, self.limits(operation))
        for value, init in zip(values, first):
            if init is not None:
                self.here(z3.Implies(low >= high, value == init))
        self.env.update(zip(operation.results, values))

    def repeat(self, operation: Operation) -> None:
        before, after = operation.regions
        assert before is not None and after is not None

        def test(values: list[Any]) -> tuple[Any, list[Any]]:
            self.env.update(zip(before.arguments, values))
            condition, *passed = self.execute(before).operands
            return self.get(condition), [self.get(value) for value in passed]

        def body(values: list[Any]) -> list[Any]:
            condition, passed = test(values)
            with self.facts.where(condition):
                self.env.update(zip(after.arguments, passed))
                yielded = self.execute(after)
                self.loop_facts = list(self.facts.path)
                return [self.get(value) for value in yielded.operands]

        first = [self.get(value) for value in operation.operands]
        values = self.loop(operation.operands, body, self.limits(operation))
        was, self.is_trial = self.is_trial, True
        starts, _ = test(first)
        condition, passed = test(values)
        self.is_trial = was
        self.here(z3.Not(condition))
        for value, init in zip(values, first):
            if init is not None:
                self.here(z3.Implies(z3.Not(starts), value == init))
        self.env.update(zip(operation.results, passed))

    def limits(self, loop: Operation) -> list[Any]:
        """Numbers from before a loop that its body takes a minimum with."""
        found = {
            operand: None
            for region in loop.regions
            if region is not None
            for operation in region.operations
            if operation.name in ("arith.minsi", "arith.minui")
            for operand in operation.operands
            if operand in self.env
        }
        return [self.env[value] for value in found]

    def loop(
        self,
        inits: list[Value],
        body: Callable[[list[Any]], list[Any]],
        limits: list[Any],
    ) -> list[Any]:
        """Executes the body for values of any iteration; returns those after the last."""
        first = [self.get(value) for value in inits]
        types = [value.type for value in inits]
        kept = self._those(self.candidates(first, limits), first)
        was, self.is_trial = self.is_trial, True
        while True:
            again = self._attempt(first, types, body, kept)
            if len(again) == len(kept):
                break
            kept = again
        self.is_trial = was
        if not self.is_trial:
            self._attempt(first, types, body, kept)
        last = self._unknowns(first, types)
        for holds in kept:
            self.here(holds(last))
        return last

    def _unknowns(self, first: list[Any], types: list[str]) -> list[Any]:
        return [None if v is None else self.unknown(t) for v, t in zip(first, types)]

    def _attempt(self, first, types, body, kept) -> list[Any]:
        """Those of the candidates `kept` that the body keeps."""
        saved = dict(self.env)
        with self.facts.trial():
            values = self._unknowns(first, types)
            with self.facts.where(*(holds(values) for holds in kept)):
                following = body(values)
                with self.facts.where(*self.loop_facts[len(self.facts.path) :]):
                    kept = self._those(kept, following)
        self.env = saved
        return kept

    def _those(self, candidates, values) -> list[Any]:
        """Those that hold of the values."""
        shown = self.facts.proves_which([holds(values) for holds in candidates])
        return [holds for holds, is_shown in zip(candidates, shown) if is_shown]

    def candidates(
        self, first: list[Any], limits: list[Any]
    ) -> list[Callable[[list[Any]], Any]]:
        """What a loop may keep of the values that it carries."""
        made: list[Callable[[list[Any]], Any]] = []
        for n, value in enumerate(first):
            if value is None or not z3.is_int(value):
                continue
            bounds = [z3.IntVal(0), z3.IntVal(1), z3.IntVal(62), *self.sizes.values(), value]
            for bound in bounds:
                made.append(lambda v, n=n, b=bound: v[n] >= b)
                made.append(lambda v, n=n, b=bound: v[n] <= b)
            made.append(lambda v, n=n: v[n] <= MOST_SIZE)
            for limit in limits:
                made.append(lambda v, n=n, b=limit: v[n] <= b)
            for size in self.sizes.values():
                # The last one, if there is one.
                made.append(lambda v, n=n, s=size: v[n] <= z3.If(s > 0, s - 1, 0))
            for m, other in enumerate(first):
                if m != n and other is not None and z3.is_int(other):
                    made.append(lambda v, n=n, m=m: v[n] <= v[m])
                    made.append(lambda v, n=n, m=m: v[n] < v[m])
                    made.append(lambda v, n=n, m=m, b=other: v[n] <= b)
        return made


def _shape(type: str) -> tuple[list[int | None], str]:
    match = re.match(r"memref<((?:[\d?]+x)*)(\w+)", type)
    if not match:
        raise ValueError(f"unknown type {type}")
    sizes = [None if n == "?" else int(n) for n in match[1].split("x")[:-1]]
    return sizes, match[2]
