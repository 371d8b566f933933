"""What a site would do with an output, as far as its declaration and a site's policy say: before anything runs.

What a tool really writes is looked at by the host's rules when it is there (docs/tools.md, "What leaves").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.task import Disclosure, OutputDecl, Task

Release = Literal["automatic", "manual", "never"]
"""the word of a policy on a class of outputs"""
Result = Literal["leaves", "waits", "never"]
"""``leaves``: by itself, if no rule finds something in it; ``waits``: for a person of the site"""

OF_PERSONS = (Disclosure.aggregate, Disclosure.model, Disclosure.individual)
"""classes that say something of persons"""
DEFAULT_RELEASE: Mapping[Disclosure, Release] = {
    Disclosure.public: "automatic",
    Disclosure.report: "automatic",
    Disclosure.aggregate: "manual",
    Disclosure.model: "manual",
}
"""what a site's policy says unless it says otherwise; a class that is not named never leaves"""
_BY_EYE = ("model", "image", "text")


@dataclass(frozen=True)
class Leaving:
    """What would become of an output, and why, in words."""

    outcome: Result
    because: tuple[str, ...]


def leaving(task: Task, output: OutputDecl, how: Release, *, waived: bool = False) -> Leaving:
    """``how`` is the site's word on its class; ``waived``: it goes though a rule would have a person look."""
    if how == "never":
        return Leaving("never", (f"outputs of class {output.disclosure} never leave this site",))
    reasons = [] if waived or sees_nobody(task, output) else list(_by_declaration(output))
    if how == "manual":
        reasons.insert(0, f"outputs of class {output.disclosure} wait for a person's release")
    if reasons:
        return Leaving("waits", tuple(reasons))
    return Leaving("leaves", ("if the rules find nothing in it",))


def sees_nobody(task: Task, output: OutputDecl) -> bool:
    """Whether nothing of persons can be in it: the task was given no data, nor could any come by a connection."""
    given = any(entry.kind in ("dataset", "output") for entry in task.inputs)
    connected = bool(task.ports or task.connections) and not output.artefact_for
    return output.disclosure in (Disclosure.public, Disclosure.report) and not given and not connected


def _by_declaration(output: OutputDecl) -> Iterator[str]:
    if output.content is None:
        yield "the tool does not declare what it holds (content), so that no rule can tell"
    elif problems_of(output):
        yield "what the tool declares of it leaves room for more (fedproc catalog check says where)"
    elif output.content.type in _BY_EYE:
        yield f"no rule tells what is in a file of type {output.content.type}"
    if output.disclosure is Disclosure.individual:
        yield "it is about single persons"
