"""What providers have granted to a new experiment, and what its orders say of that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedproc.central.experiments.parameters import field_error
from fedproc.central.experiments.placement import Placed, Plan
from fedproc.central.grants.answers import Finding
from fedproc.common.errors import InvalidInputError
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.times import moment
from fedproc.contract.wire.datasets import DatasetGrant

_TERMS = ("project", "permit", "purpose")


@dataclass(frozen=True)
class Granted:
    """The grants by ``HOST:id``; what no provider is asked about is not there.

    ``session`` is the user's session at the issuer, encrypted, by which is asked again; None if there is none.
    """

    findings: Mapping[str, Finding] = field(default_factory=dict)
    session: str | None = None

    def of_job(self, job: Placed) -> list[DatasetGrant]:
        """The grants of a job's datasets."""
        ids = {use.id: self.findings.get(f"{job.host}:{use.id}") for use in job.datasets}
        return [_grant(name, finding) for name, finding in ids.items() if finding is not None]

    def terms_of_job(self, job: Placed) -> dict[str, str | None]:
        """Project, permit and purpose by the grants of a job's datasets: the first, after :func:`check_terms`."""
        return {name: next(iter(values), None) for name, values in _values(self.of_job(job)).items()}


def check_terms(granted: Granted, plan: Plan) -> None:
    """Refuse a job whose datasets were granted to different projects or purposes. Raises :class:`InvalidInputError`."""
    errors = [
        field_error(
            "datasets", f"those of {job.host} were granted for different {name}s: {', '.join(values)}",
            "start an experiment for each",
        )
        for job in plan.jobs
        for name, values in _values(granted.of_job(job)).items()
        if len(values) > 1 and name != "permit"
    ]  # fmt: skip
    if errors:
        raise InvalidInputError(
            f"the experiment cannot be placed: {errors[0]['what']}", code="placement", errors=errors
        )


def by_grants(granted: Granted, request: ExperimentRequest, plan: Plan) -> ExperimentRequest:
    """The request with what its grants say in the place of what the user wrote.

    Where they differ from job to job, each order has its own, and the experiment as a whole has none.
    """
    all_values = _values(grant for job in plan.jobs for grant in granted.of_job(job))
    values = {name: values[0] if len(values) == 1 else None for name, values in all_values.items() if values}
    return request.model_copy(update=values)


def _values(grants: Iterable[DatasetGrant]) -> dict[str, list[str]]:
    found = list(grants)
    return {name: list(dict.fromkeys(v for grant in found if (v := getattr(grant, name)))) for name in _TERMS}


def _grant(dataset: str, finding: Finding) -> DatasetGrant:
    terms = finding.terms
    until = None if terms.until is None else moment(terms.until)
    return DatasetGrant(
        dataset=dataset, provider=finding.provider, project=terms.project, permit=terms.permit,
        purpose=terms.purpose, until=until,
    )  # fmt: skip
