"""The engine in a process of its own: it says the same, and no output holds up or ends the orchestrator."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.declaring import COUNT, closed, json_output, output
from tests.support.sample_tools import task

from fedproc.common.tasks import StopFlag, StoppedError
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.site.policy.disclosure import findings, findings_apart
from fedproc.site.policy.engine.apart import Limits, inspect_apart
from fedproc.site.policy.engine.findings import Finding
from fedproc.site.policy.engine.known import Known
from fedproc.site.policy.policy_file import Policy

DIGEST = "sha256:" + "a" * 64
TEXT = {"type": "string", "x-from": ["order"]}
SOUND = json_output(closed(n=COUNT, host=TEXT), {"statistic": "frequencies", "persons": "n"})


def sealed(folder: Path, declared: OutputDecl, document: Any) -> Path:
    path = folder / declared.name / "t.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return folder


def told(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(each.output, each.rule.id, str(each.result)) for each in found]


def renamed(declared: OutputDecl, name: str) -> OutputDecl:
    return declared.model_copy(update={"name": name})


@pytest.mark.process
def test_process_finds_what_the_engine_does(tmp_path: Path) -> None:
    known = Known({"order": lambda: ["UB"]})
    for n, host, found in ((30, "UB", []), (3, "UB", ["persons.floor"]), (30, "X", ["read.schema"])):
        folder = sealed(tmp_path, SOUND, {"n": n, "host": host})
        assert told(inspect_apart([SOUND], folder, 10, known, StopFlag())) == [("table", r, "refuse") for r in found]


@pytest.mark.process
@pytest.mark.parametrize(
    "limits", [Limits(cpu_seconds=0), Limits(wall_seconds=0), Limits(memory_bytes=32 << 20)], ids=str
)
def test_output_that_is_beyond_the_limits_waits_for_a_person(tmp_path: Path, limits: Limits) -> None:
    for name in ("table", "b"):
        sealed(tmp_path, renamed(SOUND, name), ["x" * 1000] * 8000)
    found = inspect_apart([SOUND, renamed(SOUND, "b")], tmp_path, 10, Known(), StopFlag(), limits)
    assert told(found) == [("table", "look.checked", "review"), ("b", "look.checked", "review")]


@pytest.mark.process
def test_process_ends_when_nobody_waits_for_it(tmp_path: Path) -> None:
    flag = StopFlag()
    flag.set()
    with pytest.raises(StoppedError):
        inspect_apart([SOUND], sealed(tmp_path, SOUND, {}), 10, Known(), flag)


def terms_and_task(*declared: OutputDecl) -> tuple[Any, Task]:
    made = Task.model_validate(task("t", outputs=[each.model_dump(mode="json") for each in declared]))
    line = {"id": "t", "digest": DIGEST, "without_review": ["aggregate"]}
    policy = Policy.model_validate({"release": {"aggregate": "automatic"}, "tools": [line]})
    return policy.terms(policy.tools[0], made), made


def test_no_waiver_lets_out_what_nobody_could_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedproc.site.policy.engine.engine.kind_of", lambda _: 1 // 0)
    terms, made = terms_and_task(SOUND)
    assert told(findings(terms, made, sealed(tmp_path, SOUND, {"n": 30}))) == [("table", "look.checked", "review")]


def test_job_without_outputs_starts_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("subprocess.Popen", None)
    terms, made = terms_and_task(SOUND)
    begun = time.process_time()
    assert findings_apart(terms, made, tmp_path) == []
    assert time.process_time() - begun < 0.005


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["x"], "pattern": "^(a|a)*$"},
        {"anyOf": [{"$ref": "#"}]},
        {"$ref": "#"},
        closed(a={"type": "object", "additionalProperties": False, "x-from": ["order"]}),
    ],
    ids=str,
)
def test_schema_with_problems_is_not_applied_and_a_person_looks(tmp_path: Path, schema: Any) -> None:
    lying = output({"type": "json", "json_schema": schema})
    terms, made = terms_and_task(lying)
    begun = time.process_time()
    found = told(findings(terms.model_copy(update={"without_review": frozenset()}), made,
                          sealed(tmp_path, lying, "a" * 40 + "!")))  # fmt: skip
    assert found == [("table", "declared.what", "review")]
    assert time.process_time() - begun < 1


def test_counts_of_a_declaration_with_problems_are_looked_at_all_the_same(tmp_path: Path) -> None:
    lying = json_output(closed(n=COUNT, notes={"type": "string"}), {"statistic": "frequencies", "persons": "n"})
    terms, made = terms_and_task(lying)
    assert told(findings(terms, made, sealed(tmp_path, lying, {"n": 3}))) == [("table", "persons.floor", "refuse")]


@pytest.mark.slow
@pytest.mark.parametrize("filling", ["\t", " ", '"', '"a', "1.2.", "a,", '"a" '])
def test_large_text_is_looked_through_in_a_moment(tmp_path: Path, filling: str) -> None:
    for declared in (output(None), output({"type": "text"})):
        path = tmp_path / "table" / "t.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(filling * (2_000_000 // len(filling)))
        terms, made = terms_and_task(declared)
        begun = time.process_time()
        findings(terms, made, tmp_path)
        assert time.process_time() - begun < 5


def test_many_parameters_cost_no_memory_and_little_time(tmp_path: Path) -> None:
    grid = {"type": "array", "maxItems": 400, "items": {"type": "number", "x-from": ["steps"]}}
    declared = json_output(closed(grid=grid))
    known = Known({"steps": lambda: [n / 7 for n in range(1, 3001)]})
    terms, made = terms_and_task(declared)
    begun = time.process_time()
    assert findings(terms, made, sealed(tmp_path, declared, {"grid": [n / 7 for n in range(1, 40)]}), known) == []
    assert time.process_time() - begun < 1


def test_multiples_are_whole_and_a_thousand_at_most() -> None:
    known = Known({"steps": lambda: [0.1, 3, "x", 0]})
    for value in (0.30000000000000004, 3000, 0):
        assert known.holds(["steps"], value)
    for value in (0.35, 3003, -3, "x", 1e308):
        assert not known.holds(["steps"], value)
