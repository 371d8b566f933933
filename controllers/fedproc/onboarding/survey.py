"""The capabilities of a federation: the reports of all its hosts side by side, as a table and as a page.

Pure functions for whoever keeps the reports. A report may come from an older program or be damaged: its host is
listed all the same, with what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from fedproc.onboarding import markup, words
from fedproc.onboarding.facts import (
    CpuFacts,
    DiskFacts,
    EngineFacts,
    Facts,
    Gpu,
    GpuFacts,
    MemoryFacts,
    SystemFacts,
)
from fedproc.onboarding.judges import gpu as gpus
from fedproc.onboarding.report import Report, Verdict, from_json

Entry = tuple[str, Any]
HEADS = ("Host", "Checked", "Profile", "Verdict", "GPUs", "RAM", "CPU", "Free disk", "System", "Containers", "Missed")
WIDTHS = (8, 9, 7, 9, 14, 6, 7, 7, 10, 9, 14)
VERDICTS = (Verdict.RECOMMENDED, Verdict.MINIMUM, Verdict.FAILS)
UNTOLD = "could not tell"


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
    """A table for a terminal; columns are as wide as their content."""
    found = rows(entries)
    table = [HEADS, *((row.host, *_cells(row)) for row in found)]
    widths = [max(len(line[n]) for line in table) for n in range(len(HEADS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    rule = "  ".join("-" * width for width in widths)
    return "\n".join([lines[0], rule, *lines[1:], "", summary(found)]) + "\n"


def render_html(entries: Iterable[Entry]) -> str:
    """A whole HTML document without anything from elsewhere."""
    found = rows(entries)
    table = markup.table("Hosts of the federation", WIDTHS, HEADS, [_html_row(row) for row in found])
    title = "Capabilities of the federation"
    return markup.document(title, f"<h1>{title}</h1>\n<p>{markup.text(summary(found))}</p>\n{table}")


def summary(found: list[Row]) -> str:
    """All hosts in one sentence."""
    able = sum(1 for row in found if row.verdict in (Verdict.RECOMMENDED, Verdict.MINIMUM))
    silent = sum(1 for row in found if row.verdict is None)
    others = len(found) - able - silent
    return f"{len(found)} hosts: {able} meet their profile, {others} do not, {silent} without a report."


def _row(host: str, data: Any) -> Row:
    if data is None:
        return Row(host, None, note="no report yet")
    try:
        report = from_json(data)
    except ValueError as fault:
        return Row(host, None, note=f"report cannot be read: {fault}")
    return Row(words.printable(host), VERDICTS[report.exit_code], _report_cells(report))


def _report_cells(report: Report) -> tuple[str, ...]:
    missed = [line.id for line in report.lines if line.verdict is not Verdict.RECOMMENDED]
    cells = (*_machine_cells(report.facts), ", ".join(missed) or "nothing")
    verdict = VERDICTS[report.exit_code].words
    return tuple(map(words.printable, (words.when(report.time), report.profile.id, verdict, *cells)))


def _machine_cells(facts: Facts) -> tuple[str, ...]:
    return (
        _gpus(facts.gpu.gpus) if isinstance(facts.gpu, GpuFacts) and facts.gpu.state != "unknown" else UNTOLD,
        words.gib(facts.memory.total_bytes) if isinstance(facts.memory, MemoryFacts) else UNTOLD,
        f"{facts.cpu.threads} threads" if isinstance(facts.cpu, CpuFacts) else UNTOLD,
        words.gb(facts.disk.work.free_bytes) if isinstance(facts.disk, DiskFacts) else UNTOLD,
        f"{facts.os.id} {facts.os.version}" if isinstance(facts.os, SystemFacts) else UNTOLD,
        _engines(facts.container) if isinstance(facts.container, EngineFacts) else UNTOLD,
    )


def _gpus(found: tuple[Gpu, ...]) -> str:
    """``2 x NVIDIA A10 (22.5 GiB)``: equal ones together, with what one program can use."""
    kinds: dict[str, int] = {}
    for device in found:
        size = gpus.memory(device)
        name = f"{device.name} ({words.gib(size)})" if size is not None else f"{device.name} (cannot be used)"
        kinds[name] = kinds.get(name, 0) + 1
    return "; ".join(f"{count} x {name}" for name, count in kinds.items()) or "none"


def _engines(found: EngineFacts) -> str:
    return ", ".join(f"{e.name} {e.version}" for e in found.engines if e.state == "usable") or "none that works"


def _cells(row: Row) -> tuple[str, ...]:
    return row.cells or ("", "", row.note, *[""] * (len(HEADS) - 4))


def _html_row(row: Row) -> str:
    head = f'<tr><th scope="row">{markup.text(row.host)}</th>'
    if row.verdict is None:
        return f'{head}<td colspan="{len(HEADS) - 1}">{markup.text(row.note)}</td></tr>'
    before, after = row.cells[:2], row.cells[3:]
    cells = [f"<td>{markup.text(cell)}</td>" for cell in before]
    cells += [markup.verdict_cell(row.verdict), *(f"<td>{markup.text(cell)}</td>" for cell in after)]
    return f"{head}{''.join(cells)}</tr>"
