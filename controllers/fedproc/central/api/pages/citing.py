"""The sentence by which others find exactly the same, from what the API tells of an experiment and its data."""

from __future__ import annotations

from fedproc.central.api.pages.backend import Backend
from fedproc.contract.api.citing import CitedDataset, citation, title_of
from fedproc.contract.api.experiments import ExperimentView, Report
from fedproc.contract.api.hosts import DatasetView, HostView
from fedproc.contract.states import ExperimentState

_MOST_CITED = 300
"""datasets of which titles are asked for; those beyond are cited by their ids"""


def is_citable(experiment: ExperimentView) -> bool:
    """Whether it has ended with results: of one that failed or was cancelled there is nothing to cite."""
    return experiment.ended is not None and experiment.state is ExperimentState.succeeded


async def cited(api: Backend, found: ExperimentView, centre: str) -> str:
    """As the experiment stands; ``centre`` is the address at which it is."""
    report = await api.one(Report, f"/experiments/{found.id}/report")
    data = {f"{job.host}:{use['id']}": use.get("version") for job in report.jobs for use in job.datasets}
    ids = sorted(data)
    offered = {each.id: each for each in await api.many(DatasetView, "/datasets", id=ids[:_MOST_CITED])} if ids else {}
    hosts = await api.many(HostView, "/hosts/", brief=True, id=sorted({each.partition(":")[0] for each in ids}))
    sites = {host.id: host.site for host in hosts if ids}
    datasets = [_dataset(name, data[name], offered.get(name), sites.get(name.partition(":")[0], "")) for name in ids]
    ending = f"{found.state.value} {(found.ended or found.created).isoformat(timespec='seconds')}"
    return citation((found.tool, found.version, found.digest), datasets, found.id, centre, ending)


def _dataset(name: str, version: str | None, offered: DatasetView | None, site: str) -> CitedDataset:
    """What its host says now is told of the version that was read alone."""
    if offered is None or offered.version != version:
        return CitedDataset(name, version, publisher=site)
    return CitedDataset(name, version, title_of(offered.title, offered.description), offered.creators, site)
