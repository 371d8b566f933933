"""What the intake of a batch of messages changed."""

from __future__ import annotations

from dataclasses import dataclass, field

from fedproc.contract.wire.messages import Heartbeat


@dataclass
class IngestResult:
    """What a batch changed."""

    experiments: set[str] = field(default_factory=set)
    events: bool = False
    messages: bool = False
    """there may be something in the outbox now"""
    heartbeats: dict[str, Heartbeat] = field(default_factory=dict)

    def add(self, other: IngestResult) -> None:
        """What another batch changed, too."""
        self.experiments |= other.experiments
        self.events |= other.events
        self.messages |= other.messages
        self.heartbeats |= other.heartbeats
