"""The audit of what retention deletes: one entry for each kind, brought up to date with each portion."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from fedproc.central.db.repositories import audits

ACTOR = "retention"


class Trail:
    """Counts what is deleted of one kind, in the transactions that delete it."""

    def __init__(self, kind: str, days: float, now: float) -> None:
        self._kind = kind
        self._days = days
        self._now = now
        self._entry: int | None = None
        self._ids: list[str] = []
        self.removed = 0

    def note(self, connection: Connection, ids: Collection[object]) -> None:
        """These rows are deleted in this transaction, the oldest first."""
        if not ids:
            return
        self.removed += len(ids)
        names = [str(name) for name in ids]
        self._ids = [*(self._ids or names)[:1], names[-1]]
        detail = f"{self.removed} after {self._days:g} days, from {self._ids[0]} to {self._ids[1]}"
        if self._entry is None:
            self._entry = audits.add(connection, ACTOR, f"expire_{self._kind}", None, detail, self._now)
        else:
            audits.describe_again(connection, self._entry, detail)
