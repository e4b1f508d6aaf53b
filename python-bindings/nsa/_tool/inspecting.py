# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A bundle as text: ports, launches, segments, bytes."""

from __future__ import annotations

from .. import _compile
from . import facts
from .finding import Found, targets_of


def head(found: Found) -> str:
    """One line about a step."""
    manifest = found.manifest
    by = manifest.get("compiler", {})
    kernels = len(manifest["kernels"])
    return (
        f"{found.step.name}: {kernels} kernel{'s' * (kernels != 1)},"
        f" {manifest.get('chip', 'no chip')}, for {', '.join(targets_of(found.step)) or 'nothing here'};"
        f" made by nsa {by.get('nsa', '?')}, LLVM {by.get('llvm', '?')}; schema {manifest['schema']}"
    )


def port_rows(manifest: facts.Manifest) -> list[list[str]]:
    return [
        [a["name"], a.get("access", a["kind"]), facts.type_of(a), facts.needs_of(manifest, a)]
        for a in manifest["arguments"]
    ]


def segment_rows(manifest: facts.Manifest) -> list[list[str]]:
    return [
        [
            kernel["name"],
            facts.show(segment["rows"]),
            facts.show(segment["columns"]),
            " x ".join(map(str, segment["tile"])),
            str(kernel["threads"]),
        ]
        for kernel in manifest["kernels"]
        for segment in kernel["segments"]
    ]


def unfused(found: Found) -> facts.Manifest | None:
    """The manifest of the same text with a launch for every destination; None without the text
    or the compiler."""
    if found.text is None or not _compile.has_compiler():
        return None
    module = _compile.compile(found.text, "cuda", found.step.chip or None, fuse=False)
    return Found(module[found.step.name], "").manifest


def traffic_rows(
    manifest: facts.Manifest, sizes: dict[str, int], before: facts.Manifest | None
) -> list[list[str]]:
    return [
        [
            kernel["name"],
            "writes" if each.is_written else "reads",
            each.argument,
            ("at most " if each.is_bound else "") + facts.human(each.bytes),
        ]
        for kernel, arrays in zip(manifest["kernels"], facts.traffic(manifest, sizes, before))
        for each in arrays
    ]


def total(
    manifest: facts.Manifest,
    sizes: dict[str, int],
    before: facts.Manifest | None,
    is_written: bool,
) -> int:
    return sum(
        each.bytes
        for arrays in facts.traffic(manifest, sizes, before)
        for each in arrays
        if each.is_written == is_written
    )


def as_text(found: Found, given: dict[str, int]) -> str:
    manifest, before = found.manifest, unfused(found)
    sizes = facts.complete_sizes(manifest, given)
    shapes = facts.smallest_shapes(manifest, sizes, {})
    at = ", ".join(f"{name} {value}" for name, value in sizes.items()) or "no sizes"
    parts = [head(found), f"from {found.where}"]
    if found.step.ptx is not None:
        parts[-1] += f"; {len(found.step.ptx)} bytes of PTX or cubin"
    parts += ["", facts.as_table([["port", "kind", "type", "at least"], *port_rows(manifest)])]
    rows = [["launch", "rows", "columns", "tile", "threads"], *segment_rows(manifest)]
    parts += ["", facts.as_table(rows)]
    grids = [facts.blocks(kernel, sizes, shapes) for kernel in manifest["kernels"]]
    parts += ["", f"with {at}: {' + '.join(map(str, grids))} block{'s' * (grids != [1])}"]
    parts.append(facts.as_table(traffic_rows(manifest, sizes, before)))
    parts.append(
        f"reads {facts.human(total(manifest, sizes, before, False))} at most,"
        f" writes {facts.human(total(manifest, sizes, before, True))}"
    )
    if found.remarks:
        parts += ["", *found.remarks]
    return "\n".join(parts)
