"""The survival curve as one SVG file that needs nothing else: no script, no font, no link."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from survival import Point

WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 56, 90
STYLE = (
    "text{font:12px sans-serif;fill:#222}.title{font-size:15px}.curve{fill:none;stroke:#1b5e9b;stroke-width:2}"
    ".life{fill:none;stroke:#a33;stroke-dasharray:5 4}.band{fill:#1b5e9b;fill-opacity:.15}"
    ".axis{stroke:#444}.grid{stroke:#ddd}"
)


def survival_plot(points: Sequence[Point], hosts: Sequence[str]) -> str:
    """The curve with its 95 % band and the persons at risk below the time axis."""
    frame = _Frame(points[-1].bin.time)
    summary = f"{points[0].bin.at_risk} persons at {', '.join(hosts)}; survival {points[-1].survival:.3f} at the end"
    body = [
        f"<title>Kaplan-Meier estimate</title><desc>{escape(summary)}</desc><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text class="title" x="{LEFT}" y="24">Kaplan-Meier estimate, {escape(summary)}</text>',
        *frame.axes(),
        *frame.at_risk(points),
        f'<path class="band" d="{frame.band(points)}"/>',
        f'<path class="curve" d="{frame.steps((p.bin.time, p.survival) for p in points)}"/>',
        f'<path class="life" d="{frame.line((p.bin.time, p.life_table) for p in points)}"/>',
        f'<text x="{LEFT}" y="40">solid: on the grid, with 95 % interval; dashed: life-table estimate</text>',
    ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return "\n".join((head, *body, "</svg>\n"))


class _Frame:
    """Where a time and a probability lie on the drawing."""

    def __init__(self, end: float) -> None:
        self._end = end

    def steps(self, levels: Iterable[tuple[float, float]]) -> str:
        """A path that stays at 1 and falls to each level at its time."""
        path = [f"M{self._x(0)},{self._y(1)}"]
        for time, level in levels:
            path.append(f"H{self._x(time)}V{self._y(level)}")
        return "".join(path)

    def line(self, levels: Iterable[tuple[float, float]]) -> str:
        """A straight path from 1 through each level at its time."""
        return f"M{self._x(0)},{self._y(1)}" + "".join(f"L{self._x(time)},{self._y(level)}" for time, level in levels)

    def band(self, points: Sequence[Point]) -> str:
        upper = self.steps((p.bin.time, p.survival if p.upper is None else p.upper) for p in points)
        lower = [(p.bin.time, p.survival if p.lower is None else p.lower) for p in points]
        back = [f"V{self._y(level)}H{self._x(time)}" for time, level in reversed(lower)]
        return f"{upper}{''.join(back)}V{self._y(1)}Z"

    def axes(self) -> Iterable[str]:
        for tenth in range(0, 11, 2):
            y = self._y(tenth / 10)
            yield f'<path class="grid" d="M{LEFT},{y}H{WIDTH - RIGHT}"/>'
            yield f'<text x="{LEFT - 8}" y="{y}" dy="4" text-anchor="end">{tenth / 10:.1f}</text>'
        yield f'<path class="axis" d="M{LEFT},{TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" fill="none"/>'
        for tick in _ticks(self._end):
            yield self._below(tick, 18, f"{tick:g}")
        yield f'<text x="{LEFT}" y="{HEIGHT - BOTTOM + 40}">time</text>'

    def at_risk(self, points: Sequence[Point]) -> Iterable[str]:
        yield f'<text x="{LEFT}" y="{HEIGHT - BOTTOM + 62}">persons at risk</text>'
        every = math.ceil(len(points) / 12)
        starts = (0.0, *(point.bin.time for point in points))
        for start, point in list(zip(starts, points, strict=False))[::every]:
            yield self._below(start, 80, str(point.bin.at_risk))

    def _below(self, time: float, offset: int, text: str) -> str:
        return f'<text x="{self._x(time)}" y="{HEIGHT - BOTTOM + offset}" text-anchor="middle">{text}</text>'

    def _x(self, time: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * time / self._end, 2)

    def _y(self, level: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - level), 2)


def _ticks(end: float) -> list[float]:
    rough = end / 8
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= rough)
    return [step * index for index in range(int(end / step) + 1)]
