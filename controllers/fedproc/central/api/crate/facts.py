"""What a crate needs, out of the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row

from fedproc.central.api.crate.document import Facts
from fedproc.central.api.deps import AppState
from fedproc.central.api.views import experiment_view, file_view
from fedproc.central.db.repositories import experiments, files, hosts, tools


def crate_facts(connection: Connection, app: AppState, row: Row[Any]) -> Facts:
    """Of one experiment, as it stands now."""
    jobs = experiments.jobs_of(connection, row.id)
    sites = hosts.all_named(connection, {job.host for job in jobs})
    tool = tools.by_digest(connection, row.digest)
    return Facts(
        experiment=experiment_view(row, jobs, app.heartbeat_timeout),
        results=[file_view(app, file) for file in files.outputs(connection, experiment=row.id)],
        datasets={
            job.id: [(f"{job.host}:{use['id']}", str(use.get("version") or "")) for use in job.datasets] for job in jobs
        },
        sites={host.id: host.site for host in sites},
        software={host.id: str(host.heartbeat["software"]) for host in sites if host.heartbeat},
        manifest=None if tool is None else tool.signed.encode(),
        centre=app.url(""),
        operator=app.settings.data_catalogue.publisher.name,
        now=datetime.now(UTC).replace(microsecond=0),
    )
