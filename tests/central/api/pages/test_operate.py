"""What operators do in their pages is done by the API as them, and nobody else comes there."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import update
from tests.central.api.test_submissions import new_version
from tests.support.central_api import Federation
from tests.support.issuer import TestIssuer

from fedproc.central.api.pages import experiments
from fedproc.central.db import schema
from fedproc.central.db.engine import write_transaction

pytestmark = pytest.mark.server

SignIn = Callable[..., httpx.Client]


@pytest.fixture
def sign_in(dashboard: Federation, issuer: TestIssuer) -> Iterator[SignIn]:
    opened: list[httpx.Client] = []

    def begin(*who: str) -> httpx.Client:
        issuer.signs_in = who
        opened.append(httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False))
        opened[-1].get("/dashboard/sign-in")
        return opened[-1]

    yield begin
    for client in opened:
        client.close()


def token_of(client: httpx.Client) -> str:
    return re.findall(r'name="form_token" value="([0-9a-f]{64})"', client.get("/dashboard").text)[0]


def test_researchers_have_no_operators_pages(sign_in: SignIn) -> None:
    rosa = sign_in("rosa", "researcher")
    assert "/dashboard/operate" not in rosa.get("/dashboard").text
    for path in ("/dashboard/operate", "/dashboard/operate/audit"):
        answer = rosa.get(path)
        assert (answer.status_code, "role operator" in answer.text) == (403, True)
    form = {"form_token": token_of(rosa), "host": "UB", "reason": "because"}
    assert rosa.post("/dashboard/operate/revocations", data=form).status_code == 403
    assert rosa.get("/dashboard/hosts/UB").status_code == 200


def test_a_code_is_shown_once(sign_in: SignIn) -> None:
    olga = sign_in("olga", "operator")
    given = olga.post("/dashboard/operate/codes", data={"form_token": token_of(olga), "host": "PISA"})
    code = re.findall(r'<code class="code">([^<]+)</code>', given.text)[0]
    again = olga.get("/dashboard/operate").text
    assert "PISA" in again
    assert code not in again
    assert 'data-address="/dashboard/operate"' in given.text  # loading it again gives out no other code


def test_the_host_that_is_revoked_is_typed(sign_in: SignIn) -> None:
    page = sign_in("olga", "operator").get("/dashboard/operate").text
    form = page.partition("/dashboard/operate/revocations")[2].partition("</form>")[0]
    assert re.search('<input name="host" required', form)
    assert "UB" not in form


def test_a_host_is_revoked_with_its_reason(dashboard: Federation, sign_in: SignIn) -> None:
    olga = sign_in("olga", "operator")
    form = {"form_token": token_of(olga), "host": "FORTH", "reason": "its disk was stolen"}
    assert (
        'Revoked: <a href="/dashboard/hosts/FORTH">FORTH</a>.'
        in olga.post("/dashboard/operate/revocations", data=form).text
    )
    audit = olga.get("/dashboard/operate/audit?action=revoke_host").text
    assert "its disk was stolen" in audit
    with dashboard.operator() as client:
        enrolment = dashboard.books.hosts.enrolment("FORTH").model_dump(mode="json")
        assert client.put("/hosts/FORTH", json=enrolment).status_code == 200


def test_a_host_is_drained_and_resumed_and_researchers_see_why(dashboard: Federation, sign_in: SignIn) -> None:
    dashboard.hear_everyone()
    olga = sign_in("olga", "operator")
    form = {"form_token": token_of(olga), "host": "UB", "reason": "its <racks> are moved"}
    page = olga.post("/dashboard/operate/drains", data=form).text
    assert "its &lt;racks&gt; are moved" in page
    assert "Resume UB" in page
    with dashboard.user() as rosa:
        assert rosa.get("/hosts/UB").json()["drained"] == "its <racks> are moved"
        started = dashboard.start(rosa, label="into a drained host")["id"]
        waiting = {job["host"]: job.get("waiting_for") for job in rosa.get(f"/experiments/{started}").json()["jobs"]}
        assert "the federation's operator drains it (its <racks> are moved)" in waiting["UB"]
        assert not waiting["BSC"]
        assert rosa.post("/hosts/UB/drain", json={"reason": "I want to"}).status_code == 403
        assert rosa.post("/hosts/UB/resume").status_code == 403
    reader = sign_in("rosa", "researcher")
    assert "drained" in reader.get("/dashboard/hosts").text
    assert "operator drains it" in reader.get("/dashboard/new?tool=count").text.replace("&#39;", "'")
    assert "Resume UB" not in olga.post("/dashboard/operate/resumptions", data=form).text
    audit = olga.get("/dashboard/operate/audit?target=UB").text
    assert "drain_host" in audit
    assert "resume_host" in audit
    assert "its &lt;racks&gt; are moved" in audit


@pytest.mark.parametrize(
    ("place", "form", "told"),
    [
        ("codes", {"host": "no name!"}, "host: is no host id"),
        ("drains", {"host": "BSCX", "reason": "new disks"}, "did you mean BSC?"),
        ("drains", {"host": "UB", "reason": ""}, "reason: "),
        ("revocations", {"host": "NOBODY", "reason": "gone"}, "host NOBODY is not enrolled"),
        ("refusals", {"host": "NOBODY", "reason": "gone"}, "NOBODY"),
        ("resumptions", {"host": "NOBODY"}, "host NOBODY is not enrolled"),
    ],
)
def test_what_is_wrong_with_an_act_stands_in_the_page_of_its_form(
    sign_in: SignIn, place: str, form: dict[str, str], told: str
) -> None:
    olga = sign_in("olga", "operator")
    page = olga.post(f"/dashboard/operate/{place}", data=form | {"form_token": token_of(olga)})
    assert 400 <= page.status_code < 500
    fault = page.text.partition("Nothing was done:")[2].partition("</p>")[0]
    assert told in fault
    assert not re.search("fedproc [a-z]+|/docs|body[.]", fault)
    assert "Drain a host" in page.text
    kept = {name: typed for name, typed in form.items() if place in ("codes", "drains") or name == "reason"}
    if place in ("codes", "drains", "revocations"):
        of_form = page.text.partition(f'action="/dashboard/operate/{place}"')[2].partition("</form>")[0]
        assert dict(re.findall('name="(host|reason)" value="([^"]+)"', of_form)) == {k: v for k, v in kept.items() if v}


def test_a_page_that_says_what_is_wrong_leads_back_to_its_form(dashboard: Federation, sign_in: SignIn) -> None:
    olga = sign_in("olga", "operator")
    form = {"version": "0", "reason": "none", "form_token": token_of(olga)}
    came = {"referer": f"{dashboard.url}/dashboard/tools/count"}
    page = olga.post("/dashboard/tools/count/recalls", data=form, headers=came)
    assert page.status_code == 404
    assert '<a class="cta" href="/dashboard/tools/count">Back to where you were</a>' in page.text
    elsewhere = {"referer": "https://elsewhere.test/dashboard/tools/count"}
    assert "Back to where" not in olga.post("/dashboard/tools/count/recalls", data=form, headers=elsewhere).text


def test_who_recalls_the_last_version_of_a_tool_sees_that_it_is_done(
    dashboard: Federation, sign_in: SignIn, tmp_path: Path
) -> None:
    folder = new_version(tmp_path, "1.0.0")
    manifest = folder / "tool.yaml"
    manifest.write_text(re.sub(r"(?m)^id: count$", "id: count-once", manifest.read_text(), count=1))
    with dashboard.operator() as client:
        assert dashboard.add_tool(folder, client).status_code == 201
    olga = sign_in("olga", "operator")
    form = {"version": "1.0.0", "reason": "it wrote dates", "form_token": token_of(olga)}
    page = olga.post("/dashboard/tools/count-once/recalls", data=form)
    assert (page.status_code, page.url.path) == (200, "/dashboard/operate/audit")
    assert "it wrote dates" in page.text
    gone = olga.get("/dashboard/tools/count-once")
    assert (gone.status_code, "<h1>Recalled</h1>" in gone.text, "it wrote dates" in gone.text) == (404, True, True)


def test_version_is_recalled_with_its_reason_by_an_operator_alone(
    dashboard: Federation, sign_in: SignIn, tmp_path: Path
) -> None:
    with dashboard.operator() as client:
        assert dashboard.add_tool(new_version(tmp_path, "9.1.0"), client).status_code == 201
    rosa, olga = sign_in("rosa", "researcher"), sign_in("olga", "operator")
    form = {"version": "9.1.0", "reason": "it wrote <dates> of birth"}
    assert "Recall it" not in rosa.get("/dashboard/tools/count").text
    assert rosa.post("/dashboard/tools/count/recalls", data=form | {"form_token": token_of(rosa)}).status_code == 403
    assert "Version, typed out" in olga.get("/dashboard/tools/count").text
    page = olga.post("/dashboard/tools/count/recalls", data=form | {"form_token": token_of(olga)})
    assert page.url.path == "/dashboard/tools/count"
    assert "9.1.0" in page.text.partition("Recalled versions")[2].partition("</ul>")[0]
    assert "it wrote &lt;dates&gt; of birth" in rosa.get("/dashboard/tools/count").text
    assert "recalled" in rosa.get("/dashboard/new?tool=count&version=9.1.0").text
    assert "it wrote &lt;dates&gt;" in olga.get("/dashboard/operate/audit?action=recall_tool").text
    unknown = form | {"version": "9.9.9", "form_token": token_of(olga)}
    assert olga.post("/dashboard/tools/count/recalls", data=unknown).status_code == 404


def test_jobs_of_a_dead_host_are_ended(dashboard: Federation, sign_in: SignIn) -> None:
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa)["id"]
    dashboard.books.dispatch()
    olga = sign_in("olga", "operator")
    page = olga.get(f"/dashboard/experiments/{experiment}").text
    assert "End jobs of a host that does not come back" in page
    job = dashboard.books.job_on(experiment, "UB").id
    form = {"form_token": token_of(olga), "job": job, "reason": "UB was shut down"}
    olga.post(f"/dashboard/experiments/{experiment}/lost", data=form)
    assert dashboard.books.job(job).state == "lost"


def test_an_operator_sees_others_experiments_and_not_their_bytes(dashboard: Federation, sign_in: SignIn) -> None:
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa, label="of rosa")["id"]
    dashboard.books.dispatch()
    job = dashboard.books.job_on(experiment, "UB")
    dashboard.books.report(job.id, "running")
    file = dashboard.upload_output(job, "counts", "counts.json", b"{}")["id"]
    olga = sign_in("olga", "operator")
    assert "of rosa" not in olga.get("/dashboard/experiments").text
    assert "of rosa" in olga.get("/dashboard/experiments?whose=all&text=of+rosa").text
    page = olga.get(f"/dashboard/experiments/{experiment}").text
    assert "counts.json" in page
    assert f"/dashboard/files/{file}/content" not in page
    assert olga.get(f"/dashboard/files/{file}/content").status_code == 404


def test_results_that_do_not_fit_are_led_to(
    dashboard: Federation, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(experiments, "_RESULTS", 1)
    with dashboard.user() as rosa:
        experiment = dashboard.start(rosa)["id"]
    dashboard.books.dispatch()
    sent = set()
    for host in ("UB", "BSC"):
        job = dashboard.books.job_on(experiment, host)
        dashboard.books.report(job.id, "running")
        sent.add(dashboard.upload_output(job, "counts", "counts.json", b"{}")["id"])
    reader = sign_in("rosa", "researcher")
    page = reader.get(f"/dashboard/experiments/{experiment}").text
    assert "These are 1 of them" in page
    rest = reader.get(re.findall(r'href="([^"]*/results[?]cursor=[^"]*)"', page)[0]).text
    assert "of them" not in rest
    on_first, on_rest = ({file for file in sent if f'id="{file}"' in text} for text in (page, rest))
    assert (len(on_first), len(on_rest), on_first | on_rest) == (1, 1, sent)


def test_no_answer_is_kept_by_a_browser(dashboard: Federation, sign_in: SignIn) -> None:
    rosa = sign_in("rosa", "researcher")
    for path in ("/dashboard/hosts", "/dashboard/hosts/table", "/new", "/dashboard/", "/dashboard/no/page"):
        headers = rosa.get(path, follow_redirects=False).headers
        assert headers["cache-control"] == "no-store", path
        assert "default-src 'none'" in headers["content-security-policy"], path
    style = re.findall(r'href="(/dashboard/assets/[^"]*css)"', rosa.get("/dashboard").text)[0]
    assert "immutable" in rosa.get(style).headers["cache-control"]


def test_audit_names_persons_and_finds_them_by_name(dashboard: Federation, sign_in: SignIn) -> None:
    with dashboard.user("5f0c") as client:
        experiment = dashboard.start(client)["id"]
    table = schema.experiments
    with write_transaction(dashboard.engine) as connection:
        connection.execute(update(table).where(table.c.id == experiment).values(owner_name="Ada Lovelace"))
    olga = sign_in("olga", "operator")
    for who in ("5f0c", "ada lovelace"):
        page = olga.get("/dashboard/operate/audit", params={"actor": who}).text
        assert '<td class="whole">Ada Lovelace<small>5f0c</small></td>' in page
        assert f'<td class="whole">{experiment}</td>' in page
    assert "None fits." in olga.get("/dashboard/operate/audit?actor=Ada").text
