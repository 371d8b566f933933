"""What ``/metrics`` of the relay shows: how it stands with broker and database, what waits, and how each host is.

Unlike the API's page it names hosts, so it is shown on the loopback interface alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from time import time
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, Row, Select, func, select

from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import traces
from fedproc.central.db.schema import dead_letters, hosts, outbox
from fedproc.central.retention import clock, figures
from fedproc.common.errors import UnavailableError
from fedproc.common.tlog.witness import Witnessed

_CONDITIONS = ("accepting", "holding", "stopped")
_LONGEST_REASON = 160
_UNSENT = select(func.count(), func.min(outbox.c.created)).where(outbox.c.sent.is_(None))
_DEAD = select(func.count()).select_from(dead_letters)
_HOSTS: Select[Any] = select(
    hosts.c.id, hosts.c.enrolled, hosts.c.heard, hosts.c.heartbeat, hosts.c.log, hosts.c.drained
).where(hosts.c.active)  # fmt: skip


class MetricsCollector(Collector):
    """Reads the database at each scrape; ``broker`` says how it stands with the broker, ``ok`` if well."""

    def __init__(self, engine: Engine, broker: Callable[[], str]) -> None:
        self._engine = engine
        self._broker = broker

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not need the database."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """While the database does not answer, only that is shown."""
        connected = float(self._broker() == "ok")
        yield GaugeMetricFamily("fedproc_relay_broker_connected", "1 while the relay can publish", value=connected)
        try:
            with read_transaction(self._engine) as connection:
                hosts_now = connection.execute(_HOSTS).all()
                found = [*_waiting(connection, time()), *_of_hosts(hosts_now), *_kept(figures.read(connection))]
                found += _of_traces(traces.counts(connection))
                found.append(_doubted(clock.doubt(connection, time())))
        except UnavailableError:
            found = []
        answers = float(bool(found))
        yield GaugeMetricFamily("fedproc_relay_database_answers", "1 while the database answers", value=answers)
        yield from found


def _waiting(connection: Connection, now: float) -> Iterable[Metric]:
    unsent, oldest = connection.execute(_UNSENT).one()
    age = 0.0 if oldest is None else max(0.0, now - oldest)
    yield GaugeMetricFamily("fedproc_outbox_unsent", "Messages to hosts that wait to be published", value=unsent)
    yield GaugeMetricFamily("fedproc_outbox_oldest_seconds", "How long the oldest of them has waited", value=age)
    dead = connection.execute(_DEAD).scalar_one()
    yield CounterMetricFamily("fedproc_dead_letters", "Messages that nobody could read", value=dead)


def _doubted(doubt: clock.Doubt | None) -> Metric:
    text = "1 while nothing is deleted by age, as the centre's clock may be wrong"
    return GaugeMetricFamily("fedproc_retention_clock_doubted", text, value=float(doubt is not None))


def _kept(counted: Iterable[Row[Any]]) -> Iterable[Metric]:
    """As it was counted when retention was last applied: counting is not for each scrape."""
    rows = GaugeMetricFamily("fedproc_kept_rows", "Rows of each kind that the centre keeps", labels=["kind"])
    size = GaugeMetricFamily("fedproc_kept_bytes", "Bytes of each kind that the centre keeps", labels=["kind"])
    removed = CounterMetricFamily("fedproc_retention_removed", "Rows that retention has deleted", labels=["kind"])
    last = 0.0
    for row in counted:
        rows.add_metric([row.kind], row.rows)
        removed.add_metric([row.kind], row.removed)
        last = max(last, row.time)
        if row.bytes is not None:
            size.add_metric([row.kind], row.bytes)
    applied = "fedproc_retention_applied_timestamp_seconds"
    yield GaugeMetricFamily(applied, "When retention was last applied; 0 if not yet", value=last)
    yield from (rows, size, removed)


def _of_traces(counts: traces.Counts) -> Iterable[Metric]:
    """Of the tracing service; all 0 where none is set."""
    waiting = "Traces that the tracing service does not have yet"
    yield GaugeMetricFamily("fedproc_traces_waiting", waiting, value=counts.waiting)
    oldest = "When the oldest trace that waits was written; 0 if none waits"
    yield GaugeMetricFamily("fedproc_traces_oldest_timestamp_seconds", oldest, value=counts.oldest or 0)
    yield GaugeMetricFamily("fedproc_traces_refused", "Traces that the service will never take", value=counts.refused)
    yield GaugeMetricFamily("fedproc_traces_delivered", "Traces delivered, of those kept", value=counts.delivered)


def _of_hosts(rows: Iterable[Row[Any]]) -> Iterable[Metric]:
    last_seen = GaugeMetricFamily(
        "fedproc_host_heard_timestamp_seconds", "When a host was last heard of; of a new one, enrolled", labels=["host"]
    )
    condition = GaugeMetricFamily(
        "fedproc_host_condition", "1 for what a host says of itself", labels=["host", "condition", "reason"]
    )
    skew = GaugeMetricFamily(
        "fedproc_host_clock_skew_seconds", "A host's clock less the centre's, at its last heartbeat", labels=["host"]
    )
    alarms = GaugeMetricFamily("fedproc_host_alarms", "What a host's own check has found wrong", labels=["host"])
    open_jobs = GaugeMetricFamily("fedproc_host_open_jobs", "Open jobs by the host's own books", labels=["host"])
    log = GaugeMetricFamily(
        "fedproc_host_log_broken", "1 if a host's transparency log is not what the centre witnessed", labels=["host"]
    )
    drained = GaugeMetricFamily("fedproc_host_drained", "1 while an operator drains a host", labels=["host"])
    for row in rows:
        drained.add_metric([row.id], float(row.drained is not None))
        if row.log is not None:
            log.add_metric([row.id], float(Witnessed.of_json(row.log).is_broken))
        last_seen.add_metric([row.id], row.enrolled if row.heard is None else row.heard)
        if row.heard is None or row.heartbeat is None:
            continue
        present = row.heartbeat.get("condition", "accepting")
        for name in _CONDITIONS:
            reason = _reason(row.heartbeat) if name == present != "accepting" else ""
            condition.add_metric([row.id, name, reason], float(name == present))
        skew.add_metric([row.id], datetime.fromisoformat(row.heartbeat["time"]).timestamp() - row.heard)
        alarms.add_metric([row.id], _alarms(row.heartbeat.get("check")))
        open_jobs.add_metric([row.id], row.heartbeat.get("open_jobs", 0))
    return last_seen, condition, skew, alarms, open_jobs, log, drained


def _reason(heartbeat: dict[str, Any]) -> str:
    """In words, without numbers: each value of a number would be a series of its own."""
    return re.sub(r"\d+", "#", heartbeat.get("condition_text", ""))[:_LONGEST_REASON]


def _alarms(check: object) -> int:
    """A host may send anything as its check."""
    found = check.get("alarms") if isinstance(check, dict) else None
    return len(found) if isinstance(found, list) else 0
