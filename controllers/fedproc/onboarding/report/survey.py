"""The capabilities of a federation: the reports of all its hosts side by side, as a table and as a page.

Pure functions for whoever keeps the reports. A report may come from an older program or be damaged: its host is
listed all the same, with what is wrong.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fedproc.onboarding.model import formatting
from fedproc.onboarding.model.facts import (
    CpuFacts,
    DiskFacts,
    EngineFacts,
    Facts,
    Gpu,
    GpuFacts,
    MemoryFacts,
    SystemFacts,
)
from fedproc.onboarding.model.report import Report, Verdict, from_json
from fedproc.onboarding.report import markup
from fedproc.onboarding.rules import gpu as gpus

Entry = tuple[str, Any]
HEADS = (
    "Host",
    "Checked",
    "Profile",
    "Verdict",
    "GPUs",
    "RAM",
    "CPU",
    "Free disk",
    "System",
    "Containers",
    "Missed",
    "Not told",
)
WIDTHS = (8, 9, 7, 12, 11, 6, 7, 7, 8, 9, 9, 7)
BELOW = -2
"""columns from this one on stand below a host's row in a terminal, if there is anything in them"""
NOTHING = "nothing"
NOT_KNOWN = "could not tell"
TEXT_WIDTH = 130


@dataclass(frozen=True)
class Row:
    """One host; ``verdict`` is ``None`` where there is no readable report, and ``note`` says why."""

    host: str
    verdict: Verdict | None
    cells: tuple[str, ...] = ()
    note: str = ""


def rows(entries: Iterable[Entry]) -> list[Row]:
    """One row per ``(host id, report as JSON or None)``, by host id."""
    return [_row(host, data) for host, data in sorted(entries, key=lambda entry: entry[0])]


def render_text(entries: Iterable[Entry]) -> str:
    """A table for a terminal; what a host misses, and what it could not tell, stands below its row."""
    found = rows(entries)
    table = [HEADS[:BELOW], *((row.host, *row.cells[:BELOW]) for row in found if row.cells)]
    widths = [max(len(line[n]) for line in table) for n in range(len(table[0]))]
    widths[0] = max(len(row.host) for row in (*found, Row(HEADS[0], None)))
    rule = "  ".join("-" * width for width in widths)
    body = [line for row in found for line in _text_lines(row, widths)]
    return "\n".join([_columns(table[0], widths), rule, *body, "", summary(found)]) + "\n"


def _text_lines(row: Row, widths: list[int]) -> list[str]:
    indent = " " * (widths[0] + 2)
    if not row.cells:
        return textwrap.wrap(f"{row.host.ljust(widths[0])}  {row.note}", TEXT_WIDTH, subsequent_indent=indent)
    lines = [_columns((row.host, *row.cells[:BELOW]), widths)]
    for head, cell in zip(("missed", NOT_KNOWN), row.cells[BELOW:], strict=True):
        if cell != NOTHING:
            text = f"{indent}{head}: {cell}"
            lines += textwrap.wrap(text, TEXT_WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False)
    return lines


def _columns(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def render_html(entries: Iterable[Entry]) -> str:
    """A whole HTML document without anything from elsewhere."""
    found = rows(entries)
    table = markup.table("Hosts of the federation", WIDTHS, HEADS, [_html_row(row) for row in found])
    title = "Capabilities of the federation"
    return markup.document(title, f"<h1>{title}</h1>\n<p>{markup.text(summary(found))}</p>\n{table}")


def summary(found: list[Row]) -> str:
    """All hosts in one sentence."""
    able = sum(1 for row in found if row.verdict in (Verdict.RECOMMENDED, Verdict.MINIMUM))
    failing = sum(1 for row in found if row.verdict is Verdict.FAILS)
    silent = sum(1 for row in found if row.verdict is None)
    untold = len(found) - able - failing - silent
    return (
        f"{len(found)} hosts: {able} meet their profile, {failing} do not, {untold} could not tell, "
        f"{silent} without a report."
    )


def _row(host: str, data: Any) -> Row:
    if data is None:
        return Row(host, None, note="no report yet")
    try:
        report = from_json(data)
    except ValueError as error:
        return Row(host, None, note=formatting.printable(f"report cannot be read: {error}"))
    return Row(formatting.printable(host), report.verdict, _report_cells(report))


def _report_cells(report: Report) -> tuple[str, ...]:
    missed = [line.id for line in report.lines if line.verdict in (Verdict.MINIMUM, Verdict.FAILS)]
    untold = [line.id for line in report.lines if line.verdict is Verdict.UNKNOWN]
    cells = (*_machine_cells(report.facts), ", ".join(missed) or NOTHING, ", ".join(untold) or NOTHING)
    first = (formatting.when(report.time), report.profile.id, report.verdict.label)
    return tuple(map(formatting.printable, (*first, *cells)))


def _machine_cells(facts: Facts) -> tuple[str, ...]:
    return (
        _gpus(facts.gpu.gpus) if isinstance(facts.gpu, GpuFacts) and facts.gpu.state != "unknown" else NOT_KNOWN,
        formatting.gib(facts.memory.total_bytes) if isinstance(facts.memory, MemoryFacts) else NOT_KNOWN,
        f"{facts.cpu.threads} threads" if isinstance(facts.cpu, CpuFacts) else NOT_KNOWN,
        formatting.gb(facts.disk.work.free_bytes) if isinstance(facts.disk, DiskFacts) else NOT_KNOWN,
        f"{facts.os.id} {facts.os.version}" if isinstance(facts.os, SystemFacts) else NOT_KNOWN,
        _engines(facts.container) if isinstance(facts.container, EngineFacts) else NOT_KNOWN,
    )


def _gpus(found: tuple[Gpu, ...]) -> str:
    """``2 x NVIDIA A10 (22.5 GiB)``: equal ones together, with what one program can use."""
    kinds: dict[str, int] = {}
    for device in found:
        size = gpus.memory(device)
        name = f"{device.name} ({formatting.gib(size)})" if size is not None else f"{device.name} (cannot be used)"
        kinds[name] = kinds.get(name, 0) + 1
    return "; ".join(f"{count} x {name}" for name, count in kinds.items()) or "none"


def _engines(found: EngineFacts) -> str:
    return ", ".join(f"{e.name} {e.version}" for e in found.engines if e.state == "usable") or "none that works"


def _html_row(row: Row) -> str:
    head = f'<tr><th scope="row">{markup.text(row.host)}</th>'
    if row.verdict is None:
        return f'{head}<td colspan="{len(HEADS) - 1}">{markup.text(row.note)}</td></tr>'
    before, after = row.cells[:2], row.cells[3:]
    cells = [f"<td>{markup.text(cell)}</td>" for cell in before]
    cells += [markup.verdict_cell(row.verdict), *(f"<td>{markup.text(cell)}</td>" for cell in after)]
    return f"{head}{''.join(cells)}</tr>"
