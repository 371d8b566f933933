"""What a host keeps of one kind, and what goes of it when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from fedproc.common.log import get_logger

log = get_logger(__name__)

DAY = 86400.0

Discard = Callable[[str], Awaitable[bool]]
"""removes what has this name; False if it stays for now"""


@dataclass(frozen=True)
class Item:
    """One thing that is kept: its name, when it was over or was used last (seconds since 1970), and its bytes."""

    name: str
    at: float
    size: int = 0
    stays: bool = False
    """whatever its age, since it is in use or needed"""


@dataclass(frozen=True)
class Kept:
    """The figures of one kind. Times are seconds since 1970, sizes bytes."""

    kind: str
    what: str
    count: int
    size: int
    oldest: float | None = None
    days: float | None = None
    """for how long one is kept; None if it does not go by its age"""
    due: int = 0
    """how many go with the next pass"""
    following: float | None = None
    """when the next one after those is due"""
    removed: int = 0
    """since the orchestrator was started"""

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        return values | {name: _moment(values[name]) for name in ("oldest", "following")}


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


class Kind(Protocol):
    """One kind of what is kept."""

    name: str

    async def survey(self, now: float) -> Kept:
        """The figures of this moment, without what was removed."""
        ...

    async def remove(self, now: float) -> int:
        """Remove one batch of what is due, and say how many that were; 0 where nothing is left to do."""
        ...


def due_before(days: float, now: float) -> float:
    """What is older than this goes; with 0 days nothing ever does."""
    return now - days * DAY if days else float("-inf")


class OneByOne:
    """Removes things of one kind. One that cannot be removed is told once a pass, and keeps no later one."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._failed: set[str] = set()

    async def remove_first(self, names: Iterable[str], discard: Discard) -> int:
        """Remove the first that goes: 1, or 0 where none does, with which the pass is over."""
        for name in names:
            if name not in self._failed and await self._is_gone(name, discard):
                return 1
        self._failed.clear()
        return 0

    async def _is_gone(self, name: str, discard: Discard) -> bool:
        try:
            return await discard(name)
        except Exception as error:  # noqa: BLE001 (of whatever kind: the others go)
            self._failed.add(name)
            cure = "it is tried again with the next pass; look at its rights and its disk"
            log.error("retention.not_removed", kind=self._kind, name=name, reason=str(error), cure=cure)
            return False


def figures(kind: str, what: str, items: Iterable[Item], days: float, now: float) -> Kept:
    """Of things that are listed one by one."""
    found = list(items)
    going = [item for item in found if not item.stays]
    later = [item.at for item in going if item.at >= due_before(days, now)]
    return Kept(
        kind=kind,
        what=what,
        count=len(found),
        size=sum(item.size for item in found),
        oldest=min((item.at for item in found), default=None),
        days=days or None,
        due=len(going) - len(later),
        following=min(later) + days * DAY if later and days else None,
    )
