"""Outputs against the rules, in a process of its own with limits, which it sets for itself.

It reads one line of JSON from :mod:`fedproc.site.policy.engine.apart` and writes one for each output:
``{"output": name, "findings": [[rule, result, text], ...]}``. A message of a connection follows on its line
(:mod:`fedproc.site.policy.engine.messages`).
"""

from __future__ import annotations

import importlib
import json
import os
import resource
from pathlib import Path
from typing import Any, BinaryIO

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.messages import MessageDecl
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine.engine import inspect_all
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.engine.message_rules import answer_message


def load() -> None:
    """Load and build what is loaded and built at its first use otherwise: in each process anew."""
    importlib.import_module("jsonschema")
    OutputDecl.model_rebuild()
    MessageDecl.model_rebuild()


def inspect(question: BinaryIO, answer: BinaryIO) -> None:
    """Answer the question. The limits stay: the process is of no use for anything else afterwards."""
    asked = json.loads(question.readline())
    _limit(resource.RLIMIT_CPU, asked["cpu_seconds"])
    _limit(resource.RLIMIT_AS, asked["memory_bytes"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 64 << 20)
    os.nice(10)
    if "message" in asked:
        answer_message(asked, question, answer)
        return
    known = Known({name: values.copy for name, values in asked["known"].items()}, elsewhere=asked["elsewhere"])
    outputs = [OutputDecl.model_validate(each) for each in asked["outputs"]]
    for output, found in inspect_all(outputs, Path(asked["sealed"]), asked["floor"], known, StopFlag()):
        _write(answer, output.name, found)


def _limit(which: int, wanted: int) -> None:
    _, most = resource.getrlimit(which)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(which, (value, value))


def _write(answer: BinaryIO, output: str, found: Any) -> None:
    findings = [[each.rule.id, str(each.result), each.text] for each in found]
    answer.write(json.dumps({"output": output, "findings": findings}).encode() + b"\n")
    answer.flush()
