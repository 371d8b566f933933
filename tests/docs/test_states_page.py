"""The picture of a job's states is the table of the program."""

from __future__ import annotations

import re
from pathlib import Path

from fedproc.contract.states import LEGAL, TERMINAL, JobState

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/states.md").read_text()
DIAGRAM = PAGE.partition("stateDiagram-v2")[2].partition("```")[0]
ARROW = re.compile(r"^\s*(\S+) --> (\S+)$", re.MULTILINE)


def arrows(text: str) -> set[tuple[str, str]]:
    return {(before, after) for before, after in ARROW.findall(text)}


def test_diagram_has_the_arrows_of_the_table_and_no_others() -> None:
    inside = re.search(r"state claimed \{(.*?)\}", DIAGRAM, re.DOTALL)
    assert inside
    members = {state for arrow in arrows(inside[1]) for state in arrow} - {"succeeded"}
    drawn: set[tuple[str, str]] = set()
    for before, after in arrows(DIAGRAM):
        drawn |= {(member, after) for member in members} if before == "claimed" else {(before, after)}
    table = {(before.value, after.value) for before, others in LEGAL.items() for after in others}
    assert drawn == table | {("[*]", "queued")} | {(end.value, "[*]") for end in TERMINAL}


def test_every_state_is_explained() -> None:
    explained = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert explained == [state.value for state in JobState]


def test_page_for_researchers_has_every_state_once() -> None:
    page = (ROOT / "docs/researchers.md").read_text()
    table = page.partition("| state of a job |")[2].partition("\n\n")[0]
    named = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(named) == sorted(JobState)
