# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A step as one page of HTML that needs nothing else: no script, no server, no font."""

from __future__ import annotations

from html import escape

from . import facts
from .drawing import box, edge, spread
from .finding import Found
from .inspecting import head, port_rows, segment_rows, total, traffic_rows, unfused

# ----------------------------------------------------------------------------
# The picture: what is read, the launches, what is written
# ----------------------------------------------------------------------------

_ROW, _BOX, _GAP = 24, 18, 8
#: Left edges and widths of the three columns: legible on a telephone, too.
_IN, _KERNEL, _OUT = (0, 128), (164, 138), (338, 150)
_WIDTH = _OUT[0] + _OUT[1]


def draw(manifest: facts.Manifest) -> str:
    """The launches of a step as SVG: arrays that are read on the left, with a line to every
    launch that reads them, and on the right what each launch writes."""
    kernels = manifest["kernels"]
    ports = {a["name"]: a for a in facts.array_ports(manifest)}
    written = [
        [n for n in facts.used_arrays(k) if ports[n]["kind"] != "in"] for k in kernels
    ]
    outputs = list(dict.fromkeys(name for names in written for name in names))
    inputs = [
        name
        for name, port in ports.items()
        if port["kind"] != "out" or port.get("access") == "inout"
    ]
    height = max(len(outputs), len(inputs), 2) * _ROW
    out_y = dict(zip(outputs, spread(max(len(outputs), 1), height)))
    in_y = dict(zip(inputs, spread(max(len(inputs), 1), height)))
    edges, boxes = [], []
    for kernel, names in zip(kernels, written):
        ys = [out_y[name] for name in names] or [height / 2]
        top, bottom = min(ys) - _BOX / 2, max(ys) + _BOX / 2
        lines = [kernel["name"].removeprefix(f"{manifest['step']}_")]
        if len(kernels) == 1:
            top, bottom = 0.0, float(height)
            for segment in kernel["segments"]:
                rows, columns = facts.show(segment["rows"]), facts.show(segment["columns"])
                lines.append(f"{rows} x {columns}")
        middle = (top + bottom) / 2
        boxes.append(box(_KERNEL[0], top, _KERNEL[1], bottom - top, "kernel", lines))
        for name in facts.used_arrays(kernel):
            if name in in_y:
                y = in_y[name] if len(kernels) == 1 else middle
                edges.append(edge(_IN[0] + _IN[1], in_y[name], _KERNEL[0], y, "read"))
        for name in names:
            y = out_y[name] if len(kernels) == 1 else middle
            edges.append(edge(_KERNEL[0] + _KERNEL[1], y, _OUT[0], out_y[name], "write"))
    for name, y in in_y.items():
        boxes.append(box(_IN[0], y - _BOX / 2, _IN[1], _BOX, "in", [name]))
    for name, y in out_y.items():
        boxes.append(box(_OUT[0], y - _BOX / 2, _OUT[1], _BOX, "out", [name]))
    return (
        f'<svg viewBox="-2 -2 {_WIDTH + 4} {height + 4}" role="img" aria-label="launches of'
        f' {escape(manifest["step"])}">{"".join(edges)}{"".join(boxes)}</svg>'
    )


# ----------------------------------------------------------------------------
# The page
# ----------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --in: #2f6fdb; --out: #c2571a; --box: #8881;
  --kernel: #2a8a4a; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1360px; margin: 0 auto;
  padding: 1rem clamp(.75rem, 3vw, 2rem) 3rem; }
h1 { font-size: 1.5rem; margin: .3rem 0; overflow-wrap: anywhere }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin: .2rem 0 }
p, li { margin: .4rem 0; overflow-wrap: anywhere }
pre, code, td, svg { font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 12px }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr));
  gap: 1.5rem; align-items: start }
.wide { overflow-x: auto }
svg { display: block; width: 100%; max-width: 640px; font-size: 11px }
svg text { fill: currentColor }
svg rect { fill: var(--box); stroke: var(--line) }
.in rect { stroke: var(--in) } .out rect { stroke: var(--out) } .kernel rect { stroke: var(--kernel) }
path { fill: none; stroke-width: 1.2; opacity: .55 }
.read { stroke: var(--in) } .write { stroke: var(--out) }
table { border-collapse: collapse }
th, td { text-align: left; padding: .15rem .9rem .15rem 0; border-bottom: 1px solid var(--line) }
@media (min-width: 601px) { th, td { white-space: nowrap } }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: .6rem;
  margin: 1rem 0 }
.facts div { border: 1px solid var(--line); border-radius: 4px; padding: .4rem .7rem }
.facts b { display: block; font-size: 1.15rem }
pre { overflow-x: auto; background: var(--box); padding: .6rem; max-height: 70vh }
@media (max-width: 600px) { th, td { padding-right: .4rem }
  td { overflow-wrap: break-word; font-size: 11px } th { font-size: 12px } ul { padding-left: 1.2rem } }
summary { cursor: pointer; margin: .5rem 0 }
""".strip()


def _breakable(name: str) -> str:
    """With places where a narrow page may break it."""
    return escape(name).replace("_", "_<wbr>")


def _table(titles: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in titles)
    body = "".join(
        "<tr>" + "".join(f"<td>{_breakable(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _picture(
    title: str, manifest: facts.Manifest, sizes: dict[str, int], before: facts.Manifest | None
) -> str:
    launches = len(manifest["kernels"])
    moved = facts.human(sum(total(manifest, sizes, before, each) for each in (False, True)))
    return (
        f"<div><h3>{title}: {launches} launch{'es' * (launches != 1)}, at most {moved}</h3>"
        f'<div class="wide">{draw(manifest)}</div></div>'
    )


def as_page(found: Found, given: dict[str, int]) -> str:
    manifest = found.manifest
    before = unfused(found)
    sizes = facts.complete_sizes(manifest, given)
    at = ", ".join(f"{name} = {value}" for name, value in sizes.items()) or "no sizes"
    image = found.step.ptx
    ptx = image if isinstance(image, str) else ""
    cards = [
        ("launches", f"{len(before['kernels'])} → {len(manifest['kernels'])}" if before
         else str(len(manifest["kernels"]))),
        ("reads, at most", facts.human(total(manifest, sizes, before, False))),
        ("writes", facts.human(total(manifest, sizes, before, True))),
        ("PTX or cubin", facts.human(len(image)) if image else "none"),
        ("chip", manifest.get("chip", "none")),
    ]
    shown = "".join(f"<div>{escape(k)}<b>{escape(v)}</b></div>" for k, v in cards)
    pictures = [_picture("after fusion" if before else "launches", manifest, sizes, before)]
    if before:
        pictures.insert(0, _picture("before fusion", before, sizes, None))
    parts = [
        f"<h1>{escape(found.step.name)}</h1><p>{escape(head(found))}</p>",
        f'<div class="facts">{shown}</div><p>Bytes are for {escape(at)}.</p>',
        f'<h2>What the launches read and write</h2><div class="pair">{"".join(pictures)}</div>',
        "<h2>Arguments</h2>",
        _table(["name", "kind", "type", "at least"], port_rows(manifest)),
        "<h2>Segments</h2>",
        _table(["launch", "rows", "columns", "tile", "threads"], segment_rows(manifest)),
        "<h2>Bytes</h2>",
        _table(["launch", "", "array", "bytes"], traffic_rows(manifest, sizes, before)),
    ]
    if found.remarks:
        items = "".join(f"<li><code>{escape(each)}</code></li>" for each in found.remarks)
        parts.append(f"<h2>Remarks of the compiler</h2><ul>{items}</ul>")
    for title, text in (("text", found.text), ("PTX", ptx), ("manifest", found.step.manifest)):
        if text:
            parts.append(
                f"<details><summary>{title}, {len(text.splitlines())} lines</summary>"
                f"<pre>{escape(text)}</pre></details>"
            )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(found.step.name)}</title><style>\n{_STYLE}\n</style></head>\n<body>"
        + "\n".join(parts)
        + "</body></html>\n"
    )
