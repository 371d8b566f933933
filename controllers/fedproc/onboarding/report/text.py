"""The report for a terminal. No colour carries a meaning that a word does not carry too."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from itertools import groupby

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.report import Line, Report, Verdict
from fedproc.onboarding.report import overview

MARKS = {Verdict.RECOMMENDED: "✓", Verdict.MINIMUM: "≈", Verdict.FAILS: "✗", Verdict.UNKNOWN: "?"}
PLAIN_MARKS = {Verdict.RECOMMENDED: "+", Verdict.MINIMUM: "~", Verdict.FAILS: "x", Verdict.UNKNOWN: "?"}
COLOURS = {Verdict.RECOMMENDED: "36", Verdict.MINIMUM: "34", Verdict.FAILS: "1;31", Verdict.UNKNOWN: "1;35"}
HEADINGS = {
    "gpu": "GPU",
    "cpu": "Processors",
    "memory": "Memory",
    "disk": "Disks",
    "os": "Operating system",
    "container": "Containers",
    "network": "Network",
    "data-api": "Data API",
    "credentials": "Key and certificates",
}
NARROWEST = 60
LABEL_WIDTH = 12


@dataclass(frozen=True)
class Style:
    """What the terminal can do. ``width`` in columns."""

    width: int = 100
    colour: bool = False
    unicode: bool = True


def render(report: Report, style: Style) -> str:
    """The whole report, ending in a newline."""
    parts = [_head(report, style)]
    for topic, lines in groupby(report.lines, key=lambda line: line.topic):
        parts.append("\n".join([HEADINGS.get(topic, topic), *(_line(line, style) for line in lines)]))
    if machine := overview.rows(report.facts):
        parts.append("\n".join(["This machine", *(_labelled(label, text, style) for label, text in machine)]))
    parts.append(_fold(overview.conclusion(report), style, "", ""))
    return _plain("\n\n".join(parts) + "\n", style)


def _head(report: Report, style: Style) -> str:
    first = f"Host check of {report.host}, {formatting.when(report.time)} ({report.seconds:.1f} s, {report.program})"
    second = f"Profile {report.profile.id}: {report.profile.title}"
    return "\n".join((_fold(first, style, "", ""), _fold(second, style, "", "")))


def _line(line: Line, style: Style) -> str:
    mark = (MARKS if style.unicode else PLAIN_MARKS)[line.verdict]
    verdict = f"{mark} {line.verdict.label}"
    title = _fold(f"{verdict:<20}{line.requirement}", style, "  ", " " * 22)
    if style.colour:
        title = title.replace(verdict, f"\x1b[{COLOURS[line.verdict]}m{verdict}\x1b[0m", 1)
    rest = [("measured", line.measured), ("what to do", line.cure), ("source", line.source)]
    return "\n".join([title, *(_labelled(label, text, style) for label, text in rest if text)])


def _labelled(label: str, text: str, style: Style) -> str:
    indent = " " * (4 + LABEL_WIDTH)
    return _fold(f"{label + ':':<{LABEL_WIDTH}}{text}", style, "    ", indent)


def _fold(text: str, style: Style, first: str, rest: str) -> str:
    width = max(style.width, NARROWEST)
    return textwrap.fill(
        formatting.printable(text), width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _plain(text: str, style: Style) -> str:
    return text if style.unicode else text.encode("ascii", "replace").decode("ascii")
