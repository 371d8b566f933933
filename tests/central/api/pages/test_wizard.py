"""The form for a new experiment: filled by an address, corrected beside its fields, started once."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from sqlalchemy import select
from tests.central.api.pages.conftest import Tab
from tests.support.browser import STANDARDS
from tests.support.central_api import Federation
from tests.support.sample_tools import task, tool
from typer.main import get_command

from fedproc.central.api.pages import wizard
from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import tools
from fedproc.central.db.schema import audit, experiments
from fedproc.central.settings import UserQuotaSettings
from fedproc.cli.main import application
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.wire.datasets import OfferedDataset

pytestmark = pytest.mark.server

IMAGES = {"name": "images", "kind": "dataset", "media_types": ["application/dicom"]}
LINK = "/new?tool=learn&dataset=UB:cohort&dataset=BSC:cohort&p.target=malignant&p.rounds=7&label=first+look"
BODY = {"tool": "learn", "version": "2.1.0", "dataset": ["UB:cohort", "BSC:cohort"], "p.target": "malignant"}


@pytest.fixture(autouse=True)
def _sites_admit_learn(dashboard: Federation) -> None:
    with read_transaction(dashboard.engine) as connection:
        digest = tools.find(connection, "learn").digest
    for host in ("UB", "BSC", "FORTH"):
        dashboard.books.beat(host, tools=({"id": "learn", "digest": digest},))


@pytest.fixture
def rosa(dashboard: Federation) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=dashboard.url, follow_redirects=True, timeout=30, trust_env=False) as client:
        client.get("/dashboard/sign-in")
        yield client


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found, page
    return found[1]


def send(client: httpx.Client, **changed: Any) -> httpx.Response:
    page = client.get(LINK).text
    form = {name: hidden(page, name) for name in ("form_token", "key")}
    return client.post("/dashboard/new", data={**form, **BODY, **changed})


def started(dashboard: Federation) -> int:
    with read_transaction(dashboard.engine) as connection:
        return len(connection.execute(select(experiments.c.id)).all())


def test_an_address_fills_the_form_and_starts_nothing(dashboard: Federation, rosa: httpx.Client) -> None:
    before = started(dashboard)
    page = rosa.get(LINK)
    assert page.url.path == "/dashboard/new"
    assert len(re.findall(r'name="dataset" value="(UB|BSC):cohort" checked', page.text)) == 2
    assert re.search(r'name="p.rounds" value="7"', page.text)
    assert re.search(r'name="label" value="first look"', page.text)
    assert started(dashboard) == before


def test_the_form_starts_what_it_says(dashboard: Federation, rosa: httpx.Client) -> None:
    answer = send(rosa, **{"p.rounds": "7", "p.missing": "leave_out", "hp.UB.threads": "4", "label": "by form"})
    assert answer.status_code == 200, answer.text
    assert answer.url.path.startswith("/dashboard/experiments/e-")
    row = dashboard.books.experiment(answer.url.path.rpartition("/")[2])
    assert row.request["parameters"] | {"rounds": 7, "missing": "leave_out"} == row.request["parameters"]
    assert row.request["host_parameters"] == {"UB": {"threads": 4}}
    assert (row.label, row.owner) == ("by form", "rosa")


def test_the_audit_has_the_endpoint_that_acted_and_no_other(dashboard: Federation, rosa: httpx.Client) -> None:
    experiment = send(rosa).url.path.rpartition("/")[2]
    with read_transaction(dashboard.engine) as connection:
        acts = connection.execute(select(audit.c.action, audit.c.actor).where(audit.c.target == experiment)).all()
    assert acts == [("create_experiment", "rosa")]


def test_a_form_that_is_sent_twice_makes_one_experiment(dashboard: Federation, rosa: httpx.Client) -> None:
    page = rosa.get(LINK).text
    form = {**{name: hidden(page, name) for name in ("form_token", "key")}, **BODY}
    before = started(dashboard)
    first, second = rosa.post("/dashboard/new", data=form), rosa.post("/dashboard/new", data=form)
    assert first.url == second.url
    assert started(dashboard) == before + 1
    changed = rosa.post("/dashboard/new", data={**form, "label": "another"})
    assert changed.status_code == 409
    assert "was used for another request" in changed.text


def test_an_address_chooses_no_key(rosa: httpx.Client) -> None:
    chosen = "k" * 24
    assert chosen not in rosa.get(f"{LINK}&key={chosen}").text


def test_what_is_wrong_stands_beside_its_field(rosa: httpx.Client) -> None:
    answer = send(rosa, **{"p.rounds": "many", "p.target": "", "hp.UB.threads": "99", "dataset": ["UB:none"]})
    assert answer.status_code == 422
    beside = dict(re.findall(r'<p class="wrong" id="wrong-([^"]+)">([^<]+)</p>', answer.text))
    assert beside.keys() == {"p.rounds", "p.target", "hp.UB.threads", "where"}
    assert "whole number from 1 to 100" in beside["p.rounds"]
    assert beside["p.target"].startswith("is missing: ")
    assert "offers no dataset" in beside["where"]
    assert 'name="p.rounds" value="many" inputmode="decimal" aria-invalid="true"' in answer.text


def test_what_was_typed_into_the_form_comes_back_with_the_page(rosa: httpx.Client) -> None:
    form = send(rosa, dataset=[]).text.partition('id="new"')[2].partition("</form>")[0]
    assert 'name="encrypt_to"' in form
    assert "autocomplete" not in form, "a browser restores nothing of a field that is not to be completed"


def test_a_tool_that_there_is_not_is_told_at_its_field(rosa: httpx.Client) -> None:
    page = rosa.get("/dashboard/new?tool=leam")
    assert "did you mean learn" in page.text


def test_faults_of_the_form_name_no_command(rosa: httpx.Client) -> None:
    pages = [rosa.get("/dashboard/new?tool=nothing").text, send(rosa, dataset=[]).text]
    for page in pages:
        faults = page.partition('id="faults"')[2].partition("</div>")[0]
        assert "Nothing was started" in faults
        assert "fedproc " not in faults
    assert ">hosts and data</a>" in pages[1]


def test_tools_are_shown_before_one_is_chosen_and_data_may_come_first(rosa: httpx.Client) -> None:
    page = rosa.get("/dashboard/new").text
    assert "/dashboard/new?tool=learn" in page
    assert 'Or begin with the data: <a href="/dashboard/datasets">' in page
    assert re.search(r'<select name="tool" id="tool" required', page)


def test_texts_are_no_longer_than_the_api_takes_them(rosa: httpx.Client) -> None:
    page = rosa.get("/dashboard/new?tool=learn").text
    longest = dict(re.findall(r'<input id="(\w+)"[^>]* maxlength="(\d+)"', page))
    properties = ExperimentRequest.model_json_schema()["properties"]
    assert longest.keys() == {"label", "project", "permit", "purpose"}
    for name, most in longest.items():
        assert {"maxLength": int(most)}.items() <= properties[name]["anyOf"][0].items()
        assert send(rosa, **{name: "x" * int(most)}).status_code == 200


def test_the_command_that_decrypts_is_one_that_there_is(rosa: httpx.Client) -> None:
    options = get_command(application(["results"])).commands["results"].params  # type: ignore[attr-defined]
    there = {option for parameter in options for option in parameter.opts}
    named = re.findall(r"<code>fedproc results (--[a-z-]+)", rosa.get("/dashboard/new?tool=learn").text)
    assert named
    assert set(named) <= there


def test_a_host_that_cannot_be_chosen_says_why(dashboard: Federation, rosa: httpx.Client) -> None:
    dashboard.books.beat("FORTH", tools=())
    page = rosa.get("/dashboard/new?tool=learn&dataset=FORTH:cohort&dataset=UB:cohort").text
    assert "<li>FORTH:cohort: FORTH: its site does not admit learn</li>" in page.partition('id="left-out"')[2]
    assert "cannot be chosen: its site does not admit learn" in page
    assert re.search(r'value="FORTH:cohort" disabled', page)


def test_a_dataset_that_does_not_fit_the_tool_cannot_be_chosen_and_says_why(
    dashboard: Federation, rosa: httpx.Client
) -> None:
    dashboard.books.add_tool(tool("imager", task("local", inputs=[IMAGES])))
    hosts, offered = dashboard.books.hosts, [("ct", ["images"]), ("cohort", ["tables"]), ("old", None)]
    sets = tuple(OfferedDataset(id=name, version="1", kinds=kinds) for name, kinds in offered)
    beat = hosts.heartbeat("FORTH", (), tools=({"id": "imager"},)).model_copy(update={"datasets": sets})
    dashboard.books.take(("FORTH", hosts.seal("FORTH", beat)))
    page = rosa.get("/dashboard/new?tool=imager&dataset=FORTH:cohort&dataset=FORTH:ct&dataset=FORTH:old").text
    disabled = dict(re.findall(r'name="dataset" value="FORTH:([a-z]+)"([^>]*)>', page))
    assert {name: "disabled" in rest for name, rest in disabled.items()} == {"ct": False, "cohort": True, "old": False}
    assert "cannot be chosen: it holds tables and no DICOM images, and the tool reads DICOM images" in page
    assert "<li>FORTH:cohort: it holds tables and no DICOM images" in page.partition('id="left-out"')[2]
    tiles, _, unable = rosa.get("/dashboard/new?dataset=FORTH:cohort").text.partition("cannot read what is chosen")
    assert ("?tool=imager&amp;dataset=FORTH" in tiles, "?tool=learn&amp;dataset=FORTH" in tiles) == (False, True)
    assert "FORTH:cohort: it holds tables and no DICOM images" in unable.partition("</details>")[0]
    named = [rosa.get(f"/dashboard/datasets/FORTH:{name}").text for name in ("ct", "cohort", "old")]
    assert ["/dashboard/new?tool=imager" in each for each in named] == [True, False, True]


def test_who_has_as_many_as_is_allowed_is_told_before(
    dashboard: Federation, rosa: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(rosa)
    monkeypatch.setitem(dashboard.app.state.fedproc.settings.quotas, "rosa", UserQuotaSettings(open_experiments=1))
    page = rosa.get("/dashboard/new?tool=learn").text
    assert "1 may be open at once" in page
    assert re.search(r'<button type="submit" disabled>Start', page)


def test_run_again_takes_all_of_an_earlier_one(dashboard: Federation, rosa: httpx.Client) -> None:
    earlier = send(rosa, **{"p.rounds": "9", "hp.BSC.threads": "2", "purpose": "a look"}).url.path.rpartition("/")[2]
    page = rosa.get(f"/dashboard/new?from={earlier}").text
    assert re.search(r'name="p.rounds" value="9"', page)
    assert re.search(r'name="hp.BSC.threads" value="2"', page)
    assert re.search(r'name="purpose" value="a look"', page)
    assert len(re.findall(r'name="dataset" value="(UB|BSC):cohort" checked', page)) == 2


def test_run_again_encrypts_to_the_key_of_the_earlier_one_and_an_address_to_none(
    dashboard: Federation, rosa: httpx.Client
) -> None:
    key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    earlier = send(rosa, encrypt_to=key).url.path.rpartition("/")[2]
    page = rosa.get(f"/dashboard/new?from={earlier}").text
    (carried,) = re.findall(r'name="encrypt_to" value="([^"]*)"', page)
    assert html.unescape(carried) == key
    again = send(rosa, encrypt_to=html.unescape(carried)).url.path.rpartition("/")[2]
    assert [dashboard.books.experiment(each).request["encrypt_to"] for each in (earlier, again)] == [key, key]
    assert key not in html.unescape(rosa.get("/dashboard/new", params={"tool": "learn", "encrypt_to": key}).text)


def test_key_is_taken_as_its_file_has_it(dashboard: Federation, rosa: httpx.Client) -> None:
    key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    file = f"-----BEGIN CRYPT4GH PUBLIC KEY-----\r\n{key}\r\n-----END CRYPT4GH PUBLIC KEY-----\r\n"
    experiment = send(rosa, encrypt_to=file).url.path.rpartition("/")[2]
    assert dashboard.books.experiment(experiment).request["encrypt_to"] == key


def test_private_key_is_neither_sent_nor_shown_again_and_no_key_stands_beside_its_field(
    dashboard: Federation, rosa: httpx.Client
) -> None:
    before, secret = started(dashboard), "YzRnaC12MQAEbm9uZQAEbm9uZQAgc2VjcmV0"
    file = f"-----BEGIN CRYPT4GH PRIVATE KEY-----\n{secret}\n-----END CRYPT4GH PRIVATE KEY-----"
    page = send(rosa, encrypt_to=file)
    assert (page.status_code, started(dashboard)) == (422, before)
    assert secret not in page.text
    assert "this is a private key" in page.text.partition('id="wrong-encrypt_to"')[2][:200]
    page = send(rosa, encrypt_to='no key"><b>')
    assert (page.status_code, started(dashboard)) == (422, before)
    assert 'value="no key&#34;&gt;&lt;b&gt;"' in page.text


def test_a_form_without_our_token_starts_nothing(dashboard: Federation, rosa: httpx.Client) -> None:
    before = started(dashboard)
    assert rosa.post("/dashboard/new", data=BODY).status_code == 403
    assert started(dashboard) == before


def test_odd_texts_stay_texts(rosa: httpx.Client) -> None:
    odd = '"><script>alert(1)</script>{{ 7*7 }}'
    page = rosa.get("/dashboard/new", params={"tool": "learn", "p.target": odd, "label": odd, "dataset": odd})
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert page.text.count("{{ 7*7 }}") >= 2
    assert rosa.get("/dashboard/new?tool=" + "%00x").status_code == 200


def test_a_hosts_own_value_counts_though_it_is_the_default(dashboard: Federation, rosa: httpx.Client) -> None:
    first = send(rosa, **{"p.threads": "2", "hp.UB.threads": "1"}).url.path.rpartition("/")[2]
    request = dashboard.books.experiment(first).request
    assert request["parameters"]["threads"] == 2
    assert request["host_parameters"] == {"UB": {"threads": 1}}
    assert re.search(r'name="hp.UB.threads" value="1"', rosa.get(f"/dashboard/new?from={first}").text)


def test_what_cannot_be_sent_is_told_beside_its_field(rosa: httpx.Client) -> None:
    answer = send(rosa, **{"p.rate": "1e999", "p.rounds": "nan", "hp.UB.threads": "1e999"})
    assert answer.status_code == 422
    assert "larger than any number" in answer.text
    beside = dict(re.findall(r'<p class="wrong" id="wrong-([^"]+)">([^<]+)</p>', answer.text))
    assert beside.keys() == {"p.rate", "p.rounds", "hp.UB.threads"}
    assert "whole number" in beside["p.rounds"]


def test_all_faults_of_a_form_are_told_at_once(dashboard: Federation, rosa: httpx.Client) -> None:
    before = started(dashboard)
    answer = send(rosa, **{"p.rounds": "1e999", "p.target": "", "dataset": ["UB:none"], "encrypt_to": "no key"})
    assert (answer.status_code, started(dashboard)) == (422, before)
    beside = re.findall(r'<p class="wrong" id="wrong-([^"]+)">', answer.text)
    assert sorted(beside) == ["encrypt_to", "p.rounds", "p.target", "where"]


def test_what_was_typed_is_kept_for_who_has_to_sign_in_again_but_for_the_key(rosa: httpx.Client) -> None:
    key = base64.b64encode(X25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    page = rosa.get(LINK).text
    form = {**{name: hidden(page, name) for name in ("form_token", "key")}, **BODY, "encrypt_to": key}
    rosa.cookies.clear()
    lost = rosa.post("/dashboard/new", data={**form, "p.rounds": "9", "label": "kept, though long " * 8})
    assert lost.status_code == 401
    assert "what you typed is kept" in lost.text
    for long in (5000, 9000):  # the latter has no address at all
        text = rosa.post("/dashboard/new", data={**form, "purpose": "x" * long}).text
        assert "Nothing was started, and what you typed is too long to be kept" in text
    place = html.unescape(re.findall(r'<h1 data-address="([^"]+)">', lost.text)[0])
    (way,) = re.findall(r'href="([^"]+)">Sign in, and go on there', lost.text)
    assert key[:20] not in html.unescape(place + way)
    back = rosa.get(html.unescape(way))
    assert str(back.url).endswith(place)
    assert re.search(r'name="p.rounds" value="9"', back.text)
    assert "kept, though long kept, though long" in back.text
    assert len(re.findall(r'name="dataset" value="(UB|BSC):cohort" checked', back.text)) == 2
    assert "The key to which results are encrypted is not here any more" in back.text
    stale = rosa.post("/dashboard/new", data={**form, "p.rounds": "8"})
    assert stale.status_code == 403
    assert "p.rounds=8" in re.findall(r'href="([^"]+)">Back to where you were', stale.text)[0]


def test_hosts_that_there_are_not_cost_nothing(rosa: httpx.Client) -> None:
    answer = send(rosa, **{f"hp.X{number}.threads": "1" for number in range(500)})
    assert answer.status_code == 422
    assert "which is no host here" in answer.text
    assert "max" in send(rosa, **{f"hp.X{number}.threads": "1" for number in range(4000)}).text.lower()


def test_a_fault_of_ours_is_a_page_with_an_id(rosa: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wizard, "selectors", None)
    page = rosa.get("/dashboard/new?tool=learn")
    assert (page.status_code, page.headers["content-type"][:9]) == (500, "text/html")
    assert re.search("[0-9a-f]{32}", page.text)


@pytest.mark.needs_browser
def test_an_experiment_is_chosen_and_started_by_keyboard(tab: Tab, dashboard: Federation) -> None:
    tab.sign_in()
    page = tab.open("/dashboard/new?tool=learn")
    page.get_by_label("UB:cohort").focus()
    page.keyboard.press("Space")
    page.get_by_label("target").fill("")
    page.get_by_label("target").press("Enter")
    page.locator("#faults").wait_for()
    assert page.evaluate("document.activeElement.id") == "faults"
    page.locator("#faults").get_by_role("link").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "p.target"
    page.keyboard.type("malignant")
    tab.shot("new")
    page.keyboard.press("Enter")
    page.wait_for_url("**/dashboard/experiments/e-*")
    tab.complaints[:] = [text for text in tab.complaints if "status of 422" not in text]


def test_what_would_come_of_it_is_said_before_anything_starts(dashboard: Federation, rosa: httpx.Client) -> None:
    before = started(dashboard)
    page = send(rosa, dry="yes", label="first look").text
    assert started(dashboard) == before
    assert "What would come of it" in page
    assert re.search(r"<th scope=\"row\">UB<small>learn", page)
    assert "waits for a person of the site" in page
    assert hidden(page, "key")
    assert 'value="first look"' in page


def test_fault_in_the_form_is_said_at_its_field_there_too(dashboard: Federation, rosa: httpx.Client) -> None:
    answer = send(rosa, dry="yes", **{"p.rounds": "-4"})
    assert answer.status_code == 422
    assert 'id="wrong-p.rounds"' in answer.text


@pytest.mark.needs_browser
def test_forecast_is_accessible_and_where_the_eye_is_led(tab: Tab, dashboard: Federation) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    tab.sign_in()
    page = tab.open(LINK)
    page.get_by_role("button", name="See first what would come of it").click()
    page.get_by_role("heading", name="What would come of it").wait_for()
    assert page.evaluate("document.activeElement.id") == "forecast"
    tab.shot("forecast")
    options = {"runOnly": {"type": "tag", "values": STANDARDS}, "resultTypes": ["violations"]}
    violations = axe.run(page, options=options).response["violations"]
    assert [f"{v['id']}: {node['html'][:150]}" for v in violations for node in v["nodes"]] == []


@pytest.mark.needs_browser
def test_going_back_to_a_forecast_sends_nothing_and_keeps_what_was_typed(tab: Tab, dashboard: Federation) -> None:
    tab.sign_in()
    page = tab.open(LINK)
    page.get_by_label("rounds", exact=True).fill("9")
    page.get_by_role("button", name="See first what would come of it").click()
    page.get_by_role("heading", name="What would come of it").wait_for()
    before = started(dashboard)
    page.get_by_role("button", name="Start it as it is").click()
    page.wait_for_url("**/dashboard/experiments/e-*")
    page.go_back()
    page.get_by_role("heading", name="New experiment").wait_for()
    assert page.get_by_label("rounds", exact=True).input_value() == "9"
    assert page.get_by_label("UB:cohort").is_checked()
    page.reload()
    assert page.get_by_label("Label").input_value() == "first look"
    assert started(dashboard) == before + 1


@pytest.mark.needs_browser
def test_who_was_signed_out_meanwhile_comes_back_to_the_form(tab: Tab, dashboard: Federation) -> None:
    tab.sign_in()
    page = tab.open(LINK)
    page.get_by_label("rounds", exact=True).fill("9")
    page.get_by_role("button", name="See first what would come of it").click()
    page.get_by_role("heading", name="What would come of it").wait_for()
    before = started(dashboard)
    page.context.clear_cookies()
    page.get_by_role("button", name="Start the experiment").click()
    page.get_by_role("link", name="Sign in, and go on there").click()
    page.get_by_role("heading", name="New experiment").wait_for()
    assert page.get_by_label("rounds", exact=True).input_value() == "9"
    assert page.get_by_label("Label").input_value() == "first look"
    assert started(dashboard) == before
    tab.complaints[:] = [text for text in tab.complaints if "status of 401" not in text]
