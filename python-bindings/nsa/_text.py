# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""How the texts of ``nsa.steps`` are written."""

from ._errors import wrong

VECTOR = "tensor<?xi32>"
TABLE = "tensor<?x?xi32>"
DESTINATION = {1: "memref<?xi32, strided<[?]>>", 2: "memref<?x?xi32, strided<[?, 1]>>"}
ELEMENT = {"int32": "i32", "int64": "i64"}


class Text:
    """A step in the making: values are written once, when first asked for, after what
    they need; ports in the order in which they are needed."""

    def __init__(self):
        self.ports, self.body, self.values = {}, [], {}

    def port(self, name, declaration):
        self.ports.setdefault(name, declaration)
        return f"%{name}"

    def size(self, name):
        return self.port(name, f"in %{name} : index")

    def array(self, name, dtype, extent="bs"):
        type = f"tensor<?x{element(name, dtype)}>"
        self.size(extent)
        return self.port(name, f"in %{name}[%{extent}] : {type}"), type

    def value(self, name, make):
        """%name, from what `make` returns: an operation's text, or a value."""
        if name not in self.values:
            text = make()
            if not text.startswith("%"):
                self.body.append(f"%{name} = {text}")
                text = f"%{name}"
            self.values[name] = text
        return self.values[name]

    def copy(self, value, type, destination, rank):
        out = self.port(destination, f"out %{destination} : {DESTINATION[rank]}")
        self.body.append(f"nsa.copy {value} to {out} : {type} to {DESTINATION[rank]}")

    def step(self, name):
        # Sizes, inputs, outputs; within each, as they were needed.
        kinds = ("in", "out")
        ports = sorted(
            self.ports.values(), key=lambda p: (not p.endswith(": index"), kinds.index(p.split()[0]))
        )
        head, body = ",\n    ".join(ports), "\n  ".join(self.body)
        return f"nsa.step @{name}(\n    {head}) {{\n  {body}\n}}\n"


def element(argument, dtype):
    try:
        return ELEMENT[dtype]
    except KeyError:
        raise wrong(
            TypeError, argument, f"expected dtype int32 or int64 but got {dtype}"
        ) from None
