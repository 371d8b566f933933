"""Names on the broker (the wire contract's channels; docs/wire.md).

=====================  =========================================================================
exchange ``jobs``      direct; key = host id; queue ``jobs.HOST`` (quorum)
exchange ``control``   direct; key = host id; queue ``control.HOST`` (quorum): start, finish, cancel
exchange ``events``    topic; key ``host.HOST.KIND``; queue ``events.HOST`` (quorum, bounded, one active consumer)
exchange ``dead``      fanout; queue ``dead`` (quorum): what a host could not read
=====================  =========================================================================
"""

from __future__ import annotations

from typing import Any, Literal

from fedproc.contract.wire import limits

JOBS = "jobs"
CONTROL = "control"
EVENTS = "events"
DEAD = "dead"
EVENTS_MAX_LENGTH = 100_000
RESOURCE_SERVER = "rabbitmq"

REFUSE = {"overflow": "reject-publish"}
POLICIES: dict[str, tuple[str, dict[str, Any]]] = {
    "fedproc-events": ("^events[.]", {"max-length-bytes": limits.EVENTS_QUEUE_BYTES, **REFUSE}),
    "fedproc-jobs": (
        "^(jobs|control)[.]",
        {"max-length-bytes": limits.JOBS_QUEUE_BYTES, "max-length": limits.JOBS_QUEUE_MESSAGES, **REFUSE},
    ),
}
"""By name: which queues, and their bounds. A policy, since the arguments of a queue that is there cannot be changed."""

EventKind = Literal["snapshot", "heartbeat", "record", "report", "unread"]


def jobs_queue(host: str) -> str:
    return f"{JOBS}.{host}"


def control_queue(host: str) -> str:
    return f"{CONTROL}.{host}"


def events_queue(host: str) -> str:
    return f"{EVENTS}.{host}"


def events_key(host: str, kind: EventKind) -> str:
    return f"host.{host}.{kind}"


def events_binding(host: str) -> str:
    return f"host.{host}.*"


def host_scopes(host: str) -> str:
    """The broker scopes of one host's token: read its two queues, publish events under its own key."""
    return (
        f"{RESOURCE_SERVER}.read:*/{jobs_queue(host)}/* {RESOURCE_SERVER}.read:*/{control_queue(host)}/* "
        f"{RESOURCE_SERVER}.write:*/{EVENTS}/host.{host}.*"
    )


def relay_scopes() -> str:
    """The relay's broker scopes: it declares the topology, publishes jobs and reads events."""
    return " ".join(f"{RESOURCE_SERVER}.{verb}:*/*/*" for verb in ("configure", "write", "read"))


def server_name(port: int, job: str, aggregator_label: str, domain: str) -> str:
    """The TLS name of a server task's port: ``<port>-<job>.<aggregator>.jobs.<domain>``.

    docs/architecture.md, "Connections", says who asks for it.
    """
    return f"{port}-{job}.{aggregator_label}.jobs.{domain}"
