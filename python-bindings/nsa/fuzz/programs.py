# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps as data: their text, and what they compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .formulas import FORMULAS
from .operations import ANY, FORMS, KNOWN, UNWRITTEN, Array, Form, T, V, dims, fits, tensor

__all__ = ["DTYPES", "PORTS", "RAW", "Copy", "Op", "Port", "Program", "destination"]

#: NumPy's names; bf16 as bits.
DTYPES = {"i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "bf16": "uint16", "f32": "float32"}


@dataclass(frozen=True)
class Port:
    type: str
    #: (size port, offset) of each dimension; empty: the whole array.
    extents: tuple[tuple[str, int] | None, ...] = ()
    #: Sizes of dimensions that nothing else gives.
    free: tuple[int, ...] = ()
    attributes: str = ""

    def text(self, name: str) -> str:
        extents = ", ".join(
            "?" if e is None else f"%{e[0]}" + (f" + {e[1]}" if e[1] else "")
            for e in self.extents
        )
        extents = f"[{extents}]" if extents else ""
        return f"in %{name}{extents} : {self.type}{self.attributes}"


L = tensor("?", "i64")
BS, NEXT = (("bs", 0),), (("bs", 1),)
SIZES = ("bs", "bound", "columns", "queries", "limit")
PORTS: dict[str, Port] = {
    **{name: Port("index") for name in SIZES},
    "lens": Port(V, BS),
    "more": Port(V, BS),
    "extend": Port(V, BS),
    "wide": Port(L, BS),
    "starts": Port(V, NEXT),
    "positions": Port(V, (("queries", 0),)),
    "whole": Port(V, free=(5,)),
    "four": Port("tensor<4xi32>", free=(4,)),
    "map": Port(L, free=(11,)),
    "tokens": Port(T, free=(4, 13)),
    "rows_of": Port(T, (("bs", 0), ("columns", 0))),
    "topk_indices": Port(T, free=(0, 0)),
    "cache": Port(tensor("??", "i8"), free=(3, 0)),
    "bytes": Port(tensor("?", "i8"), BS),
    "halves": Port(tensor("?", "i16"), BS),
    "floats": Port(tensor("??", "bf16"), (("bs", 0), ("columns", 0))),
}
#: Defaults of slots that are no port.
RECIPES = {"sums": ("cu_seqlens", {"source": "more"}), "ragged": (
    "expansion_array_within", {"extend": "extend", "bound": "bound"}
)}


@dataclass(frozen=True)
class Raw:
    """A text of other dialects; `{o}` is what it makes."""

    type: str
    text: str
    needs: tuple[str, ...]
    value: Callable[..., Any]


def affine(expression: str) -> str:
    return f"{{o}} = affine.apply affine_map<()[s0] -> ({expression})>()[%bs]"


C1 = "{o}_1 = arith.constant 1 : index\n"
B0 = "{o}_b = arith.cmpi slt, %bs, %columns : index\n"
RAW: dict[str, Raw] = {
    "constant": Raw("index", "{o} = arith.constant 5 : index", (), lambda: 5),
    "constant_0": Raw("index", "{o} = arith.constant 0 : index", (), lambda: 0),
    "constant_negative": Raw("index", "{o} = arith.constant -3 : index", (), lambda: -3),
    "apply": Raw("index", affine("s0 * 2 + 1"), ("bs",), lambda bs: bs * 2 + 1),
    "apply_negative": Raw(
        "index", affine("s0 * 10 - 1000000"), ("bs",), lambda bs: bs * 10 - 1000000
    ),
    "apply_ceildiv": Raw("index", affine("s0 ceildiv 4"), ("bs",), lambda bs: -(-bs // 4)),
    "addi": Raw(
        "index", C1 + "{o} = arith.addi %bs, {o}_1 : index", ("bs",), lambda bs: bs + 1
    ),
    "muli": Raw(
        "index", "{o} = arith.muli %bs, %bs : index", ("bs",), lambda bs: bs * bs
    ),
    "minsi": Raw(
        "index", "{o} = arith.minsi %bs, %columns : index", ("bs", "columns"),
        lambda bs, columns: min(bs, columns),
    ),
    "select": Raw(
        "index", B0 + "{o} = arith.select {o}_b, %bs, %columns : index", ("bs", "columns"),
        lambda bs, columns: min(bs, columns),
    ),
    "if": Raw(
        "index",
        B0 + "{o} = scf.if {o}_b -> (index) {{ scf.yield %bs : index }}"
        " else {{ scf.yield %columns : index }}",
        ("bs", "columns"), lambda bs, columns: min(bs, columns),
    ),
    "cast_and_back": Raw(
        "index",
        "{o}_i = arith.index_cast %bs : index to i32\n"
        "{o} = arith.index_cast {o}_i : i32 to index",
        ("bs",), lambda bs: bs,
    ),
    "dim": Raw(
        "index", C1 + f"{{o}} = tensor.dim %tokens, {{o}}_1 : {T}", ("tokens",),
        lambda tokens: tokens.data.shape[1],
    ),
    "dim_of_extent": Raw(
        "index",
        f"{{o}}_0 = arith.constant 0 : index\n{{o}} = tensor.dim %lens, {{o}}_0 : {V}",
        ("lens",), lambda lens: len(lens.data),
    ),
    "extract": Raw(
        "index",
        C1 + f"{{o}}_e = tensor.extract %four[{{o}}_1] : tensor<4xi32>\n"
        "{o} = arith.index_cast {o}_e : i32 to index",
        ("four",), lambda four: int(four.data[1]),
    ),
    "tensor_cast": Raw(
        V, f"{{o}} = tensor.cast %four : tensor<4xi32> to {V}", ("four",), lambda four: four
    ),
    "tensor_select": Raw(
        V, B0 + f"{{o}} = arith.select {{o}}_b, %lens, %more : {V}",
        ("bs", "columns", "lens", "more"),
        lambda bs, columns, lens, more: lens if bs < columns else more,
    ),
    "tensor_if": Raw(
        V,
        B0 + f"{{o}} = scf.if {{o}}_b -> ({V}) {{{{ scf.yield %lens : {V} }}}}"
        f" else {{{{ scf.yield %more : {V} }}}}",
        ("bs", "columns", "lens", "more"),
        lambda bs, columns, lens, more: lens if bs < columns else more,
    ),
    "tensor_empty": Raw(
        V, f"{{o}} = tensor.empty(%bs) : {V}", ("bs",),
        lambda bs: Array(np.zeros(bs, np.int32), np.ones(bs, np.uint8)),
    ),
    "tensor_elements": Raw(
        "tensor<2xi32>",
        "{o}_7 = arith.constant 7 : i32\n{o} = tensor.from_elements {o}_7, {o}_7 : tensor<2xi32>",
        (), lambda: Array.of(np.full(2, 7, np.int32)),
    ),
    "tensor_dense": Raw(
        "tensor<2xi32>", "{o} = arith.constant dense<7> : tensor<2xi32>", (),
        lambda: Array.of(np.full(2, 7, np.int32)),
    ),
    "tensor_slice": Raw(
        V, f"{{o}} = tensor.extract_slice %lens[0] [%bs] [1] : {V} to {V}", ("lens", "bs"),
        lambda lens, bs: lens,
    ),
    "table_select": Raw(
        T, B0 + f"{{o}} = arith.select {{o}}_b, %tokens, %rows_of : {T}",
        ("bs", "columns", "tokens", "rows_of"),
        lambda bs, columns, tokens, rows_of: tokens if bs < columns else rows_of,
    ),
    "table_cast": Raw(
        "tensor<?x8xi32>", f"{{o}} = tensor.cast %tokens : {T} to tensor<?x8xi32>", ("tokens",),
        lambda tokens: tokens,
    ),
    "bytes_empty": Raw(
        tensor("??", "i8"), f"{{o}} = tensor.empty(%bs, %bs) : {tensor('??', 'i8')}", ("bs",),
        lambda bs: Array(np.zeros((bs, bs), np.int8), np.ones((bs, bs), np.uint8)),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Op:
    """A value: the form of an operation with its operands, or a text of other dialects."""

    name: str
    form: str
    operands: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, Any], ...] = ()


def form(name: str) -> Form:
    return FORMULAS.get(name) or FORMS[name]


@dataclass(frozen=True)
class Copy:
    value: str
    #: (name, type of the memref) of each destination.
    destinations: tuple[tuple[str, str], ...]
    begin: int = 0
    #: The value that says which elements are written.
    mask: str = ""
    #: The values that say where they go, in destinations of `shape`.
    places: tuple[str, ...] = ()
    shape: tuple[int, ...] = ()

    def values(self) -> tuple[str, ...]:
        return (self.value, *((self.mask,) if self.mask else ()), *self.places)

    def stored(self, found: dict[str, Any]) -> Any:
        """What destinations are to hold, of what `Program.evaluate` found."""
        value = found[self.value]
        if not self.mask and not self.places:
            return value
        written = np.ones(value.data.shape, np.bool_)
        unsure = np.zeros(value.data.shape, np.bool_)
        if self.mask:
            mask = found[self.mask]
            unsure = mask.state != KNOWN
            written = (mask.data != 0) | unsure
        if not self.places:
            state = np.where(written, np.where(unsure, ANY, value.state), UNWRITTEN)
            return Array.of(value.data, state)
        data = np.zeros(self.shape, value.data.dtype)
        state = np.full(self.shape, UNWRITTEN, np.uint8)
        places = [found[place] for place in self.places]
        if any((place.state != KNOWN)[written].any() for place in places):
            return Array.of(data, np.full(self.shape, ANY, np.uint8))
        for at in np.argwhere(written):
            at = tuple(at)
            to = tuple(int(place.data[at]) for place in places)
            if not all(0 <= index < size for index, size in zip(to, self.shape)):
                continue
            # Which of two elements a place keeps is unspecified.
            is_first = state[to] == UNWRITTEN
            same = is_first or value.data[at].tobytes() == data[to].tobytes()
            state[to] = value.state[at] if same and not unsure[at] and state[to] != ANY else ANY
            data[to] = value.data[at]
        return Array.of(data, state)

    def late(self, found: dict[str, Any]) -> int | None:
        """How many elements go to a place where another one goes that comes before them; None
        if that is not known."""
        if not self.places:
            return 0
        written = np.ones(found[self.value].data.shape, np.bool_)
        if self.mask:
            if (found[self.mask].state != KNOWN).any():
                return None
            written = found[self.mask].data != 0
        places = [found[place] for place in self.places]
        if any((place.state != KNOWN)[written].any() for place in places):
            return None
        to = np.stack([place.data[written].astype(np.int64) for place in places], axis=-1)
        to = to[((to >= 0) & (to < self.shape)).all(axis=-1)]
        return (len(to) - len(np.unique(to, axis=0))) * len(self.destinations)


def destination(type: str, layout: str = "", attributes: str = "") -> str:
    """The memref that takes a value of `type`, with sizes left open."""
    sizes, element = dims(type)
    return f"memref<{'?x' * len(sizes)}{element}{layout}>{attributes}"


@dataclass(frozen=True)
class Named:
    name: str
    type: str

    def __str__(self) -> str:
        return f"%{self.name}"


@dataclass
class Program:
    """A step."""

    ports: dict[str, Port] = field(default_factory=dict)
    body: list[Op] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    #: Type of the memref behind each `inout` port.
    inouts: dict[str, str] = field(default_factory=dict)
    guards: bool = False

    def clone(self, **changes: Any) -> Program:
        parts = {
            "ports": dict(self.ports), "body": list(self.body), "copies": list(self.copies),
            "inouts": dict(self.inouts),
        }  # fmt: skip
        return replace(self, **{**parts, **changes})

    @property
    def types(self) -> dict[str, str]:
        found = {name: port.type for name, port in self.ports.items()} | self.inouts
        for op in self.body:
            if op.form in RAW:
                found[op.name] = RAW[op.form].type
                continue
            types = {slot: found[value] for slot, value in op.operands}
            found[op.name] = form(op.form).infer(types, dict(op.parameters))
        return found

    # ------------------------------------------------------------------------
    # Making
    # ------------------------------------------------------------------------

    def need(self, name: str) -> str:
        """The port of that name, or the value that stands for it."""
        if name in self.types:
            return name
        if name in RECIPES:
            form, operands = RECIPES[name]
            return self.add(form, operands, name=name)
        port = PORTS[name]
        for extent in port.extents:
            if extent:
                self.need(extent[0])
        self.ports[name] = port
        return name

    def add(self, form: str, operands=None, parameters=None, name: str = "") -> str:
        """A value of `form`; slots that are not given have their defaults."""
        name = name or f"v{len(self.body)}"
        if form in RAW:
            for need in RAW[form].needs:
                self.need(need)
            self.body.append(Op(name, form))
            return name
        if form in FORMULAS:
            self.body.append(
                Op(name, form, tuple(operands.items()), tuple(parameters.items()))
            )
            return name
        made = FORMS[form]
        given = {
            slot: self.need((operands or {}).get(slot, of.default))
            for slot, of in made.slots.items()
        }
        chosen = {key: values[0] for key, values in made.parameters.items()}
        chosen.update(parameters or {})
        self.body.append(Op(name, form, tuple(given.items()), tuple(chosen.items())))
        return name

    def fits(self, kind: str, name: str) -> bool:
        return fits(kind, self.types[name])

    # ------------------------------------------------------------------------
    # Text
    # ------------------------------------------------------------------------

    def text(self, name: str = "step") -> str:
        types = self.types
        ports = [port.text(of) for of, port in self.ports.items()]
        lines = []
        for op in self.body:
            if op.form in RAW:
                lines += RAW[op.form].text.format(o=f"%{op.name}").split("\n")
                continue
            words = {slot: Named(value, types[value]) for slot, value in op.operands}
            text = form(op.form).write(words, dict(op.parameters), types[op.name])
            lines.append(f"%{op.name} = {text}")
        for copy in self.copies:
            ports += [
                f"{'inout' if of in self.inouts else 'out'} %{of} : {type}"
                for of, type in copy.destinations
            ]
            names = ", ".join(f"%{of}" for of, _ in copy.destinations)
            memrefs = ", ".join(type.split(" {")[0] for _, type in copy.destinations)
            how, of = "", types[copy.value]
            if copy.mask:
                how, of = f" when %{copy.mask}", f"{of} when {types[copy.mask]}"
            if copy.places:
                how += f" at [{', '.join(f'%{place}' for place in copy.places)}]"
                of += f" at {', '.join(types[place] for place in copy.places)}"
            if copy.begin:
                how += f" from {copy.begin}"
            lines.append(f"nsa.copy %{copy.value}{how} to {names} : {of} to {memrefs}")
        guards = " attributes {guards}" if self.guards else ""
        body = "".join(f"  {line}\n" for line in lines)
        return f"nsa.step @{name}({', '.join(ports)}){guards} {{\n{body}}}\n"

    # ------------------------------------------------------------------------
    # Values
    # ------------------------------------------------------------------------

    def evaluate(self, sizes: dict[str, int], arrays: dict[str, np.ndarray]) -> dict[str, Any]:
        """Every value, by name."""
        found: dict[str, Any] = {}
        for name, port in self.ports.items():
            if port.type == "index":
                found[name] = sizes[name]
                continue
            data = arrays[name]
            if port.extents:
                data = data[
                    tuple(
                        slice(None if e is None else sizes[e[0]] + e[1]) for e in port.extents
                    )
                ]
            found[name] = Array.of(data)
        for name in self.inouts:
            found[name] = Array.of(arrays[name])
        for op in self.body:
            if op.form in RAW:
                raw = RAW[op.form]
                found[op.name] = raw.value(*(found[need] for need in raw.needs))
                continue
            operands = {slot: found[value] for slot, value in op.operands}
            found[op.name] = form(op.form).evaluate(operands, dict(op.parameters))
        return found


