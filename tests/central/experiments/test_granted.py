"""What grants say of project, permit and purpose stands in the orders, and not what the user wrote."""

from __future__ import annotations

from tests.support.sample_tools import LONE

from fedproc.central.experiments.granted import Granted, by_grants, told_by
from fedproc.central.experiments.placement import Placed, Plan
from fedproc.central.grants.answers import Finding, Terms
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.wire.messages import DatasetUse

OWN = {"project": "mine", "permit": "what I wrote", "purpose": "curiosity"}
UB = Terms("cohort study", "N-1", "research")


def plan(*datasets: str) -> Plan:
    """One job at each host, with its datasets."""
    used: dict[str, list[DatasetUse]] = {}
    for dataset in datasets:
        host, _, name = dataset.partition(":")
        used.setdefault(host, []).append(DatasetUse(id=name, version="1"))
    jobs = tuple(Placed(host, LONE.tasks[0], {}, tuple(uses)) for host, uses in used.items())
    return Plan(ExperimentRequest(tool="lone", datasets=list(datasets), **OWN), jobs)


def granted(**terms: Terms) -> Granted:
    return Granted({name.replace("_", ":"): Finding("p", "granted", terms=of) for name, of in terms.items()})


def said(given: Granted, made: Plan) -> dict[str, str | None]:
    request = by_grants(given, made.request, made)
    return {name: getattr(request, name) for name in OWN}


def test_what_a_grant_says_goes_before_what_the_user_wrote() -> None:
    made, given = plan("UB:a"), granted(UB_a=UB)
    assert said(given, made) == {"project": "cohort study", "permit": "N-1", "purpose": "research"}
    assert given.terms_of_job(made.jobs[0]) == said(given, made)
    assert [grant.model_dump(include=set(OWN)) for grant in given.of_job(made.jobs[0])] == [said(given, made)]


def test_what_no_grant_says_is_the_users_word() -> None:
    made = plan("UB:a")
    assert said(granted(UB_a=Terms(permit="N-1")), made) == OWN | {"permit": "N-1"}
    assert said(Granted(), made) == OWN


def test_orders_and_experiment_say_whose_word_each_term_is() -> None:
    made, given = plan("UB:a", "BSC:a"), granted(UB_a=UB)
    assert told_by(given, made) == dict.fromkeys(OWN, "p")
    assert [given.told_by(job) for job in made.jobs] == [dict.fromkeys(OWN, "p"), {}]
    assert told_by(granted(UB_a=Terms(permit="N-1")), made) == {"permit": "p"}
    assert told_by(Granted(), made) == {}


def test_where_permits_differ_each_job_has_its_own_and_the_whole_has_none() -> None:
    made, given = plan("UB:a", "BSC:a"), granted(UB_a=UB, BSC_a=Terms("cohort study", "N-2", "research"))
    assert said(given, made) == {"project": "cohort study", "permit": None, "purpose": "research"}
    assert told_by(given, made).keys() == {"project", "purpose"}
    assert [given.terms_of_job(job)["permit"] for job in made.jobs] == ["N-1", "N-2"]


def test_one_job_may_have_a_permit_for_each_dataset() -> None:
    made, given = plan("UB:a", "UB:b"), granted(UB_a=UB, UB_b=Terms("cohort study", "N-2", "research"))
    assert [grant.permit for grant in given.of_job(made.jobs[0])] == ["N-1", "N-2"]
