"""Starting, finding, watching and stopping experiments."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from tests.support.books import kinds
from tests.support.central_api import COUNT, PUBLIC, Federation, problem

from fedproc.contract.wire.messages import Cancel, JobOrder

pytestmark = pytest.mark.server


def test_an_experiment_is_placed_on_the_hosts_of_its_datasets(federation: Federation, rosa: httpx.Client) -> None:
    made = rosa.post("/experiments", json={**COUNT, "label": "first", "purpose": "research"})
    assert made.status_code == 201, made.text
    view = made.json()
    assert made.headers["location"] == f"{PUBLIC}/experiments/{view['id']}"
    placed = [(job["task"], job["host"], job["state"]) for job in view["jobs"]]
    assert placed == [("local", "UB", "queued"), ("local", "BSC", "queued"), ("total", "EUCAIM", "queued")]
    assert (view["tool"], view["version"], view["label"], view["purpose"]) == ("count", "1.2.0", "first", "research")
    assert view["parameters"] == {"column": "age", "limit": 10, "delimiter": ","}, "defaults are filled in"
    assert (view["state"], view["owner"], view["datasets"]) == ("queued", "rosa", COUNT["datasets"])
    assert rosa.get(f"/experiments/{view['id']}").json() == view
    for job in view["jobs"]:
        assert rosa.get(f"/tasks/{job['id']}").json() == job
        assert rosa.get(f"/experiments/{view['id']}/jobs/{job['id']}").json() == job


def test_what_a_host_gets_is_what_was_asked(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.dispatch()
    asked = {"host_parameters": {"BSC": {"delimiter": ";"}}, "project": "P1", "permit": "X/7", "purpose": "research"}
    view = federation.start(rosa, **asked)
    orders = {host: order for host, order in federation.books.dispatch() if isinstance(order, JobOrder)}
    assert set(orders) == {"UB", "BSC"}, "the aggregator's job waits for theirs"
    order = orders["BSC"]
    assert (order.experiment, order.tool.digest) == (view["id"], view["digest"])
    assert order.parameters == {"column": "age", "limit": 10, "delimiter": ";"}
    assert orders["UB"].parameters["delimiter"] == ","
    assert [(use.id, use.version) for use in order.datasets] == [("cohort", "1")]
    assert (order.user.sub, order.project, order.permit, order.purpose) == ("rosa", "P1", "X/7", "research")
    assert order.hosts == {"local": ("UB", "BSC"), "total": ("EUCAIM",)}
    assert order.deadlines.start_by < order.deadlines.end_by < order.deadlines.release_by
    view = rosa.get(f"/experiments/{view['id']}").json()
    assert view["state"] == "running"
    assert [job["state"] for job in view["jobs"]] == ["dispatched", "dispatched", "queued"]
    assert all("dispatched" in job["times"] for job in view["jobs"][:2])


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"tool": "nonesuch"}, "tool", "there is no tool"),
    ({"version": "9.9.9"}, "version", "there is 1.2.0"),
    ({"hosts": ["MARS"]}, "hosts", "MARS is not enrolled fedproc hosts"),
    ({"datasets": ["FORHT:cohort"]}, "hosts", "FORHT is not enrolled; did you mean FORTH?"),
    ({"datasets": ["UB:cohrot"]}, "datasets", "no dataset 'cohrot'; did you mean cohort?"),
    ({"tool": "cuont"}, "tool", "no tool 'cuont'; did you mean count?"),
    ({"hosts": ["EUCAIM"], "datasets": []}, "hosts", "none is chosen"),
    ({"hosts": [], "datasets": []}, "hosts", "none is chosen"),
    ({"datasets": ["UB:nothing"]}, "datasets", "UB:cohort"),
    ({"datasets": ["MARS:cohort"]}, "hosts", "MARS is not enrolled fedproc hosts"),
    ({"datasets": ["FORHT:cohort"]}, "hosts", "FORHT is not enrolled; did you mean FORTH?"),
    ({"datasets": ["UB:cohrot"]}, "datasets", "no dataset 'cohrot'; did you mean cohort?"),
    ({"tool": "cuont"}, "tool", "no tool 'cuont'; did you mean count?"),
    ({"hosts": ["UB"], "datasets": ["UB:cohort", "BSC:cohort"]}, "datasets", "add BSC to hosts"),
    ({"hosts": ["UB", "BSC"], "datasets": ["UB:cohort"]}, "datasets", "none of BSC is chosen"),
    ({"parameters": {}}, "parameters", "'column' is missing: text, not empty"),
    (
        {"parameters": {"column": "age", "colour": "red"}},
        "parameters.colour",
        "no parameter 'colour'; did you mean column?",
    ),
    (
        {"parameters": {"column": "age", "limit": 0}},
        "parameters.limit",
        "must be a whole number of 1 or more, and is 0 for example limit=10;",
    ),
    (
        {"parameters": {"column": "age", "options": {"deep": "yes"}}},
        "parameters.options.deep",
        'must be true or false, and is "yes"',
    ),
    ({"host_parameters": {"UB": {"limit": 3}}}, "host_parameters.UB.limit", "may differ by host: delimiter"),
    ({"host_parameters": {"UB": {"delimiter": 7}}}, "host_parameters.UB.delimiter", "must be text, and is 7"),
    ({"host_parameters": {"FORTH": {"delimiter": ";"}}}, "host_parameters.FORTH", "runs no task"),
    ({"host_parameters": {"MARS": {"delimiter": ";"}}}, "host_parameters.MARS", "runs no task"),
    ({"parameters": {"column": "x" * 70_000}}, "parameters", "may have 65536 bytes"),
]


@pytest.mark.parametrize(("change", "where", "what"), WRONG, ids=lambda value: str(value)[:40])
def test_a_mistake_is_named_with_its_place_and_its_cure(
    rosa: httpx.Client, change: dict[str, Any], where: str, what: str
) -> None:
    body = problem(rosa.post("/experiments", json={**COUNT, **change}), 422, "placement")
    error = next(entry for entry in body["errors"] if entry["where"] == where)
    assert what in f"{error['what']} {error['cure']}"
    assert error["cure"]


def test_all_mistakes_are_named_at_once(rosa: httpx.Client) -> None:
    wrong = {**COUNT, "hosts": ["MARS", "UB"], "datasets": ["UB:nothing"], "parameters": {"limit": "many"}}
    places = {entry["where"] for entry in problem(rosa.post("/experiments", json=wrong), 422)["errors"]}
    assert places >= {"hosts", "datasets", "parameters", "parameters.limit"}


SHAPES: list[Any] = [
    {},
    [],
    "count",
    {"tool": 7},
    {"tool": "../count"},
    {**COUNT, "hosts": "UB"},
    {**COUNT, "hosts": ["ub"]},
    {**COUNT, "hosts": ["UB", "UB"]},
    {**COUNT, "datasets": ["UB:../../etc/passwd"]},
    {**COUNT, "datasets": ["UB:/srv/data"]},
    {**COUNT, "datasets": ["UB:cohort", "UB:cohort"]},
    {**COUNT, "hosts": [f"H{number}" for number in range(2001)]},
    {**COUNT, "label": "two\nlines"},
    {**COUNT, "label": "x" * 201},
    {**COUNT, "label": "\x00"},
    {**COUNT, "purpose": "\ud800"},
    {**COUNT, "parameters": {"column": "\x00"}},
    {**COUNT, "parameters": {"column": "\ud800"}},
    {**COUNT, "parameters": {"\x00": 1}},
    {**COUNT, "parameters": {"column": "age", "limit": 2**64}},
    {**COUNT, "parameters": {"column": [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}},
    {**COUNT, "start_within": 1},
    {**COUNT, "colour": "red"},
    {**COUNT, "version": "x" * 65},
]


@pytest.mark.parametrize("body", SHAPES, ids=lambda value: ascii(value)[-50:])
def test_what_has_not_the_shape_of_a_request(rosa: httpx.Client, body: Any) -> None:
    answer = rosa.post("/experiments", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert problem(answer, 422, "invalid_input")["errors"]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'{"tool": "count", "parameters": {"column": NaN}}', 422),
        (b'{"tool": "count", "parameters": {"column": 1e999}}', 422),
        (b"{", 422),
        (b"\xff\xfe{}", 422),
        (b"[" * 100_000, 400),
        (b" " * (5 << 20), 413),
        (b"", 422),
    ],
)
def test_what_is_no_json(rosa: httpx.Client, content: bytes, status: int) -> None:
    answer = rosa.post("/experiments", content=content, headers={"Content-Type": "application/json"})
    problem(answer, status)


def test_a_body_of_another_type_is_not_guessed_at(rosa: httpx.Client) -> None:
    answer = rosa.post("/experiments", content=b'{"tool": "count"}', headers={"Content-Type": "text/plain"})
    assert "application/json" in problem(answer, 422)["detail"]


def test_a_host_that_was_revoked_gets_nothing(lone: Federation) -> None:
    enrolment = lone.books.hosts.enrolment("BSC").model_dump(mode="json")
    with lone.operator() as olga, lone.user() as rosa:
        assert olga.put("/hosts/BSC", json={**enrolment, "active": False}).status_code == 200
        body = problem(rosa.post("/experiments", json=COUNT), 422, "placement")
    assert "BSC is not active" in body["detail"]


def test_a_host_that_was_never_heard_of_is_taken_at_its_word(lone: Federation) -> None:
    lone.books.hosts.keys["NEWONE"] = lone.books.hosts.keys["UB"]
    enrolment = lone.books.hosts.enrolment("UB").model_dump(mode="json")
    with lone.operator() as olga, lone.user() as rosa:
        assert olga.put("/hosts/NEWONE", json=enrolment).status_code == 201
        view = lone.start(rosa, datasets=["NEWONE:cohort"])
    assert view["jobs"][0]["host"] == "NEWONE"


# -- finding them again


def test_experiments_come_in_pages_newest_first(federation: Federation) -> None:
    with federation.user("pia") as pia:
        made = [federation.start(pia, label=f"run {number % 2}")["id"] for number in range(5)]
        seen, cursor = [], None
        for size in (2, 2, 1):
            page = pia.get("/experiments", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            assert len(page["items"]) == size
            seen += [item["id"] for item in page["items"]]
            cursor = page["next"]
        assert cursor is None
        assert seen == made[::-1]
        assert all(item["jobs"] == [] for item in page["items"])
        odd = pia.get("/experiments", params={"label": "run 1"}).json()["items"]
        assert [item["id"] for item in odd] == [made[3], made[1]]
        pia.post(f"/experiments/{made[2]}/cancel")
        ended = pia.get("/experiments", params={"state": ["cancelled", "failed"]}).json()["items"]
        assert [item["id"] for item in ended] == [made[2]]
        assert len(pia.get("/experiments", params={"state": "queued"}).json()["items"]) == 4


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": 201}, {"limit": "x"}, {"state": "odd"}, {"cursor": "'"}, {"label": "a\nb"}]
)
def test_queries_that_cannot_be(rosa: httpx.Client, query: dict[str, Any]) -> None:
    problem(rosa.get("/experiments", params=query), 422, "invalid_input")


def test_other_users_see_nothing_and_an_operator_everything(federation: Federation, rosa: httpx.Client) -> None:
    view = federation.start(rosa)
    job = view["jobs"][0]["id"]
    places = [
        f"/experiments/{view['id']}", f"/experiments/{view['id']}/jobs/{job}", f"/experiments/{view['id']}/events",
        f"/experiments/{view['id']}/results", f"/experiments/{view['id']}/logs", f"/experiments/{view['id']}/report",
        f"/experiments/{view['id']}/crate", f"/tasks/{job}", f"/tasks/{job}/output",
    ]  # fmt: skip
    with federation.user("sven") as sven, federation.operator() as olga:
        for place in places:
            hidden = problem(sven.get(place), 404)
            assert hidden["detail"].replace(view["id"], "").replace(job, "").startswith("no ")
        problem(sven.post(f"/experiments/{view['id']}/cancel"), 404)
        problem(sven.put(f"/tasks/{job}/input", content=b"x"), 404)
        assert sven.get("/experiments").json()["items"] == []
        assert sven.get("/experiments", params={"owner": "rosa"}).json()["items"] == []
        for place in places[:1] + places[3:8]:
            assert olga.get(place).status_code == 200
        theirs = olga.get("/experiments", params={"owner": "rosa", "limit": 200}).json()["items"]
        assert view["id"] in [item["id"] for item in theirs]
        assert {item["owner"] for item in theirs} == {"rosa"}


@pytest.mark.parametrize(
    "name", ["e-00000000000000000000000000", "x", "e-0", "%00", "e-'--", "..%2f..%2fetc%2fpasswd", "E" * 300]
)
def test_ids_that_are_not_there(rosa: httpx.Client, name: str) -> None:
    assert rosa.get(f"/experiments/{name}").status_code == 404
    problem(rosa.get(f"/tasks/{name.replace('e-', 'j-')}"), 404)


def test_a_job_of_another_experiment_is_not_found_there(federation: Federation, rosa: httpx.Client) -> None:
    one, two = federation.start(rosa), federation.start(rosa)
    problem(rosa.get(f"/experiments/{one['id']}/jobs/{two['jobs'][0]['id']}"), 404)


# -- the same request twice


def test_an_idempotency_key_makes_one_experiment_of_many_requests(federation: Federation, rosa: httpx.Client) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = rosa.post("/experiments", json=COUNT, headers=key)
    again = rosa.post("/experiments", json=COUNT, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    by_tool = rosa.post("/tools/job/count", json={k: v for k, v in COUNT.items() if k != "tool"}, headers=key)
    assert by_tool.json()["id"] == first.json()["id"], "both ways to start it say the same"
    other = rosa.post("/experiments", json={**COUNT, "label": "other"}, headers=key)
    assert first.json()["id"] in problem(other, 409, "conflict.idempotency")["detail"]
    with federation.user("sven") as sven:
        his = sven.post("/experiments", json=COUNT, headers=key)
        assert his.status_code == 201
        assert his.json()["id"] != first.json()["id"], "keys are each user's own"
    problem(rosa.post("/experiments", json=COUNT, headers={"Idempotency-Key": "x" * 256}), 422)


def test_the_same_key_at_the_same_time(federation: Federation) -> None:
    with federation.user("pia") as pia, ThreadPoolExecutor(8) as pool:
        key = {"Idempotency-Key": "at once"}

        def send(_: int) -> httpx.Response:
            return pia.post("/experiments", json=COUNT, headers={"Idempotency-Key": "at-once"})

        answers = list(pool.map(send, range(8)))
        problem(pia.post("/experiments", json=COUNT, headers=key), 422)
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1


# -- stopping


def test_cancelled_before_its_dispatch_it_ends_at_once(federation: Federation, rosa: httpx.Client) -> None:
    view = federation.start(rosa)
    answer = rosa.post(f"/experiments/{view['id']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["state"] == "cancelled"
    assert {job["state"] for job in answer.json()["jobs"]} == {"cancelled"}
    assert {job["code"] for job in answer.json()["jobs"]} == {"cancelled"}
    assert view["id"] not in [getattr(order, "experiment", None) for _, order in federation.books.dispatch()]
    problem(rosa.post(f"/experiments/{view['id']}/cancel"), 409, "conflict.ended")


def test_an_operator_ends_what_a_dead_host_has_and_the_audit_says_why(
    federation: Federation, rosa: httpx.Client
) -> None:
    federation.books.dispatch()
    view = federation.start(rosa)
    federation.books.dispatch()
    path, body = f"/experiments/{view['id']}/lost", {"reason": "UB burnt down", "jobs": [view["jobs"][0]["id"]]}
    problem(rosa.post(path, json=body), 403, "forbidden.role")
    with federation.operator() as olga:
        answer = olga.post(path, json=body)
        assert answer.status_code == 200, answer.text
        assert [job["state"] for job in answer.json()["jobs"]] == ["lost", "dispatched", "cancelled"]
        assert "UB burnt down" in answer.json()["jobs"][0]["reason"]
        problem(olga.post(path, json=body), 409, "conflict.ended")
        assert olga.post(path, json={"reason": "so did BSC"}).json()["state"] == "lost"
        acts = olga.get("/audit", params={"action": "end_as_lost", "actor": "olga"}).json()["items"]
    assert any("UB burnt down" in (act["detail"] or "") and act["target"] == view["id"] for act in acts)


@pytest.mark.parametrize("phase", ["dispatched", "accepted", "materialising", "prepared", "running", "collecting"])
def test_cancelled_later_it_ends_when_its_hosts_have_ended(
    federation: Federation, rosa: httpx.Client, phase: str
) -> None:
    federation.books.dispatch()
    view = federation.start(rosa)
    federation.books.dispatch()
    if phase != "dispatched":
        federation.books.bring(view["id"], phase, task="local")
    answer = rosa.post(f"/experiments/{view['id']}/cancel").json()
    assert (answer["state"], answer["cancel_requested"]) == ("running", True)
    assert [job["state"] for job in answer["jobs"]] == [phase, phase, "cancelled"]
    assert kinds(federation.books.dispatch()) == [("Cancel", "UB"), ("Cancel", "BSC")]
    again = rosa.post(f"/experiments/{view['id']}/cancel")
    assert again.status_code == 202
    assert federation.books.dispatch() == [], "asking again tells nobody anything"
    federation.books.bring(view["id"], "cancelled", task="local", code="cancelled", reason="cancelled by its user")
    assert rosa.get(f"/experiments/{view['id']}").json()["state"] == "cancelled"


def test_an_operator_may_stop_anybodys(federation: Federation, rosa: httpx.Client) -> None:
    view = federation.start(rosa)
    with federation.operator() as olga:
        assert olga.post(f"/experiments/{view['id']}/cancel").json()["state"] == "cancelled"


def test_when_one_host_fails_the_others_are_stopped(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.dispatch()
    view = federation.start(rosa)
    federation.books.dispatch()
    failed = federation.books.job_on(view["id"], "UB")
    federation.books.report(failed.id, "failed", code="tool_fault.exit_code", reason="exit code 3", exit_code=3)
    messages = federation.books.dispatch()
    assert kinds(messages) == [("Cancel", "BSC")]
    assert isinstance(messages[0][1], Cancel)
    assert "exit code 3" in messages[0][1].reason
    federation.books.bring(view["id"], "cancelled", task="local")
    ended = rosa.get(f"/experiments/{view['id']}").json()
    assert ended["state"] == "failed"
    assert [job["state"] for job in ended["jobs"]] == ["failed", "cancelled", "cancelled"]
    assert (ended["jobs"][0]["exit_code"], ended["jobs"][0]["reason"]) == (3, "exit code 3")
    assert ended["ended"] is not None


# -- what it did


def test_a_job_tells_what_went_over_its_connections(federation: Federation, rosa: httpx.Client) -> None:
    view = federation.start(rosa)
    federation.books.dispatch()
    job = federation.books.job_on(view["id"], "UB")
    use = {"task": "server", "host": "EUCAIM", "sent": 4711, "received": 12}
    federation.books.report(job.id, "succeeded", exit_code=0, connections=(use,))
    told = {each["host"]: each["connections"] for each in rosa.get(f"/experiments/{view['id']}").json()["jobs"]}
    assert told["UB"] == [{**use, "rounds": None, "cut": None}]
    assert told["BSC"] == []


def test_report_logs_and_results_of_a_whole_run(federation: Federation, rosa: httpx.Client) -> None:
    books = federation.books
    books.dispatch()
    view = federation.start(rosa)
    books.dispatch()
    local = [row for row in books.jobs(view["id"]) if row.task == "local"]
    for row in local:
        books.say(row.id, "stdout", 1, lines=(f"rows of {row.host}", "done"))
        books.say(row.id, "stderr", 1, lines=("a warning",))
        entry = federation.upload_output(row, "counts", "counts.json", b'{"rows": 1}')
        output = {**{k: entry[k] for k in ("output", "path", "sha256", "size")}, "file": entry["id"]}
        used = {"cpu_seconds": 1.5, "memory_peak": 1 << 20, "seconds": 2.0}
        books.report(row.id, "succeeded", outputs=(output,), exit_code=0, executor="sandbox", runtime="env@sha256:1",
                     command=("python", "count.py"), used=used)  # fmt: skip
    total = books.job_on(view["id"], "EUCAIM")
    order = next(order for host, order in books.dispatch() if host == "EUCAIM")
    assert isinstance(order, JobOrder)
    assert {(ref.host, ref.input, ref.path) for ref in order.inputs} == {
        ("UB", "counts", "UB/counts.json"), ("BSC", "counts", "BSC/counts.json"),
    }  # fmt: skip
    federation.upload_output(total, "total", "total.json", b'{"rows": 2}')
    books.report(total.id, "succeeded", exit_code=0)

    ended = rosa.get(f"/experiments/{view['id']}").json()
    assert ended["state"] == "succeeded"
    results = rosa.get(f"/experiments/{view['id']}/results").json()
    assert [(file["host"], file["output"], file["size"]) for file in results] == [
        ("UB", "counts", 11), ("BSC", "counts", 11), ("EUCAIM", "total", 11),
    ]  # fmt: skip
    assert rosa.get(federation.local(results[2]["content"])).json() == {"rows": 2}

    report = rosa.get(f"/experiments/{view['id']}/report").json()
    assert (report["state"], report["parameters"]["column"]) == ("succeeded", "age")
    job = report["jobs"][0]
    assert (job["executor"], job["runtime"], job["command"]) == ("sandbox", "env@sha256:1", ["python", "count.py"])
    assert (job["exit_code"], job["cpu_seconds"], job["memory_peak"], job["seconds"]) == (0, 1.5, 1 << 20, 2.0)
    assert job["datasets"] == [{"id": "cohort", "version": "1"}]

    logs = rosa.get(f"/experiments/{view['id']}/logs").json()
    assert [(line["host"], line["stream"], line["lines"]) for line in logs["items"][:2]] == [
        ("UB", "stdout", ["rows of UB", "done"]), ("UB", "stderr", ["a warning"]),
    ]  # fmt: skip
    first = rosa.get(f"/experiments/{view['id']}/logs", params={"limit": 3}).json()
    rest = rosa.get(f"/experiments/{view['id']}/logs", params={"cursor": first["next"]}).json()
    assert first["items"] + rest["items"] == logs["items"]
    assert rest["next"] is None
    only = rosa.get(f"/experiments/{view['id']}/logs", params={"host": "BSC", "job": local[1].id}).json()
    assert {line["host"] for line in only["items"]} == {"BSC"}
    plain = rosa.get(f"/experiments/{view['id']}/logs", headers={"Accept": "text/plain"})
    assert plain.text.splitlines()[0] == "UB local stdout: rows of UB"


def test_a_silent_hosts_jobs_are_flagged(federation: Federation, rosa: httpx.Client) -> None:
    federation.books.dispatch()
    view = federation.start(rosa)
    federation.books.dispatch()
    federation.books.beat("UB", at=time.time() - 3600)
    try:
        jobs = rosa.get(f"/experiments/{view['id']}").json()["jobs"]
        assert {job["host"]: job["unreachable"] for job in jobs} == {"UB": True, "BSC": False, "EUCAIM": False}
    finally:
        federation.books.beat("UB")
