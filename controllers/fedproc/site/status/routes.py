"""What ``fedproc site …`` may ask of a running orchestrator, by its control socket."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Any

from fedproc.contract.wire.logs import WitnessedLog
from fedproc.site.centre.witness import CentreWitness
from fedproc.site.executors.several import offers_within
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.overview import jobs_of, leftovers_of
from fedproc.site.jobs.services import Services
from fedproc.site.retention.keeper import Retention
from fedproc.site.status.control import Caller, Route
from fedproc.site.status.executor_watch import unfit
from fedproc.site.status.host_check import HostCheck
from fedproc.site.status.releases import release_routes

EXECUTOR_SECONDS = 3.0
"""that an operator waits for an executor; below the five after which ``fedproc site`` takes it that nobody answers"""


def routes_for(
    services: Services,
    orchestrator: Orchestrator,
    check: HostCheck,
    retention: Retention,
    witness: CentreWitness,
) -> list[Route]:
    """The routes of :class:`fedproc.site.status.control.ControlSocket`."""
    routes = _Routes(services, orchestrator, check, retention, witness)
    return [
        ("POST", re.compile("/drain"), routes.drain),
        ("GET", re.compile("/status"), routes.status),
        ("GET", re.compile("/datasets"), routes.datasets),
        ("GET", re.compile("/executors"), routes.executors),
        ("GET", re.compile("/storage"), routes.storage),
        *release_routes(services, orchestrator),
        ("POST", re.compile("/(stop|start)"), routes.stop_or_start),
    ]


class _Routes:
    def __init__(
        self,
        services: Services,
        orchestrator: Orchestrator,
        check: HostCheck,
        retention: Retention,
        witness: CentreWitness,
    ) -> None:
        self._witness = witness
        self._retention = retention
        self._services = services
        self._orchestrator = orchestrator
        self._check = check

    async def status(self, _match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        services = self._services
        return {
            "host": services.settings.host,
            "stopped": services.holds.stopped,
            "held": services.holds.held,
            "clock_skew_seconds": round(services.identity.clock.skew, 1),
            "capacity": services.pool.capacity().model_dump(mode="json"),
            "check": self._check.shown(),
            "jobs": jobs_of(self._orchestrator.runs.values()),
            "leftovers": leftovers_of(self._orchestrator.leftovers),
            "unreadable": [
                {"job": job, "reason": reason, "set_aside": datetime.fromtimestamp(at, UTC).isoformat()}
                for job, reason, at in await services.journal.unreadable()
            ],
            "log": {
                "entries": services.tlog.size,
                "works": services.tlog.works,
                "witnessed": _json(self._witness.of_ours),
                "centre": _json(self._witness.of_centre),
            },
            "datasets": [dataset for dataset in _datasets(services) if dataset["problem"] is not None],
        }

    async def executors(self, _match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        """What each executor says of itself now, and what of it keeps jobs away."""
        services = self._services
        offers = await offers_within(services.executor, EXECUTOR_SECONDS)
        ready = await asyncio.to_thread(services.tool_cache.ready)
        return [
            {
                "name": name,
                "is": offer.detail,
                "takes_jobs": not unfit(offer, services.policy),
                "missing": unfit(offer, services.policy) or None,
                "lacks": offer.lacks,
                "accepted": [limit for limit in offer.lacks if limit in services.policy.unenforced_limits],
                "tools_ready": [tool.model_dump(mode="json") for tool in ready],
            }
            for name, offer in offers.items()
        ]

    async def datasets(self, _match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        await self._services.data.offers()
        return _datasets(self._services)

    async def storage(self, _match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        return [kept.as_json() for kept in await self._retention.survey()]

    async def stop_or_start(self, match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        if match[1] == "stop":
            self._orchestrator.stop()
        else:
            self._services.holds.start()
        return {"stopped": self._services.holds.stopped}

    async def drain(self, _match: re.Match[str], _body: dict[str, Any], _caller: Caller) -> Any:
        self._services.holds.drain()
        return {"held": self._services.holds.held, "jobs": len(self._orchestrator.runs)}


def _json(found: WitnessedLog | None) -> dict[str, Any] | None:
    return None if found is None else found.model_dump()


def _datasets(services: Services) -> list[dict[str, Any]]:
    return [
        {
            "id": found.id,
            "path": str(found.path),
            "version": found.offer.version if found.offer else None,
            "label": found.offer.label if found.offer else None,
            "files": found.offer.files if found.offer else None,
            "bytes": found.offer.size if found.offer else None,
            "problem": found.problem,
            "cure": found.cure,
            "progress": found.progress,
            "found": dict(found.found),
        }
        for found in services.data.conditions()
    ]
