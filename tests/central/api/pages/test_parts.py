"""Parts of pages as their templates say them, without a server and without a browser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from types import SimpleNamespace
from typing import Any

from fedproc.central.api.pages import wizard
from fedproc.central.api.pages.choices import Choice, Selector
from fedproc.central.api.pages.citing import is_citable
from fedproc.central.api.pages.last_lines import MOST_EVENTS, LastLine, found_in, of_each
from fedproc.central.api.pages.rendering import environment
from fedproc.central.api.pages.wizard import Draft
from fedproc.contract.api.dry_run import HostForecast
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.api.files import FileView
from fedproc.contract.api.hosts import DatasetDetail, DatasetView
from fedproc.contract.states import ENDED
from fedproc.contract.wire.release import ReleaseStage

EXPERIMENT = "e-" + "0" * 26
SESSION = SimpleNamespace(form_token="f" * 64, operates=False)


def part(template: str, **values: Any) -> str:
    return environment().get_template(template).render(session=SESSION, **values)


def words(html: str) -> str:
    """What a person reads of it."""
    return unescape(" ".join(re.sub(r"<[^>]+>", " ", html).split()))


def experiment(**more: Any) -> ExperimentView:
    of = {"tool": "count", "version": "1.0.0", "digest": "d" * 64, "owner": "rosa", "created": "2026-11-03T09:00:00Z"}
    return ExperimentView.model_validate({"id": EXPERIMENT, "state": "running", **of, **more})


def file(host: str, **more: Any) -> FileView:
    of = {"uri": "https://centre/", "state": "complete", "media_type": "application/json", "owner": "rosa"}
    own = {"id": "f-" + f"{len(host):026}", "path": f"{host}.json", "host": host, "task": "local", "output": "counts"}
    return FileView.model_validate({**of, **own, "created": "2026-11-03T09:00:00Z", **more})


def results(*files: FileView, own: bool = True, **of: Any) -> str:
    shown = {"results": list(files), "pictures": [], "more": "", "own": own, "ended": True}
    return part("experiment_results.html", experiment=experiment(**of), **shown)


def test_each_result_says_whether_it_is_encrypted_and_no_sentence_says_it_of_all() -> None:
    page = results(file("UB"), file("EUCAIM", plain_sha256="0" * 64), encrypt_to="A" * 43 + "=")
    rows = {name: words(row) for name, row in re.findall(r"(?s)<tr id.*?>(\w+)\.json<(.*?)</tr>", page)}
    assert "plain: another task reads it" in rows["UB"]
    assert "encrypted to your key (Crypt4GH)" in rows["EUCAIM"]
    assert "neither the centre nor this page can read the files that are marked so" in words(page)
    assert "can read them" not in words(page)
    assert "encrypted to the researcher's key" in words(
        results(file("EUCAIM", plain_sha256="0" * 64), own=False, encrypt_to="A" * 43 + "=")
    )
    assert "plain" not in words(results(file("UB")))


JOB = "j-" + "0" * 26
NOTHING = {"picture": SimpleNamespace(lanes=()), "uploads": {}, "earlier": {}, "said": {}, "own": True}


def jobs_of(found: ExperimentView, **more: Any) -> str:
    return part("experiment_jobs.html", experiment=found, ended=found.ended is not None, **{**NOTHING, **more})


def failed() -> ExperimentView:
    reason = "the command exited with 2, expected 0"
    job = {"id": JOB, "experiment": EXPERIMENT, "host": "UB", "task": "local", "state": "failed"}
    return experiment(state="failed", jobs=[{**job, "code": "tool_fault.exit_code", "reason": reason}])


def test_until_when_a_person_decides_is_a_time_of_the_page() -> None:
    job = {"id": JOB, "experiment": EXPERIMENT, "host": "UB", "task": "local", "state": "awaiting_release"}
    stage = ReleaseStage.model_validate(
        {"stage": "under_review", "since": "2026-11-30T18:08:00Z", "until": "2026-12-09T18:08:00Z"}
    )
    page = jobs_of(experiment(jobs=[{**job, "waiting_for": stage.text}]))
    assert 'none leaves if nobody decides by <time datetime="2026-12-09T18:08:00+00:00">' in page


def test_failed_job_says_its_last_line_and_leads_to_it() -> None:
    row = jobs_of(failed(), said={JOB: LastLine("KeyError: <age>", 41)})
    assert "It said last: <code>KeyError: &lt;age&gt;</code>" in row
    assert f'href="/dashboard/experiments/{EXPERIMENT}/log?job={JOB}&amp;cursor=41#last"' in row


def test_failed_job_without_lines_says_who_is_asked_for_the_last_one() -> None:
    asked = f"UB has let out no log line of it: ask its people what it said last, which they find in their log by {JOB}"
    assert asked in words(jobs_of(failed(), said={JOB: None}))


def test_last_line_is_that_of_the_errors_if_there_is_one() -> None:
    def row(number: int, job: str, stream: str, *lines: str) -> SimpleNamespace:
        return SimpleNamespace(id=number, job=job, data={"stream": stream, "lines": list(lines)})

    of_errors = [row(8, "a", "stderr", "Error: cause", " "), row(7, "a", "stderr", "old")]
    newest_first = [row(9, "a", "stdout", "bye"), *of_errors, row(6, "b", "stdout", "x" * 900), row(5, "c", "stdout")]
    assert found_in(newest_first) == {"a": LastLine("Error: cause", 7), "b": LastLine("x" * 400, 5)}


def test_failed_job_is_not_silent_because_another_wrote_much_after_it() -> None:
    written = ["a", "b"] + ["c"] * 2 * MOST_EVENTS

    def last(jobs: Sequence[str]) -> list[SimpleNamespace]:
        return [SimpleNamespace(job=job) for job in reversed(written) if job in jobs][:MOST_EVENTS]

    assert {row.job for row in of_each(["a", "b", "c", "silent"], last)} == {"a", "b", "c"}


def test_prepared_experiment_is_neither_running_nor_started() -> None:
    for prepared, word in ((False, "being prepared"), (True, "prepared")):
        found = experiment(held=True, prepared=prepared, held_until="2026-11-04T09:00:00Z")
        summary = words(jobs_of(found).partition("Nothing runs before you start it")[0])
        assert word in summary
        assert [each for each in ("running", "started") if each in summary] == []


def test_cancelling_asks_first() -> None:
    summary = jobs_of(experiment())
    assert f'<a class="cta second" href="/dashboard/experiments/{EXPERIMENT}/cancel">Cancel…</a>' in summary
    assert "<form" not in summary


def test_only_what_succeeded_is_cited() -> None:
    ended = "2026-11-03T10:00:00Z"
    cited = [state for state in sorted(ENDED) if is_citable(experiment(state=state, ended=ended))]
    assert cited == ["succeeded"]
    assert not is_citable(experiment())


def test_each_line_of_a_forecast_has_its_mark() -> None:
    budgets = [{"dataset": f"UB:{left}", "left": left} for left in ("left", "nearly", "none")]
    answers = [{"dataset": f"UB:{answer}", "provider": "p", "answer": answer} for answer in ("granted", "not_asked")]
    host = {"host": "UB", "tasks": ["local"], "checks": [], "budgets": budgets, "grants": answers}
    shown = part("forecast.html", forecast=SimpleNamespace(would_run=True, hosts=[HostForecast.model_validate(host)]))
    marks = re.findall(r"<li>(.) UB:(\w+)", shown)
    assert {name: mark for mark, name in marks} == {
        "left": "✓", "nearly": "‖", "none": "‖", "granted": "✓", "not_asked": "?"
    }  # fmt: skip


def test_forecast_says_first_where_a_person_decides() -> None:
    def at(host: str, outcome: str) -> HostForecast:
        told = {"outcome": outcome, "because": []}
        output = {"task": "local", "output": "counts", "disclosure": "aggregate", **told}
        return HostForecast.model_validate({"host": host, "tasks": ["local"], "checks": [], "outputs": [output]})

    def lead(*hosts: HostForecast) -> str:
        return words(
            part("forecast.html", forecast=SimpleNamespace(would_run=True, hosts=hosts)).partition("<table")[0]
        )

    assert "would run. At UB, BSC a person looks" in lead(at("UB", "waits"), at("X", "leaves"), at("BSC", "waits"))
    assert "a person" not in lead(at("X", "leaves"))


def test_page_of_a_guarded_dataset_says_what_is_shown_of_it_and_fills_in_how_it_is_asked_for() -> None:
    where = "docker exec centre negotiations grant USER HOST:DATASET"
    view = {"id": "UB:ct", "host": "UB", "version": "1", "label": "ct", "description": "CT"}
    standing = SimpleNamespace(answer="not_granted", reason=f"no grant of rosa; ask for access: {where}", ask_at=where)
    values = {"dataset": DatasetDetail.model_validate(view), "tools": [], "standing": standing}
    session = SimpleNamespace(subject="rosa", name="Rosa", roles={"researcher"}, form_token="f" * 64)
    frame = {"session": session, "path": "/", "method": "GET", "places": [], "help": ""}
    said = words(environment().get_template("dataset.html").render(**frame, **values).partition("<dl")[0])
    assert "You have no grant to use it. No grant of rosa; ask for access" in said
    assert "negotiations grant rosa UB:ct" in said
    assert "Until then no experiment reads it. What its host says of it, which stands below," in said


def test_what_a_form_leaves_out_is_told_with_its_reason() -> None:
    offered = [(DatasetView.model_validate({"id": f"{host}:{name}", "host": host, "version": "1"}), True)
               for host, name in (("UB", "open"), ("UB", "guarded"), ("UB", "unasked"), ("BSC", "ct"))]  # fmt: skip
    task: Any = SimpleNamespace(name="local")
    at = {host: tuple(each for each in offered if each[0].host == host) for host in ("UB", "BSC")}
    choices = (Choice("UB", "", "", True, at["UB"]), Choice("BSC", "offline", "", True, at["BSC"]))
    draft = Draft(datasets=(*(each.id for each, _ in offered), "XX:none"))
    refused = {"UB:guarded": "no grant", "UB:unasked": ""}
    left = wizard.left_out(draft, [Selector(task, choices, takes="datasets")], refused)
    assert left == {"UB:guarded": "no grant", "BSC:ct": "BSC: offline", "XX:none": wizard._NOT_HERE}
