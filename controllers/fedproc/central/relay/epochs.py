"""Which of a host's journals a message comes from, and when the host was alive that sent it.

An epoch names a journal. Brokers deliver again and late, so another epoch alone says nothing: an epoch that was
followed by another does not come back, and one that was never seen is a new one only if its message was signed after
the present epoch was first seen. A message counts for the time at which it was signed, not for that of its arrival.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import Row

from fedproc.common.errors import UnreadableError

LONGEST = 64
"""characters of an epoch"""
EARLIER_KEPT = 20
"""of each host; those before them are known by when their messages were signed"""
CLOCKS_APART = 60.0
"""seconds by which a host's clock may be off: what was signed within them has not waited"""


@dataclass(frozen=True)
class Epochs:
    """The present epoch of one host, when it was first seen (signed), and those that it followed, newest first."""

    present: str | None
    since: float
    earlier: tuple[str, ...] = ()

    @classmethod
    def of(cls, host: Row[Any]) -> Self:
        """As the table has them; of a host that a program before this one wrote down only the present one is known."""
        if host.epochs is None:
            return cls(host.epoch, host.heard or 0.0)
        return cls(host.epoch, host.epochs["since"], tuple(host.epochs["earlier"]))

    def is_earlier(self, epoch: str, signed: float) -> bool:
        """Whether a message of ``epoch`` that was signed then is of a journal that is gone."""
        if self.present in (None, epoch):
            return False
        return epoch in self.earlier or signed < self.since

    def followed_by(self, epoch: str, signed: float) -> Epochs:
        """With ``epoch`` as the present one."""
        before = () if self.present in (None, epoch) else (self.present, *self.earlier)
        return Epochs(epoch, signed, tuple(name for name in before if name)[:EARLIER_KEPT])

    def as_columns(self) -> dict[str, Any]:
        """As the table of hosts keeps them."""
        return {"epoch": self.present, "epochs": {"since": self.since, "earlier": list(self.earlier)}}


def checked(epoch: str) -> str:
    """The epoch, if the tables can hold it. Raises :class:`UnreadableError`."""
    if len(epoch) > LONGEST:
        raise UnreadableError(
            f"its epoch has {len(epoch)} characters; {LONGEST} are allowed", code="unreadable.content"
        )
    return epoch


def last_seen(before: float | None, signed: float, now: float) -> float:
    """When a host was last heard of, now that a message of it came: never earlier than before."""
    at = now if now - signed <= CLOCKS_APART else signed
    return at if before is None or before > now else max(before, at)
