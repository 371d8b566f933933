"""The survival curve as one PNG file, drawn by matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from life_tables.survival import Median, Point

mpl.use("agg")
mpl.rcParams.update({"font.size": 10, "savefig.dpi": 150})
from matplotlib.axes import Axes  # noqa: E402 (the back end first)
from matplotlib.figure import Figure  # noqa: E402

MOST_COUNTS = 9
"""numbers of persons at risk below the axis"""
UNITS = {"d": "days", "wk": "weeks", "mo": "months", "a": "years"}
"""UCUM's codes, in words"""


def write_plot(
    path: Path, points: Sequence[Point], middle: Median, hosts: Sequence[str], unit: str, event: str
) -> None:
    """The life table with its 95 % band, the range of the exact Kaplan-Meier estimate, and the persons at risk."""
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    curve, counts = figure.subplots(2, 1, height_ratios=(8, 1), sharex=True)
    _draw_curve(curve, points, middle, unit)
    title = f"Survival (until {event}): {points[0].bin.at_risk} persons at {', '.join(hosts)}"
    figure.suptitle(title, fontsize=11, wrap=True)
    _draw_counts(counts, points, unit)
    figure.savefig(path, metadata={"Software": None})


def _draw_curve(axes: Axes, points: Sequence[Point], middle: Median, unit: str) -> None:
    times = [0.0, *(point.bin.time for point in points)]
    lower, upper = ([1.0, *(_bound(point, side) for point in points)] for side in ("lower", "upper"))
    axes.fill_between(times, lower, upper, color="#1b5e9b", alpha=0.15, lw=0, label="95 % confidence interval")
    axes.plot(times, [1.0, *(p.survival for p in points)], color="#1b5e9b", marker=".", label="life-table estimate")
    between = ([1.0, *(p.lowest for p in points)], [1.0, *(p.highest for p in points)])
    for bounds, label in zip(between, ("range of the Kaplan-Meier estimate of exact times", None), strict=True):
        axes.plot(times, bounds, color="#a33", lw=0.8, ls=":", label=label)
    if middle.estimate is not None:
        label = f"median {middle.estimate:.4g} {_words(unit)}".rstrip()
        axes.plot([0, middle.estimate, middle.estimate], [0.5, 0.5, 0], color="#666", lw=0.8, ls="--", label=label)
    axes.set(ylim=(0, 1.02), xlim=(0, times[-1]), ylabel="survival probability")
    axes.grid(color="#ddd", lw=0.6)
    axes.legend(loc="best", frameon=False, fontsize=9)


def _draw_counts(axes: Axes, points: Sequence[Point], unit: str) -> None:
    """Persons at risk at the beginning of bins, below the times at which they begin."""
    every = math.ceil(len(points) / MOST_COUNTS)
    starts = [0.0, *(point.bin.time for point in points)]
    for start, point in list(zip(starts, points, strict=False))[::every]:
        axes.text(start, 0.5, str(point.bin.at_risk), ha="center", va="center", clip_on=False)
    axes.set(ylim=(0, 1), yticks=[], xlabel=f"time ({_words(unit)})" if unit else "time")
    axes.set_title("persons at risk", loc="left", fontsize=9, pad=2)
    axes.spines[["top", "left", "right"]].set_visible(False)


def _bound(point: Point, side: str) -> float:
    bound = getattr(point, side)
    return point.survival if bound is None else float(bound)


def _words(unit: str) -> str:
    return UNITS.get(unit, unit)
