"""What is wrong with the shape of a ``tool.yaml``, in the words of who writes one."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from pydantic import ValidationError

from fedproc.common.validation import known_keys
from fedproc.contract.api.faults import Fault, fault_of
from fedproc.contract.tool.tool import Tool

Where = tuple[int | str, ...]

_CURES: dict[Where, str] = {
    ("version",): 'a version is three whole numbers, as version: "1.0.0"',
    (
        "mode",
    ): "federated has tasks at the sites and one on the server, distributed none on the server, standalone one task",
}
_OF_A_FIELD = "is the name of a field of these objects, which holds it: add one to the schema"
_AS_YAML = {
    "must be a JSON object": "must be keys with values below it, as key: value",
    "must be a list": "must be a list: entries behind - , or between [ and ]",
    "must be text": "must be text: put it in quotes",
}
_NO_NAMES = ("string_type", "string_pattern_mismatch")


def shape_faults(error: ValidationError) -> Iterator[tuple[Where, str]]:
    """Each problem with its place, once: that a key is missing which is there, misspelt, is not told beside that."""
    found = error.errors(include_url=False, include_input=False)
    entries = [fault_of(entry, Tool) if entry["loc"] else Fault((), entry["msg"], entry["type"]) for entry in found]
    misspelt = {
        (*problem.loc[:-1], near)
        for problem in entries
        if problem.code == "extra_forbidden"
        for near in _meant(problem)
    }
    for problem in entries:
        if problem.code != "missing" or problem.loc not in misspelt:
            yield problem.loc, _with_cure(problem)


def _meant(problem: Fault) -> list[str]:
    return get_close_matches(str(problem.loc[-1]), known_keys(Tool, problem.loc[:-1]), 1)


def _with_cure(problem: Fault) -> str:
    text = _AS_YAML.get(problem.what, problem.what)
    if problem.loc == ("version",) and problem.code == "string_pattern_mismatch":
        text = "is no version"
    if "statistics" in problem.loc[:-1] and problem.code in _NO_NAMES and problem.loc[-1] != "at":
        text = _OF_A_FIELD
    cure = _CURES.get(tuple(problem.loc))
    return f"{text}; {cure}" if cure else text
