#!/usr/bin/env python3
"""Two pictures: a storm as readers feel it, and cost against rows.

Drawn from the same JSON as the tables, small enough to be kept.
"""
from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from matplotlib import rcParams
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.client import RATE
from benchmarks.figures import Round, median
from benchmarks.report import Data, amount, names, rounds, sizes_of

BLUE, ORANGE, GREY, GREEN = "#1f5fa8", "#d9730d", "#777777", "#2f7d4f"
# Of a peer's the one with the longest tradition, if it was measured.
PEERS_SHOWN = ("Django", "Flask-Security-Too", "fastapi-users", "Flask-User")
STORM = "{}, 8 clients"
PEN: Dict[str, Any] = {"linewidth": 0, "markersize": 2.6, "alpha": 0.75,
                       "markeredgewidth": 0}
rcParams.update({"font.size": 10, "axes.spines.top": False,
                 "axes.spines.right": False})


def draw(data: Data, folder: Path) -> List[Path]:
    """Draw what was measured into a folder; return the files."""
    drawn = []
    storm = storm_picture(data)
    if storm:
        drawn.append(save(storm, folder / "performance-storm.png"))
    if sizes_of(data):
        drawn.append(save(growth_picture(data),
                          folder / "performance-growth.png"))
    return drawn


def save(figure: Figure, path: Path) -> Path:
    """Write a picture: few colours, and the same bytes for the same data."""
    drawn = BytesIO()
    figure.savefig(drawn, dpi=110, metadata={"Software": None})
    Image.open(drawn).convert("RGB").quantize(64).save(
        str(path), optimize=True)
    return path


# -- A storm

def storm_picture(data: Data) -> Any:
    """Draw each wait of a reader, ours and a peer's; None without a storm.

    Both of one run, if there was one with peers.
    """
    part = "peers.storm" if names(data, "peers.storm") else "bench.storm"
    shown = [("ours", BLUE)] + [
        (each, ORANGE) for each in PEERS_SHOWN
        if STORM.format(each) in names(data, part)][:1]
    waits = [(name, colour, typical(rounds(data, part, STORM.format(name))))
             for name, colour in shown]
    if not all(found for _, _, found in waits):
        return None
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    for name, colour, seen in waits:
        dots(axes, name, colour, seen)
    frame_storm(axes, waits[0][2])
    figure.legend(loc="outside lower center", frameon=False, markerscale=2,
                  ncols=2)
    return figure


def typical(found: Sequence[Round]) -> Round:
    """Return the round of which every wait was kept."""
    return next((each for each in found if "waits_ms" in each), {})


def dots(axes: Any, name: str, colour: str, seen: Round) -> None:
    """Draw a dot for each request, where it was due and as high as it took."""
    waits = seen["waits_ms"]
    axes.plot([place / RATE for place in range(len(waits))], waits, "o",
              color=colour, label="{}: p99 in the storm {}".format(
                  name, amount(seen["during"]["p99_ms"], "ms")), **PEN)


def frame_storm(axes: Any, seen: Round) -> None:
    """Say what the axes are, and when the storm was."""
    start, end = seen["calm"], seen["calm"] + seen["rough"]
    axes.axvspan(start, end, color=GREY, alpha=0.12, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(0.3, 20000)
    axes.set_xlim(0, end + seen["calm"])
    axes.set_yticks([1, 10, 100, 1000, 10000],
                    ["1 ms", "10 ms", "100 ms", "1 s", "10 s"])
    axes.set_xlabel("seconds; grey: 8 clients sign in without a pause")
    axes.set_title("How long GET /profile takes, 40 a second", loc="left")
    axes.grid(axis="y", alpha=0.3)


# -- Growth

LINES: Tuple[Tuple[str, str, str], ...] = (
    ("no index", ORANGE, "a walk through the table, as students write it"),
    ("PostgreSQL", GREEN, "ours, PostgreSQL"), ("SQLite", BLUE,
                                                "ours, SQLite"))


def growth_picture(data: Data) -> Figure:
    """Draw what a read takes against how many users there are."""
    figure = Figure(figsize=(7.6, 3.8), layout="constrained")
    axes, sizes = figure.add_subplot(), sizes_of(data)
    for store, colour, label in LINES:
        points = [(size, found) for size, found in (
            (size, median(rounds(data, "bench.growth", "{}, {}".format(
                store, size)), "read.p50_ms")) for size in sizes)
            if found is not None]
        if points:
            axes.plot([each[0] for each in points],
                      [each[1] for each in points], "o-", color=colour,
                      label=label, markersize=5)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, ["{:,}".format(each).replace(",", " ")
                            for each in sizes])
    axes.minorticks_off()
    axes.set_ylim(0.1, 100)
    axes.set_yticks([0.1, 1, 10, 100], ["0.1 ms", "1 ms", "10 ms", "100 ms"])
    axes.set_xlabel("users; three sessions each")
    axes.set_title("What GET /profile takes, one at a time, p50", loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="upper left", frameon=False)
    return figure
