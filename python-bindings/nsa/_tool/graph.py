# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step's text as a picture: which fields are computed from what, and who reads them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape

from .drawing import arc, box, edge, spread

_PORT = re.compile(r"\b(in|out|inout)(?: optional)? %([\w.]+)(?:\[[^\]]*\])? : (!?\w+)")
_VALUE = re.compile(r"^  ((?:%[\w.]+(?::\d+)?(?:, )?)+) = ([\w.]+)")
_NAME = re.compile(r"%([\w.]+)")
_OUTPUTS = re.compile(r"\bto (%[^:]*)")
_SUMS = ("nsa.scan", "nsa.cu_seqlens")
#: What a port's name begins with and a field's does not.
_PREFIX = re.compile(r"^(b\d+|dst)_")


@dataclass
class Graph:
    """What a step's text says of its fields."""

    #: Arrays that are read, in the text's order.
    inputs: list[str] = field(default_factory=list)
    #: Values that others are computed from: name -> what these are computed from in turn.
    shared: dict[str, list[str]] = field(default_factory=dict)
    #: Field -> the arrays and shared values that it is computed from. A field that is a shared
    #: value is computed from that alone.
    fields: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Value:
    op: str
    uses: list[str]


def _statements(text: str) -> list[str]:
    """What is at the top of the step's body, each with its regions."""
    body = text[text.index(") {\n") + 4 : text.rindex("\n}")]
    return re.split(r"\n(?=  [^ }])", body)


def parse(text: str) -> Graph:
    """Of the first step of a text. Raises ``ValueError`` for what is no step's."""
    start = text.find("nsa.step @")
    if start < 0 or ") {\n" not in text:
        raise ValueError("text: expected that of a step")
    text = text[start:].split("\nnsa.step @")[0]
    graph = Graph()
    ports: set[str] = set()
    for kind, name, kind_of_type in _PORT.findall(text[: text.index(") {\n")]):
        ports.add(name)
        if kind != "out" and kind_of_type != "index":
            graph.inputs.append(name)
    values: dict[str, _Value] = {}
    copies: dict[str, list[str]] = {}
    for statement in _statements(text):
        found = _VALUE.match(statement)
        if not found:
            target = _OUTPUTS.search(statement)
            if target:
                names = _NAME.findall(statement[: target.start()])
                known = [name for name in names if name in values or name in ports]
                copies |= {port: known for port in _NAME.findall(target[1]) if port in ports}
            continue
        names = _NAME.findall(statement[found.end() :])
        uses = list(dict.fromkeys(name for name in names if name in values or name in ports))
        # An array's size is not what is in it.
        uses = [] if found[2] == "tensor.dim" else uses
        for name in _NAME.findall(found[1]):
            values[name] = _Value(found[2], uses)
    return _fill(graph, values, copies)


def _fill(graph: Graph, values: dict[str, _Value], copies: dict[str, list[str]]) -> Graph:
    used = [name for value in values.values() for name in value.uses]
    named = {
        names[0]: _PREFIX.sub("", port) for port, names in reversed(copies.items()) if names
    }
    # A map is computed where its elements are needed, and what is no operation of ours, too.
    is_shared = {
        name: name in used
        and (name in named or (value.op.startswith("nsa.") and value.op != "nsa.map"))
        for name, value in values.items()
    }

    def sources(names: list[str]) -> list[str]:
        """Arrays and shared values behind these names."""
        found: dict[str, None] = {}
        for name in names:
            if name in graph.inputs:
                found[name] = None
            elif name in values:
                more = [label[name]] if is_shared[name] else sources(values[name].uses)
                found.update(dict.fromkeys(more))
        # Arrays first, in the text's order.
        return [*filter(found.__contains__, graph.inputs), *filter(graph.shared.__contains__, found)]

    label: dict[str, str] = {}
    for name, value in values.items():
        if not is_shared[name]:
            continue
        behind = sources(value.uses)
        text = "sums" if value.op in _SUMS else value.op.removeprefix("nsa.")
        arrays = [each for each in behind if each in graph.inputs]
        text += f" of {' and '.join(arrays or behind)}" if behind else ""
        number = sum(each.partition(" (")[0] == text for each in label.values())
        # Backends may each have a value of their own for a field.
        label[name] = named.get(name) or (f"{text} ({number + 1})" if number else text)
        graph.shared[label[name]] = behind
    for port, names in copies.items():
        name = _PREFIX.sub("", port)
        graph.fields[name] = list(dict.fromkeys([*graph.fields.get(name, []), *sources(names)]))
    return _tell_apart(graph)


def _tell_apart(graph: Graph) -> Graph:
    """Sums of the same arrays are called after the first field that needs them."""
    texts = [name.partition(" (")[0] for name in graph.shared]
    new = {}
    for name, text in zip(graph.shared, texts):
        users = [field for field, sources in graph.fields.items() if name in sources]
        if texts.count(text) > 1 and text.startswith("sums of") and users:
            new[name] = f"sums for {users[0]}"
    if len(set(new.values())) != len(new):
        return graph

    def renamed(found: dict[str, list[str]]) -> dict[str, list[str]]:
        return {name: [new.get(each, each) for each in of] for name, of in found.items()}

    shared = {new.get(name, name): of for name, of in renamed(graph.shared).items()}
    return Graph(graph.inputs, shared, renamed(graph.fields))


# ----------------------------------------------------------------------------
# The picture
# ----------------------------------------------------------------------------

_LINE, _GAP = 13, 10
#: Left edges and widths: arrays, shared values, fields, readers.
_COLUMNS = ((0, 150), (215, 210), (490, 220), (775, 215))
_STYLE = """
text { font: 11px ui-monospace, "DejaVu Sans Mono", monospace; fill: #1b1f24 }
rect { fill: #fff; stroke: #8888 } .page { stroke: none }
.in rect { stroke: #2f6fdb } .kernel rect { stroke: #2a8a4a } .out rect { stroke: #c2571a }
path { fill: none; stroke-width: 1.2; opacity: .55 }
.read { stroke: #2f6fdb } .inner { stroke: #2a8a4a } .write { stroke: #c2571a }
""".strip()


def _groups(graph: Graph, readers: Mapping[str, str]) -> list[tuple[list[str], list[str], str]]:
    """Fields that are computed from the same and have the same reader: (fields, sources,
    reader), by reader."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for name, sources in graph.fields.items():
        found.setdefault((readers.get(name, ""), tuple(sources)), []).append(name)
    order = list(dict.fromkeys(reader for reader, _ in found))
    groups = [(names, list(sources), reader) for (reader, sources), names in found.items()]
    return sorted(groups, key=lambda group: order.index(group[2]))


def draw_step(text: str, readers: Mapping[str, str] | None = None) -> str:
    """A step as an SVG document: arrays that it reads, values that are computed once and used
    by others, its fields, and who reads them.

    `text`: a step's. `readers`: by fields; without ``b0_`` and ``dst_``. Raises ``ValueError``
    for what is no step's text.
    """
    graph = parse(text)
    groups = _groups(graph, readers or {})
    heights = [_LINE * len(names) + 9 for names, _, _ in groups]
    height = float(sum(heights) + _GAP * (len(groups) - 1))
    height = max(height, 24.0 * max(len(graph.inputs), len(graph.shared)))
    where: dict[str, tuple[int, float]] = {}
    for column, names in ((0, graph.inputs), (1, list(graph.shared))):
        for name, y in zip(names, spread(max(len(names), 1), height)):
            where[name] = column, y
    boxes = [
        box(_COLUMNS[column][0], y - 9, _COLUMNS[column][1], 18, ("in", "kernel")[column], [name])
        for name, (column, y) in where.items()
    ]

    def line(start: str, column: int, y: float) -> str:
        at, y0 = where[start]
        x0, width = _COLUMNS[at]
        return edge(x0 + width, y0, _COLUMNS[column][0], y, ("read", "inner")[at])

    edges = [
        line(source, 1, where[name][1])
        for name, sources in graph.shared.items()
        for source in sources
        if where[source][0] == 0
    ]
    edges += [
        arc(_COLUMNS[1][0], where[source][1], where[name][1], "inner")
        for name, sources in graph.shared.items()
        for source in sources
        if where[source][0] == 1
    ]
    top = 0.0
    places: dict[str, list[float]] = {}
    for (names, sources, reader), size in zip(groups, heights):
        middle = top + size / 2
        boxes.append(box(_COLUMNS[2][0], top, _COLUMNS[2][1], size, "out", names))
        edges += [line(source, 2, middle) for source in sources]
        if reader:
            places.setdefault(reader, []).append(middle)
        top += size + _GAP
    for reader, middles in places.items():
        y = sum(middles) / len(middles)
        x, width = _COLUMNS[3]
        boxes.append(box(x, y - 9, width, 18, "reader", [reader]))
        edges += [edge(_COLUMNS[2][0] + _COLUMNS[2][1], m, x, y, "write") for m in middles]
    width = _COLUMNS[3 if places else 2][0] + _COLUMNS[3 if places else 2][1]
    found = re.search(r"@([\w.]+)", text)
    name = escape(found[1] if found else "a step")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 -8 {width + 16} {height + 16:.0f}"'
        f' width="{width + 16}" role="img" aria-label="fields of {name}">\n'
        f"<style>\n{_STYLE}\n</style>\n"
        f'<rect class="page" x="-8" y="-8" width="{width + 16}" height="{height + 16:.0f}"/>\n'
        + "\n".join([*edges, *boxes])
        + "\n</svg>\n"
    )
