"""Who may use the guarded dataset: asked of a stand-in of EUCAIM's adapter, with tokens of the real Keycloak."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.federation.browser import Browser
from tests.federation.centre import Centre
from tests.federation.machines import Machine

from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.client.transport import ApiError
from fedproc.contract.api.base import Token
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView, JobView
from fedproc.demo.containers import DOMAIN
from fedproc.demo.guarded import DATASET, HOST, PARAMETERS
from fedproc.demo.polling import wait_until

_CLIENT = "fedproc-dashboard"
_BACK = f"https://api.{DOMAIN}/dashboard/sign-in/back"
_POLICY = "/etc/fedproc/policy.toml"


class Negotiations:
    """The stand-in at the centre, of one dataset."""

    def __init__(self, machine: Machine, dataset: str = DATASET) -> None:
        self.machine = machine
        self._dataset = dataset

    def grant(self, user: str) -> str:
        """The id of the negotiation that has made the dataset available."""
        return self.machine.run("fedproc-negotiations", "grant", user, self._dataset).strip()

    def withdraw(self, user: str) -> None:
        self.machine.run("fedproc-negotiations", "withdraw", user, self._dataset)

    @contextmanager
    def away(self) -> Iterator[None]:
        self.machine.run("systemctl", "stop", "fedproc-negotiations")
        try:
            yield
        finally:
            self.machine.run("systemctl", "start", "fedproc-negotiations")


@pytest.fixture
def negotiations(machine: Machine) -> Iterator[Negotiations]:
    """Nobody has a grant before, nor after."""
    made = Negotiations(machine)
    made.withdraw("researcher")
    yield made
    made.withdraw("researcher")


@pytest.fixture
def forth() -> Machine:
    return Machine(HOST)


def look(seconds: float) -> ExperimentRequest:
    """One job over the guarded dataset, which works for so long."""
    return ExperimentRequest(tool="host-acceptance", datasets=[DATASET], parameters={"seconds": seconds})


def started(centre: Centre, client: Client | None = None, seconds: float = 300) -> ExperimentView:
    """A job over the guarded dataset that runs."""
    view = (client or centre.researcher).run(look(seconds))
    centre.wait_for(view.id, HOST, "running", 240)
    return view


def job_of(centre: Centre, experiment: str) -> JobView:
    return next(job for job in centre.view(experiment).jobs if job.host == HOST)


def ended(centre: Centre, experiment: str, seconds: float = 120) -> tuple[str, str | None, str]:
    """State, code and reason of the job, once it has ended."""
    centre.wait_until_ended(experiment, seconds)
    job = job_of(centre, experiment)
    return job.state, job.code, job.reason or ""


def claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def test_a_user_with_a_grant_gets_a_result(centre: Centre, negotiations: Negotiations, tmp_path: Path) -> None:
    negotiation = negotiations.grant("researcher")
    asked = ExperimentRequest(tool="cohort-statistics", datasets=[DATASET], parameters=PARAMETERS)
    view = centre.researcher.run(asked)
    assert view.permit == negotiation, "the permit is that of the grant"
    centre.succeeds(view.id)
    fetch_results(centre.researcher, view.id, tmp_path)
    result = json.loads((tmp_path / "EUCAIM" / "result.json").read_bytes())
    age = next(variable for variable in result["variables"] if variable["name"] == "age")
    assert age["mean"] == pytest.approx(62.447, abs=0.001)  # of all 228


def test_a_user_without_a_grant_is_refused_and_told_what_to_do(centre: Centre, negotiations: Negotiations) -> None:
    with pytest.raises(ApiError) as refused:
        centre.researcher.run(look(1))
    assert (refused.value.status, refused.value.code) == (403, "grant.not_granted")
    assert DATASET in str(refused.value)
    assert "fedproc-negotiations grant USER" in str(refused.value), "where to ask for access"
    centre.succeeds(centre.run("host-acceptance", hosts=[HOST]))


def test_a_grant_of_somebody_else_counts_for_nothing(centre: Centre, negotiations: Negotiations) -> None:
    negotiations.grant("researcher")
    with pytest.raises(ApiError, match="you may not use"):
        centre.operator.run(look(1))


def test_a_host_redeems_its_job_for_the_users_token_for_itself_alone(
    centre: Centre, negotiations: Negotiations, forth: Machine
) -> None:
    negotiations.grant("researcher")
    view = started(centre)
    job = job_of(centre, view.id)
    told = forth.probe("redeem", host=HOST, job=job.id)
    assert (told["status"], told["body"]["answer"]) == (200, "granted"), told
    given = claims(told["body"]["token"])
    assert (given["aud"], given["azp"]) == (f"host-{HOST}", "fedproc-api")
    assert given["preferred_username"] == "researcher" or given["sub"]
    assert given["exp"] - given["iat"] <= 300
    for host in (HOST, "UB"):
        assert Machine("UB").probe("redeem", host=host, job=job.id)["status"] in {403, 404}
    centre.researcher.cancel(view.id)
    centre.wait_until_ended(view.id)
    again = forth.probe("redeem", host=HOST, job=job.id)
    assert (again["status"], again["body"]["code"]) == (409, "conflict.ended")


def test_a_grant_that_is_withdrawn_in_mid_run_stops_the_job(
    centre: Centre, negotiations: Negotiations, forth: Machine
) -> None:
    negotiations.grant("researcher")
    view = started(centre)
    negotiations.withdraw("researcher")
    state, code, reason = ended(centre, view.id)
    assert (state, code) == ("refused", "grant.withdrawn"), reason
    assert DATASET in reason
    assert forth.try_run("pgrep", "--exact", "bwrap").returncode == 1, "no process of it is left"


def test_an_adapter_that_is_away_is_no_refusal(centre: Centre, negotiations: Negotiations, forth: Machine) -> None:
    negotiations.grant("researcher")
    view = started(centre, seconds=25)
    with negotiations.away():
        with pytest.raises(ApiError) as unasked:
            centre.researcher.run(look(1))
        assert (unasked.value.status, unasked.value.code) == (503, "grant.not_asked")
        told = forth.probe("redeem", host=HOST, job=job_of(centre, view.id).id)["body"]
        assert (told["answer"], told.get("token")) == ("not_asked", None)
        wait_until(lambda: "grant.not_asked" in forth.log(), 60, "the host does not ask", pause=1)
        assert job_of(centre, view.id).state == "running", "within the site's patience"
    centre.succeeds(view.id)


def test_a_job_about_which_nobody_can_be_asked_ends_with_the_sites_patience(
    centre: Centre, negotiations: Negotiations
) -> None:
    negotiations.grant("researcher")
    view = started(centre)
    with negotiations.away():
        state, code, reason = ended(centre, view.id, 180)
    assert (state, code) == ("error", "grant.not_asked"), reason
    assert "could not be asked" in reason


# -- a session that has ended


@contextmanager
def policy(host: Machine, session_ended: str) -> Iterator[None]:
    """Another word of the site's policy on sessions that have ended."""
    before = host.run("cat", _POLICY)
    changed = re.sub(r"^\[grants\]$", f'[grants]\nsession_ended = "{session_ended}"', before, flags=re.MULTILINE)
    assert changed != before
    put(host, changed)
    try:
        yield
    finally:
        put(host, before)


def put(host: Machine, text: str) -> None:
    host.run("sh", "-c", f"cat > {_POLICY}", given=text)
    host.run("fedproc", "site", "policy", "check", _POLICY)
    host.run("systemctl", "reload", "fedproc-orchestrator")


class SignedIn:
    """The researcher in a session of a browser's own."""

    def __init__(self, centre: Centre, browser: Browser) -> None:
        self._browser = browser
        name, password = centre.env["FEDPROC_USERNAME"], centre.env["FEDPROC_PASSWORD"]
        self._tokens = browser.sign_in(_CLIENT, _BACK, name, password)
        token = Token(access_token=self._tokens["access_token"], expires_in=self._tokens["expires_in"])
        self.client = Client(centre.url, token=token, ca_file=centre.ca)

    def sign_out(self) -> None:
        self._browser.sign_out(_CLIENT, self._tokens)


@pytest.fixture
def signed_in(centre: Centre, browser: Browser) -> Iterator[SignedIn]:
    made = SignedIn(centre, browser)
    yield made
    made.client.close()


def test_a_session_that_has_ended_is_a_state_of_its_own_and_is_waited_for(
    centre: Centre, negotiations: Negotiations, forth: Machine, signed_in: SignedIn
) -> None:
    """``wait``, as the policy has it: nobody is asked in the user's name any more, and patience ends."""
    negotiations.grant("researcher")
    view = started(centre, signed_in.client)
    signed_in.sign_out()
    told = forth.probe("redeem", host=HOST, job=job_of(centre, view.id).id)["body"]
    assert (told["answer"], told.get("token")) == ("session_ended", None)
    assert job_of(centre, view.id).state == "running"
    state, code, reason = ended(centre, view.id, 180)
    assert (state, code) == ("error", "grant.not_asked"), reason
    assert "session" in reason
    with pytest.raises(ApiError) as refused:
        signed_in.client.run(look(1))
    assert refused.value.status in {401, 503}, refused.value


def test_a_site_may_end_the_job_of_who_has_signed_out(
    centre: Centre, negotiations: Negotiations, forth: Machine, signed_in: SignedIn
) -> None:
    negotiations.grant("researcher")
    with policy(forth, "fail"):
        view = started(centre, signed_in.client)
        signed_in.sign_out()
        state, code, reason = ended(centre, view.id)
    assert (state, code) == ("refused", "grant.session_ended"), reason


def test_a_site_may_go_on_for_who_has_signed_out(
    centre: Centre, negotiations: Negotiations, forth: Machine, signed_in: SignedIn
) -> None:
    negotiations.grant("researcher")
    with policy(forth, "go_on"):
        view = started(centre, signed_in.client, seconds=30)
        signed_in.sign_out()
        told = forth.probe("redeem", host=HOST, job=job_of(centre, view.id).id)["body"]
        assert told["answer"] == "session_ended"
        centre.succeeds(view.id)
