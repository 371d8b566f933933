"""The engine in a process of its own: no tool's output holds up, fills or ends the orchestrator with it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.findings import Finding, Result
from fedproc.site.policy.engine.known import Known, needed_for
from fedproc.site.policy.engine.warm import ForkServer, ServerGoneError

log = get_logger(__name__)

_RULES = {rule.id: rule for rule in rules.RULES}
_ATTEMPTS = 3
SERVER = ForkServer()
"""of this process; starts nothing before the first output"""


@dataclass(frozen=True)
class Limits:
    """Of the process that looks at all outputs of one job. What it has not come to by then waits for a person."""

    cpu_seconds: int = 60
    wall_seconds: float = 300.0
    memory_bytes: int = 1 << 30


def inspect_apart(
    outputs: Sequence[OutputDecl], sealed: Path, floor: int, known: Known, flag: StopFlag, limits: Limits | None = None
) -> list[Finding]:
    """What the rules have against each output, whose files lie in ``sealed``/NAME; blocks.

    An output that could not be looked at within the limits has a finding that says so. Raises StoppedError once
    ``flag`` is set, and :class:`OSError`.
    """
    limits = limits or Limits()
    if not outputs:
        return []
    asked = json.dumps(_asked(outputs, sealed, floor, known, limits)).encode() + b"\n"
    code, raw = ran(asked, flag, time.monotonic() + limits.wall_seconds)
    entries = _told(raw)
    return [finding for output in outputs for finding in _of(output, entries.get(output.name), code)]


def _asked(outputs: Sequence[OutputDecl], sealed: Path, floor: int, known: Known, limits: Limits) -> dict[str, Any]:
    declared = [output.model_dump(mode="json", by_alias=True) for output in outputs]
    text = json.dumps(declared)
    return {
        "outputs": declared,
        "sealed": str(sealed),
        "floor": floor,
        "known": {name: list(known.values(name)) for name in needed_for(text) & known.sources.keys()},
        "elsewhere": known.elsewhere,
        "cpu_seconds": limits.cpu_seconds,
        "memory_bytes": limits.memory_bytes,
    }


def ran(asked: bytes, flag: StopFlag, end: float) -> tuple[int | None, bytes]:
    """The exit code, None if it took too long, and the answer as far as it came.

    Whoever ended the fork server meant another job, or nobody: the question is asked again, but not for ever.
    """
    answered: tuple[int | None, bytes] = None, b""
    for _ in range(_ATTEMPTS):
        with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answer:
            question.write(asked)
            question.seek(0)
            try:
                code = SERVER.run(question, answer, flag, end)
                return code, _whole(answer)
            except ServerGoneError as error:
                log.warning("release.checker_gone", reason=str(error))
                answered = None, _whole(answer)
    return answered


def _whole(answer: IO[bytes]) -> bytes:
    answer.seek(0)
    return answer.read()


def _told(raw: bytes) -> dict[str, list[list[str]]]:
    """By output; a line that was not ended says nothing."""
    lines = [json.loads(line) for line in raw.split(b"\n")[:-1]]
    return {line["output"]: line["findings"] for line in lines}


def _of(output: OutputDecl, entries: list[list[str]] | None, code: int | None) -> list[Finding]:
    if entries is None:
        log.error("release.not_checked", output=output.name, exit_code=code)
        text = "it could not be checked: the rules ended, or took too long or too much memory, over these outputs"
        return [Finding(output.name, rules.CHECKED, Result.review, text)]
    return [Finding(output.name, _RULES[rule], Result(result), text) for rule, result, text in entries]
