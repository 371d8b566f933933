"""The report as a page that a hospital can print and file."""

from __future__ import annotations

from itertools import groupby

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.report import Line, Report
from fedproc.onboarding.report import overview
from fedproc.onboarding.report.markup import document, table, text, verdict_cell
from fedproc.onboarding.report.text import HEADINGS

WIDTHS = (13, 23, 29, 21, 14)
HEADS = ("Verdict", "Requirement", "Measured", "What to do", "Source")


def render(report: Report) -> str:
    """A whole HTML document without anything from elsewhere."""
    title = f"Host check of {report.host}"
    parts = [f"<h1>{text(title)}</h1>\n", _about(report), _conclusion(report)]
    groups = groupby(report.lines, key=lambda line: line.topic)
    parts.append(table("Requirements", WIDTHS, HEADS, [_group(topic, list(lines)) for topic, lines in groups]))
    parts += ["<section>\n", _machine(report), _foot(report), _signature(), "</section>\n"]
    return document(title, "".join(parts))


def _about(report: Report) -> str:
    when = f'<time datetime="{text(report.time)}">{text(formatting.when(report.time))}</time>'
    profile = f"{text(report.profile.id)}: {text(report.profile.title)}"
    return f"<p>Checked {when}. Profile {profile}.</p>\n"


def _conclusion(report: Report) -> str:
    return f'<p class="conclusion {report.verdict.value}">{text(overview.conclusion(report))}</p>\n'


def _group(topic: str, lines: list[Line]) -> str:
    heading = text(HEADINGS.get(topic, topic))
    head = f'<tr class="group"><th scope="rowgroup" colspan="{len(HEADS)}">{heading}</th></tr>'
    return f"<tbody>{head}{''.join(map(_row, lines))}</tbody>"


def _row(line: Line) -> str:
    cells = (line.measured, line.cure or "nothing", line.source)
    rest = "".join(f"<td>{text(cell)}</td>" for cell in cells)
    return f'<tr>{verdict_cell(line.verdict)}<th scope="row">{text(line.requirement)}</th>{rest}</tr>'


def _machine(report: Report) -> str:
    rows = [f'<tr><th scope="row">{text(a)}</th><td>{text(b)}</td></tr>' for a, b in overview.rows(report.facts)]
    if not rows:
        return ""
    return "<h2>This machine</h2>\n" + table("What was measured", (13, 87), ("Part", "Measured"), rows)


def _foot(report: Report) -> str:
    stamp = f"{report.program}, {report.seconds:.1f} s, profile SHA-256 {report.profile.sha256}"
    return f"<p>{text(stamp)}</p>\n"


def _signature() -> str:
    return '<div class="sign"><p>Name</p><p>Date</p><p>Signature</p></div>\n'
