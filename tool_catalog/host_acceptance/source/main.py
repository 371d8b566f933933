"""One job that looks at its host from inside: what it can reach, see and use.

Writes ``report.json`` first, then works for as long as the parameter ``seconds`` says, telling its progress, and
ends with the exit code that the parameter ``exit_code`` says, whatever was found. With a message on standard error:
1 the output cannot be written, 2 the parameters cannot be used, 3 something is not as expected, if the parameter
``fail_on_findings`` asks for that.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import files
import machine
import network
import privileges
from findings import Finding, Job, run, short

CHECKS = (*privileges.CHECKS, *files.CHECKS, *network.CHECKS, *machine.CHECKS)
ADDRESS = re.compile(r"^(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}$")
KNOWN = frozenset({"seconds", "exit_code", "probe_addresses", "fail_on_findings"})
TICK = 1.0
"""seconds between two lines of progress"""


class BadParameters(Exception):
    """The parameters cannot be used; the text names the one that is wrong."""


def main(arguments: list[str] | None = None) -> int:
    """Look, report, work; returns the exit code that was asked for."""
    options = _parser().parse_args(arguments)
    try:
        asked = _parameters(options.parameters)
    except BadParameters as fault:
        print(f"host-acceptance: parameters: {fault}", file=sys.stderr)
        return 2
    job = Job(options.job, options.input, Path.cwd(), asked.addresses)
    findings = list(run(CHECKS, job))
    try:
        _write(options.output / "report.json", options.host, job, findings)
        _summarise(options.host, findings)
        _work(asked.seconds, options.metrics)
    except OSError as fault:
        print(f"host-acceptance: {fault.filename or 'output'}: {fault.strerror}", file=sys.stderr)
        return 1
    if asked.fail_on_findings and not all(finding.ok for finding in findings):
        return 3
    return asked.exit_code


@dataclass(frozen=True)
class Asked:
    """The parameters."""

    seconds: float
    exit_code: int
    addresses: tuple[str, ...]
    fail_on_findings: bool


def _parameters(path: Path) -> Asked:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise BadParameters(f"cannot read {path.name}: {fault}") from fault
    if not isinstance(given, dict) or not given.keys() <= KNOWN:
        raise BadParameters(f"known are {', '.join(sorted(KNOWN))}")
    seconds, exit_code = given.get("seconds", 0), given.get("exit_code", 0)
    if not _is_number(seconds) or not 0 <= seconds <= 3_600:
        raise BadParameters("seconds: must be a number from 0 to 3600")
    if not _is_number(exit_code) or exit_code not in range(256):
        raise BadParameters("exit_code: must be a whole number from 0 to 255")
    strict = given.get("fail_on_findings", False)
    if not isinstance(strict, bool):
        raise BadParameters("fail_on_findings: must be true or false")
    return Asked(float(seconds), int(exit_code), _addresses(given.get("probe_addresses", [])), strict)


def _addresses(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 50:
        raise BadParameters("probe_addresses: must be a list of at most 50 texts host:port")
    for entry in value:
        if not isinstance(entry, str) or not ADDRESS.match(entry) or int(entry.rpartition(":")[2]) > 65_535:
            raise BadParameters("probe_addresses: each must be a text host:port")
    return tuple(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _write(path: Path, host: str, job: Job, findings: list[Finding]) -> None:
    failed = [finding.check for finding in findings if not finding.ok]
    report = {
        "schema_version": 2,
        "status": "findings" if failed else "ok",
        "host": host,
        "job": job.id,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "failed": [short(check) for check in failed],
        "findings": [{name: short(value) for name, value in asdict(finding).items()} for finding in findings],
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _summarise(host: str, findings: list[Finding]) -> None:
    failed = [finding for finding in findings if not finding.ok]
    for finding in failed:
        print(f"NOT OK {finding.check}: expected {finding.expected}; found {finding.found}")
    print(f"{host}: {len(findings)} things looked at, {len(failed)} not as expected", flush=True)


def _work(seconds: float, metrics: Path) -> None:
    began = time.monotonic()
    with metrics.open("a", encoding="utf-8") as stream:
        for tick in range(1, math.ceil(seconds / TICK) + 1):
            time.sleep(max(0.0, min(tick * TICK, seconds) - (time.monotonic() - began)))
            stream.write(json.dumps({"round": tick, "seconds": round(time.monotonic() - began, 3)}) + "\n")
            stream.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--job", required=True)
    for name in ("parameters", "input", "output", "metrics"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser


if __name__ == "__main__":
    sys.exit(main())
