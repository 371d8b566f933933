"""``python -m fedproc.site.policy.engine.inspecting``: outputs against the rules, in a process of its own with limits.

It reads one line of JSON from :mod:`fedproc.site.policy.engine.apart`, which starts it, and writes one for each output:
``{"output": name, "findings": [[rule, result, text], ...]}``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.task import OutputDecl
from fedproc.site.policy.engine.engine import inspect_all
from fedproc.site.policy.engine.known import Known


def main() -> None:
    """Answer what standard input asks."""
    asked = json.loads(sys.stdin.buffer.readline())
    _limit(resource.RLIMIT_CPU, asked["cpu_seconds"])
    _limit(resource.RLIMIT_AS, asked["memory_bytes"])
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 64 << 20)
    os.nice(10)
    known = Known({name: values.copy for name, values in asked["known"].items()})
    outputs = [OutputDecl.model_validate(each) for each in asked["outputs"]]
    for output, found in inspect_all(outputs, Path(asked["sealed"]), asked["floor"], known, StopFlag()):
        _answer(output.name, found)


def _limit(which: int, wanted: int) -> None:
    _, most = resource.getrlimit(which)
    value = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    resource.setrlimit(which, (value, value))


def _answer(output: str, found: Any) -> None:
    findings = [[each.rule.id, str(each.result), each.text] for each in found]
    sys.stdout.write(json.dumps({"output": output, "findings": findings}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
