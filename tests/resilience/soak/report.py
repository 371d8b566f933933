"""The campaign's table and JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
from dataclasses import asdict
from datetime import UTC, datetime

from tests.resilience.soak.count import Count
from tests.resilience.soak.faults import Faults
from tests.resilience.soak.flow import Flow
from tests.resilience.soak.kills import Kills
from tests.resilience.soak.memory import Line, MemoryWatch

from fedproc.demo.broker import other_root, version

_SHOWN = 20


def write(
    given: argparse.Namespace,
    found: Count,
    flow: Flow,
    kills: Kills,
    faults: Faults,
    memory: MemoryWatch,
    seconds: float,
) -> str:
    """Write ``soak.md`` and ``soak.json`` into the folder given; returns the table."""
    lines = memory.lines()
    text = _head(given, found, flow, kills, faults, seconds) + _memory(lines) + _wrong(found, flow, faults)
    (given.out / "soak.md").write_text(text)
    content = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "broker": version(other_root()),
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "seed": given.seed,
        "seconds": round(seconds),
        "wanted": flow.wanted,
        "submitted": flow.submitted,
        "count": asdict(found),
        "faults": flow.errors,
        "job_seconds": _spread(flow.seconds),
        "kills": {"by_program": dict(kills.by_program), "times": kills.times},
        "acts": dict(faults.by_kind),
        "gone": faults.gone,
        "turned_away": len(flow.turned_away),
        "memory": [asdict(line) for line in lines],
        "samples": [list(asdict(sample).values()) for sample in memory.samples],
    }
    (given.out / "soak.json").write_text(json.dumps(content) + "\n")
    return text


def _head(given: argparse.Namespace, found: Count, flow: Flow, kills: Kills, faults: Faults, seconds: float) -> str:
    spread = _spread(flow.seconds)
    killed = ", ".join(f"{name} {number}" for name, number in sorted(kills.by_program.items()))
    acted = ", ".join(f"{name} {number}" for name, number in sorted(faults.by_kind.items()))
    short = "" if flow.submitted == flow.wanted else f" (the time was over; {flow.wanted:,} were wanted)"
    return (
        f"{found.jobs:,} jobs{short} in {seconds / 60:.0f} minutes, {given.at_once} under way at a time, on "
        f"{os.cpu_count()} CPUs, RabbitMQ {version(other_root())}; seed {given.seed}. "
        f"A job took {spread['median']} s (median; 99 % below {spread['p99']} s).\n{kills.total} kills: {killed}. "
        f"Acts of people: {acted}. Gone for good: {', '.join(faults.gone) or 'no host'}.\n\n"
        "| succeeded | ended as a fault would have it | lost | doubled | stuck | wrong | left behind |\n"
        "|---|---|---|---|---|---|---|\n"
        f"| {found.succeeded:,} | {found.explained:,} | {len(found.lost)} | {len(found.doubled)} | "
        f"{len(found.stuck)} | {len(found.wrong)} | {len(found.left)} |\n"
    )


def _spread(seconds: list[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"median": 0.0, "p99": 0.0, "most": 0.0}
    p99 = statistics.quantiles(seconds, n=100)[98]
    return {"median": round(statistics.median(seconds), 1), "p99": round(p99, 1), "most": round(max(seconds), 1)}


def _memory(lines: list[Line]) -> str:
    head = (
        "\nResident memory in MiB. Grown: from the second to the last quarter of the longest life, and while how many "
        "jobs of the whole federation ended.\n\n"
        "| program | lives | first | median | most | last | grown | jobs meanwhile |\n"
        "|---|---|---|---|---|---|---|---|\n"
    )
    return head + "".join(
        f"| {line.program} | {line.lives} | {line.first:.0f} | {line.median:.0f} | {line.most:.0f} | {line.last:.0f} | "
        f"{'-' if line.grown is None else f'{line.grown:+.1f}'} | {line.jobs:,} |\n"
        for line in lines
    )


def _wrong(found: Count, flow: Flow, faults: Faults) -> str:
    groups = {"lost": found.lost, "doubled": found.doubled, "stuck": found.stuck, "wrong": found.wrong}
    groups |= {"left behind": found.left, "faults of the campaign itself": flow.errors + faults.errors}
    return "".join(
        f"\n{name}:\n\n" + "".join(f"- {text}\n" for text in texts[:_SHOWN]) for name, texts in groups.items() if texts
    )
