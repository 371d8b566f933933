"""What providers have granted to a new experiment, and what its orders say of that, and of whose word it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fedproc.central.experiments.placement import Placed, Plan
from fedproc.central.grants.answers import Finding
from fedproc.central.grants.projects import TERMS
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.times import moment
from fedproc.contract.wire.datasets import DatasetGrant


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
        """Project, permit and purpose by the grants of a job's datasets; of several permits the first."""
        return {name: next(iter(values), None) for name, values in _values(self.of_job(job)).items()}

    def told_by(self, job: Placed) -> dict[str, str]:
        """By term that the grants of a job's datasets tell: the provider."""
        return _told_by(self.of_job(job))


def by_grants(granted: Granted, request: ExperimentRequest, plan: Plan) -> ExperimentRequest:
    """The request with what its grants say in the place of what the user wrote.

    Where permits differ from dataset to dataset, each order has its own, and the experiment as a whole has none.
    """
    all_values = _values(grant for job in plan.jobs for grant in granted.of_job(job))
    values = {name: values[0] if len(values) == 1 else None for name, values in all_values.items() if values}
    return request.model_copy(update=values)


def told_by(granted: Granted, plan: Plan) -> dict[str, str]:
    """By term that the experiment as a whole has by its grants: the provider. All else is the user's word."""
    grants = [grant for job in plan.jobs for grant in granted.of_job(job)]
    single = {name for name, values in _values(grants).items() if len(values) == 1}
    return {name: provider for name, provider in _told_by(grants).items() if name in single}


def _told_by(grants: Iterable[DatasetGrant]) -> dict[str, str]:
    found: dict[str, str] = {}
    for grant in grants:
        found |= {name: grant.provider for name in TERMS if getattr(grant, name) and name not in found}
    return found


def _values(grants: Iterable[DatasetGrant]) -> dict[str, list[str]]:
    found = list(grants)
    return {name: list(dict.fromkeys(v for grant in found if (v := getattr(grant, name)))) for name in TERMS}


def _grant(dataset: str, finding: Finding) -> DatasetGrant:
    terms = finding.terms
    until = None if terms.until is None else moment(terms.until)
    return DatasetGrant(
        dataset=dataset, provider=finding.provider, project=terms.project, permit=terms.permit,
        purpose=terms.purpose, until=until,
    )  # fmt: skip
