"""Whether outputs may leave: what policy and rules have against it (docs/tools.md, "What leaves").

What is looked at is the sealed copy; the decision names its hashes, and the upload sends those bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fedproc.common.tasks import StopFlag
from fedproc.contract.tool.leaving import sees_nobody
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.policy.engine import disclosure_rules as rules
from fedproc.site.policy.engine.apart import inspect_apart
from fedproc.site.policy.engine.engine import inspect_all
from fedproc.site.policy.engine.findings import Finding, Result
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.policy_file import Terms


def findings(
    terms: Terms, task: Task, sealed: Path, known: Known | None = None, flag: StopFlag | None = None
) -> list[Finding]:
    """Everything that keeps these outputs from leaving by themselves; blocks, call it in a thread.

    Raises StoppedError between two files once ``flag`` is set.
    """
    return _findings(_inspect_here, terms, task, sealed, known, flag)


def findings_apart(
    terms: Terms, task: Task, sealed: Path, known: Known | None = None, flag: StopFlag | None = None
) -> list[Finding]:
    """The same by a process of its own, with limits of time and memory: for a daemon, and anybody's tools."""
    return _findings(inspect_apart, terms, task, sealed, known, flag)


Inspect = Callable[[Sequence[OutputDecl], Path, int, Known, StopFlag], list[Finding]]


def _inspect_here(
    outputs: Sequence[OutputDecl], sealed: Path, floor: int, known: Known, flag: StopFlag
) -> list[Finding]:
    return [each for _, found in inspect_all(outputs, sealed, floor, known, flag) for each in found]


def _findings(
    inspection: Inspect, terms: Terms, task: Task, sealed: Path, known: Known | None, flag: StopFlag | None
) -> list[Finding]:
    present = [output for output in task.outputs if (sealed / output.name).exists()]
    found = inspection(present, sealed, terms.floor, known or Known(), flag or StopFlag())
    return [
        finding
        for output in present
        for finding in (
            *_of_policy(terms, output),
            *_kept(terms, task, output, [each for each in found if each.output == output.name]),
        )
    ]


def _of_policy(terms: Terms, output: OutputDecl) -> Iterator[Finding]:
    how = terms.of(output.name)
    if how == "never":
        text = f"outputs of class {output.disclosure} never leave this site"
        yield Finding(output.name, rules.POLICY, Result.refuse, text)
    elif how == "manual":
        text = f"outputs of class {output.disclosure} wait for a person's release"
        yield Finding(output.name, rules.POLICY, Result.review, text)


def _kept(terms: Terms, task: Task, output: OutputDecl, found: list[Finding]) -> list[Finding]:
    """Without those that need no person: refusals stay, and what nobody could check, whatever the policy waives."""
    unseen = output.name in terms.without_review or sees_nobody(task, output)
    return [each for each in found if each.result is Result.refuse or each.rule is rules.CHECKED or not unseen]
