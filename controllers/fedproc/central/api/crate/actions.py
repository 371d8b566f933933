"""What was done with an experiment, and what the sites decided: actions, as the Five Safes profile has them by phase.

A phase that was not reached has no action that says it was. What a site keeps is nowhere, by name or hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedproc.central.api.crate.entities import (
    ACTIVE,
    COMPLETED,
    FAILED,
    POTENTIAL,
    PROJECT,
    ROOT,
    TOOL,
    Entity,
    known,
    local,
    moment,
    ref,
    refs,
)
from fedproc.contract.api.experiments import ExperimentView, JobView
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.wire.release import PARTLY_RELEASED, RELEASED, TEXTS, UNDER_REVIEW

SHA512 = "https://www.iana.org/assignments/named-information#sha-512"
_SHP = "https://w3id.org/shp#"
_AT_CENTRE = frozenset({JobState.queued, JobState.dispatched})


def run(experiment: ExperimentView, user: str, inputs: Sequence[str], results: Sequence[str]) -> Entity:
    """The workflow execution phase: the experiment as a whole."""
    began = [job.times["running"] for job in experiment.jobs if "running" in job.times]
    return {
        "@id": local("experiment", experiment.id),
        "@type": "CreateAction",
        "name": f"Experiment {experiment.id}: {experiment.tool} {experiment.version}, {experiment.state}",
        "actionStatus": _status(experiment),
        "agent": ref(user),
        "instrument": ref(TOOL),
        "object": refs(inputs),
        **known(
            description=experiment.purpose,
            startTime=moment(min(began)) if began else None,
            endTime=moment(experiment.ended),
            result=refs(results),
        ),
    }


def _status(experiment: ExperimentView) -> str:
    if experiment.ended is not None:
        return COMPLETED if experiment.state == "succeeded" else FAILED
    return ACTIVE if any(job.state not in _AT_CENTRE for job in experiment.jobs) else POTENTIAL


def job(one: JobView, datasets: Sequence[str], results: Sequence[str]) -> Entity:
    """A job: what one site did of it."""
    return {
        "@id": local("job", one.id),
        "@type": "Action",
        "name": f"Job {one.id}: task {one.task} at {one.host}, {one.state}",
        "actionStatus": _job_status(one),
        "agent": ref(local("site", one.host)),
        "instrument": ref(TOOL),
        **known(
            object=refs(datasets),
            result=refs(results),
            startTime=moment(one.times.get("running")),
            endTime=moment(one.times.get(one.state)) if one.state in TERMINAL else None,
            error=one.code if one.state not in {JobState.succeeded} else None,
        ),
    }


def _job_status(one: JobView) -> str:
    if one.state in TERMINAL:
        return COMPLETED if one.state == JobState.succeeded else FAILED
    return POTENTIAL if one.state in _AT_CENTRE else ACTIVE


def assessments(one: JobView, results: Sequence[str]) -> Iterator[Entity]:
    """The sign-off and the disclosure phase of one job, as far as it has come."""
    signed = _sign_off(one)
    if signed is not None:
        yield signed
    checked = _disclosure(one, results)
    if checked is not None:
        yield checked


def _sign_off(one: JobView) -> Entity | None:
    """By the site's policy, before anything runs; nothing while it has not decided, or where it never did."""
    admitted = one.times.get("materialising")
    refused = one.state == JobState.refused and admitted is None
    if admitted is None and not refused:
        return None
    outcome = "refused" if refused else "approved"
    return {
        **_assessment("SignOff", one, f"Sign-off of job {one.id} by the policy of {one.host}: {outcome}"),
        "agent": ref(local("policy", one.host)),
        "instrument": ref(local("rules", one.host)),
        "object": refs([ROOT, TOOL, PROJECT]),
        "actionStatus": FAILED if refused else COMPLETED,
        **known(endTime=moment(admitted or one.times.get("refused"))),
    }


def _disclosure(one: JobView, results: Sequence[str]) -> Entity | None:
    """The site's decision about a job's outputs; nothing of a job that ended before there was anything to decide."""
    if one.release is not None:
        return _by_person(one, results)
    if one.state == JobState.succeeded:
        return _by_policy(one, results)
    if one.state in TERMINAL:
        return None
    return {
        **_assessment("DisclosureCheck", one, f"Disclosure check of job {one.id} at {one.host}: pending"),
        "agent": ref(local("site", one.host)),
        "object": refs([ROOT]),
        "actionStatus": POTENTIAL,
        "description": "the job has not ended, and nothing is decided about its outputs",
    }


def _by_policy(one: JobView, results: Sequence[str]) -> Entity:
    """The centre is not told when exactly: before the job's end."""
    what = "approved" if results else "nothing to release"
    return {
        **_assessment("DisclosureCheck", one, f"Disclosure check of job {one.id} at {one.host}: {what}"),
        "agent": ref(local("policy", one.host)),
        "instrument": ref(local("rules", one.host)),
        "object": refs([ROOT, *results]),
        "actionStatus": COMPLETED,
        "description": "the site's rules and its policy, by the hash of each file; no person was asked",
        **known(endTime=moment(one.times.get("succeeded"))),
    }


def _by_person(one: JobView, results: Sequence[str]) -> Entity:
    release = one.release
    assert release is not None
    approved = release.stage in {RELEASED, PARTLY_RELEASED}
    waits = release.stage == UNDER_REVIEW
    outcome = (
        f"pending, decided by {moment(release.until)}" if waits and release.until else _OUTCOMES.get(release.stage)
    )
    named = f"Disclosure check of job {one.id} at {one.host}: {outcome or release.stage}"
    times = known(startTime=moment(release.until)) if waits else known(
        startTime=moment(release.since), endTime=moment(release.decided or one.times.get(one.state))
    )  # fmt: skip
    return {
        **_assessment("DisclosureCheck", one, named),
        "agent": ref(local("site", one.host)),
        "object": refs([ROOT, *(results if approved else ())]),
        "actionStatus": POTENTIAL if waits else COMPLETED if approved else FAILED,
        "description": TEXTS.get(release.stage, release.stage),
        **times,
    }


_OUTCOMES = {
    UNDER_REVIEW: "pending",
    RELEASED: "approved",
    PARTLY_RELEASED: "approved in part",
    "refused": "not approved",
    "withheld": "not decided in time, so not approved",
}


def manifests_made(when: str) -> Entity:
    """The publishing phase: the bag's checksums."""
    return {
        "@id": "#checksums",
        "@type": "UpdateAction",
        "additionalType": ref(f"{_SHP}GenerateCheckValue"),
        "name": "BagIt manifests of this crate written",
        "startTime": when,
        "object": ref(ROOT),
        "instrument": ref(SHA512),
        "agent": ref("#api"),
        "actionStatus": COMPLETED,
    }


def _assessment(kind: str, one: JobView, name: str) -> Entity:
    return {
        "@id": local(kind.lower(), one.id),
        "@type": "AssessAction",
        "additionalType": ref(_SHP + kind),
        "name": name,
    }
