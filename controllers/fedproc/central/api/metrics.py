"""What ``/metrics`` of the API shows: counts and times only, nothing that names a person, tool or host."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from sqlalchemy import Connection, func, select

from fedproc.central.db.schema import experiments, hosts, jobs

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

_OPEN_JOBS = (
    select(jobs.c.state, func.count())
    .where(jobs.c.state.in_(("queued", "dispatched", "accepted", "materialising", "prepared", "running", "collecting",
                             "awaiting_release")))
    .group_by(jobs.c.state)
)  # fmt: skip
_OPEN_EXPERIMENTS = (
    select(experiments.c.state, func.count())
    .where(experiments.c.state.in_(("queued", "running")))
    .group_by(experiments.c.state)
)


class Metrics:
    """The API's own registry; one per application."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "fedproc_api_requests", "Answers given", ("method", "route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "fedproc_api_request_seconds", "From request to end of answer", buckets=_BUCKETS, registry=self.registry
        )
        self.streams = Gauge("fedproc_api_event_streams", "Open event streams", registry=self.registry)
        self._jobs = Gauge("fedproc_open_jobs", "Open jobs by state", ("state",), registry=self.registry)
        self._experiments = Gauge(
            "fedproc_open_experiments", "Open experiments by state", ("state",), registry=self.registry
        )
        self._hosts = Gauge(
            "fedproc_hosts", "Active hosts, by whether heard of lately", ("alive",), registry=self.registry
        )
        self._counters: dict[tuple[str, str, int], Counter] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answer; ``route`` is the template of its path."""
        key = (method, route, status)
        counter = self._counters.get(key)
        if counter is None:
            counter = self._counters[key] = self._requests.labels(method, route, str(status))
        counter.inc()
        self._seconds.observe(seconds)

    def page(self, connection: Connection, seen_since: float) -> bytes:
        """The text for Prometheus; a host that was last seen after ``seen_since`` counts as alive."""
        for gauge, query in ((self._jobs, _OPEN_JOBS), (self._experiments, _OPEN_EXPERIMENTS)):
            gauge.clear()
            for state, count in connection.execute(query):
                gauge.labels(state).set(count)
        last_seen = connection.execute(select(hosts.c.heard).where(hosts.c.active)).scalars().all()
        alive = sum(1 for moment in last_seen if moment is not None and moment > seen_since)
        self._hosts.labels("true").set(alive)
        self._hosts.labels("false").set(len(last_seen) - alive)
        return generate_latest(self.registry)
