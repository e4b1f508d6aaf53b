# Part of the nsa project, under the Apache License v2.0 with LLVM Exceptions.
# See LICENSE for license information.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws a result of replay.py, replay_scaling.py, dequant.py or prefill.py.

    plot.py RESULT.json [PICTURE.png]

Does nothing, and says so, without matplotlib.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

COLOURS = {
    "torch_recomputed": "#c7c7c7",
    "torch_precomputed": "#8c8c8c",
    "peer": "#d9822b",
    "peer_repeated": "#f2c28e",
    "nsa": "#1f6fb2",
    "nsa_live": "#9cc4e4",
    "copy": "#7fb77e",
    "empty": "#4a4a4a",
}
#: Of releases of a peer, the newest first.
RELEASE_COLOURS = ("#d9822b", "#8c4fa3")
#: What legends say; {peer} is the peer with its version.
LABELS = {
    "torch_recomputed": "torch, for each backend",
    "torch_precomputed": "torch, once, and copies",
    "peer": "{peer}, once, and copies",
    "peer_repeated": "{peer}, for each backend (live columns)",
    "nsa": "nsa",
    "nsa_live": "nsa, live columns",
    "copy": "copy kernel",
    "empty": "empty kernel",
}
SIZES = {"backends": "backends", "requests": "requests", "max_len": "longest request, tokens"}


def peer_of(result: dict[str, Any]) -> str:
    return f"SGLang {result['machine'].get('sglang') or ''}".strip()


def label_of(way: str, result: dict[str, Any]) -> str:
    """What a legend says of a way of the result; releases of a peer have names already."""
    return LABELS.get(way, way).format(peer=peer_of(result))


def spell(name: str) -> str:
    """A mode or another internal name, in words."""
    return name.replace("_", " ")


def thousands(value: float) -> str:
    """A tick: 16384 as 16K, 64 as it is."""
    return f"{value / 1024:g}K" if value >= 1024 and value % 1024 == 0 else f"{value:g}"


def draw(result: dict[str, Any], picture: Path) -> None:
    drawings = {
        "dequant": draw_dequant,
        "prefill": draw_combine,
        "replay": draw_bars,
        "replay_scaling": draw_scaling,
    }
    drawings[result["benchmark"]](result, picture)


def way_colours(result: dict[str, Any]) -> dict[str, str]:
    """What a comparison with a copy shows: the copy, nsa and the peer's releases."""
    ways = {name: COLOURS[name] for name in ("copy", "nsa")}
    return {**ways, **dict(zip(result["releases"], RELEASE_COLOURS))}


def draw_dequant(result: dict[str, Any], picture: Path) -> None:
    """Bandwidth over bytes moved, below what a copy kernel reaches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    layouts = list(dict.fromkeys(row["layout"] for row in result["rows"]))
    figure, panels = pyplot.subplots(
        1, len(layouts), figsize=(11, 4.5), sharey=True, layout="constrained"
    )
    for axes, layout in zip(panels, layouts):
        rows = [row for row in result["rows"] if row["layout"] == layout]
        for way, colour in way_colours(result).items():
            if way in rows[0]["gpu_us"]:
                draw_speeds(axes, rows, way, colour, label_of(way, result))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.margins(x=0.12)
        axes.set_title(layout)
        axes.set_xlabel("MB read and written")
        axes.grid(which="both", alpha=0.3)
        axes.legend(fontsize=8)
    panels[0].set_ylabel("TB/s")
    figure.suptitle(f"Dequantisation, {result['machine']['device']}")
    figure.savefig(picture, dpi=150)


def draw_combine(result: dict[str, Any], picture: Path) -> None:
    """Bandwidth of each mix's index combine, below what a copy kernel reaches."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if "combine" not in result:
        sys.exit("plot: the result has no combine; no picture drawn")
    rows = result["combine"]
    ways = way_colours(result)
    figure, axes = pyplot.subplots(
        figsize=(max(9, 1.3 * len(rows)), 4.5), layout="constrained"
    )
    axes.margins(y=0.15)
    for number, (way, colour) in enumerate(ways.items()):
        times = [row["gpu_us"][way]["median"] for row in rows]
        speeds = [row["moved_bytes"] / time / 1e6 for row, time in zip(rows, times)]
        width = 0.85 / len(ways)
        places = [place + (number + 0.5) * width for place in range(len(rows))]
        bars = axes.bar(places, speeds, width, color=colour, label=label_of(way, result))
        marks = [f"{time:.3g} µs" for time in times]
        axes.bar_label(bars, marks, fontsize=6, padding=2, rotation=90)
    axes.set_xticks([place + 0.425 for place in range(len(rows))])
    axes.set_xticklabels(
        [f"{row['mix']}\n{row['moved_bytes'] / 1e6:.0f} MB" for row in rows], fontsize=8
    )
    axes.set_xlabel("requests x queries, top-k; read and written")
    axes.set_ylabel("TB/s")
    axes.set_title(f"Index combine, {result['machine']['device']}")
    axes.legend(fontsize=8)
    figure.savefig(picture, dpi=150)


def draw_speeds(
    axes: Any, rows: list[dict[str, Any]], way: str, colour: str, label: str
) -> None:
    times = [row["gpu_us"][way]["median"] for row in rows]
    moved = [row["moved_bytes"] / 1e6 for row in rows]
    speeds = [size / time for size, time in zip(moved, times)]
    line = "--" if way == "copy" else "-"
    axes.plot(moved, speeds, line, marker="o", color=colour, label=label)
    # Two ways may be close to each other: times of nsa stand above its line.
    if way == "copy":
        return
    offset, align = ((-4, 6), "right") if way == "nsa" else ((4, -11), "left")
    for place, time in zip(zip(moved, speeds), times):
        axes.annotate(
            f"{time:.3g} µs",
            place,
            textcoords="offset points",
            xytext=offset,
            ha=align,
            fontsize=7,
        )


def draw_bars(result: dict[str, Any], picture: Path) -> None:
    """A panel for each mode, a group of bars for each shape."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modes = result["modes"]
    figure, panels = pyplot.subplots(
        len(modes), 1, figsize=(11, 4 * len(modes)), layout="constrained", squeeze=False
    )
    for axes, mode in zip(panels[:, 0], modes):
        rows = [row for row in result["rows"] if row["mode"] == mode]
        names = [name for name in COLOURS if name in rows[0]["gpu_us"]]
        width = 0.85 / len(names)
        for index, name in enumerate(names):
            places = [
                row + (index - len(names) / 2 + 0.5) * width for row in range(len(rows))
            ]
            values = [row["gpu_us"][name]["median"] for row in rows]
            label = label_of(name, result)
            bars = axes.bar(places, values, width, color=COLOURS[name], label=label)
            axes.bar_label(bars, fmt="%.3g", fontsize=6, padding=2, rotation=90)
        axes.set_yscale("log")
        axes.set_xticks(range(len(rows)))
        axes.set_xticklabels([f"{row['bs']} x {row['max_len']}" for row in rows])
        axes.set_ylabel("GPU time per step, µs")
        axes.set_title(f"{spell(mode)}, three backends, {result['machine']['device']}")
        axes.margins(y=0.2)
        axes.legend(fontsize=8, ncols=4, loc="lower left", bbox_to_anchor=(0, 1.08))
    panels[-1, 0].set_xlabel("requests x longest request")
    figure.savefig(picture, dpi=120)


def draw_scaling(result: dict[str, Any], picture: Path) -> None:
    """A column of panels for each mode, a row for each size that varies."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    modes = result["modes"]
    varied = list(dict.fromkeys(row["varied"] for row in result["rows"]))
    figure, panels = pyplot.subplots(
        len(varied),
        len(modes),
        figsize=(3.6 * len(modes), 3 * len(varied)),
        layout="constrained",
        sharey="row",
        squeeze=False,
    )
    for column, mode in enumerate(modes):
        for line, size in enumerate(varied):
            axes = panels[line, column]
            rows = [
                row for row in result["rows"] if (row["mode"], row["varied"]) == (mode, size)
            ]
            for name in ("peer", "nsa", "copy"):
                points = [(row["value"], row["us"].get(name)) for row in rows]
                points = [point for point in points if point[1] is not None]
                if points:
                    style = "--" if name == "copy" else "-"
                    axes.plot(
                        *zip(*points),
                        style,
                        marker="o",
                        ms=3,
                        color=COLOURS[name],
                        label=label_of(name, result),
                    )
            values = sorted({row["value"] for row in rows})
            if size != "backends":
                axes.set_xscale("log", base=2)
                axes.set_yscale("log")
            # What was measured, and nothing between it.
            axes.set_xticks(values, [thousands(value) for value in values], fontsize=8)
            axes.minorticks_off()
            axes.set_xlabel(SIZES.get(size, spell(size)))
            axes.grid(which="both", alpha=0.3)
            if line == 0:
                axes.set_title(spell(mode))
    for axes in panels[:, 0]:
        axes.set_ylabel("GPU time per step, µs")
    panels[0, 0].legend(fontsize=8)
    figure.suptitle(result["machine"]["device"])
    figure.savefig(picture, dpi=120)


def main() -> int:
    source = Path(sys.argv[1])
    picture = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".png")
    try:
        draw(json.loads(source.read_text()), picture)
    except ModuleNotFoundError as error:
        print(f"plot: {error}; no picture drawn")
        return 0
    print(f"plot: {picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
