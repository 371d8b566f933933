"""How large what is signed may be: larger is neither sent nor read.

An artefact has no limit of its own here: its output's ``max_mb`` bounds it, and its reader takes no more bytes than
the signed order names.
"""

from __future__ import annotations

from collections.abc import Mapping

MIB = 1 << 20

MESSAGE_BYTES = 16 * MIB
"""of a sealed message: what RabbitMQ takes by itself (``rabbitmq_message_mb`` says the same). A snapshot of 10,000
output files with the longest names needs 9 MiB of it."""

OF_KIND: Mapping[str, int] = {"heartbeat": 4 * MIB, "record": 4 * MIB, "report": 4 * MIB, "unread": MIB // 4}
"""bytes of a sealed message of a kind that needs less than :data:`MESSAGE_BYTES`: of a heartbeat some 10,000 datasets
with 200 bytes each, of a record the 256 KiB of lines that a host reads at a time, however they are escaped"""

EVENTS_QUEUE_BYTES = 128 * MIB
"""of what may wait of one host's events (``rabbitmq_events_queue_mb``); the host keeps what the broker refuses"""

JOBS_QUEUE_BYTES = 256 * MIB
JOBS_QUEUE_MESSAGES = 100_000
"""of what may wait for one host (``rabbitmq_jobs_queue_mb``, ``rabbitmq_jobs_queue_messages``); the relay keeps the
rest"""

MANIFEST_BYTES = 8 * MIB
"""of a signed manifest: some 20,000 files of one tool"""

_AROUND = 1024
"""bytes for header, signature and envelope"""


def most_of(kind: str) -> int:
    """Bytes that a sealed message of this kind may have."""
    return OF_KIND.get(kind, MESSAGE_BYTES)


def sealed_size(body: int) -> int:
    """Bytes of a message with a body of so many bytes of JSON, at most."""
    return (body + _AROUND) * 4 // 3 + _AROUND


def text(size: float) -> str:
    """As a person reads it."""
    return f"{size / MIB:.2f} MiB"
