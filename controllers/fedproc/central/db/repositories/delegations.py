"""Users' sessions at the issuer, encrypted: each is kept as long as an experiment is open that needs it."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from fedproc.central.db.sign_in_tables import delegations

_ADD = insert(delegations)
_OF = select(delegations.c.sealed).where(delegations.c.experiment == bindparam("id"))
_FORGET = delete(delegations).where(delegations.c.experiment == bindparam("id"))
_RENEWED = update(delegations).where(
    delegations.c.experiment == bindparam("id"), delegations.c.sealed == bindparam("before")
)


def keep(connection: Connection, experiment: str, sealed: str, now: float) -> None:
    connection.execute(_ADD, {"experiment": experiment, "sealed": sealed, "kept": now})


def of(connection: Connection, experiment: str) -> str | None:
    """The session as it was sealed; None if none is kept."""
    found: str | None = connection.execute(_OF, {"id": experiment}).scalar_one_or_none()
    return found


def renew(connection: Connection, experiment: str, before: str, sealed: str) -> None:
    """Keep the next one, unless another program has renewed it meanwhile."""
    connection.execute(_RENEWED.values(sealed=sealed), {"id": experiment, "before": before})


def forget(connection: Connection, experiment: str) -> None:
    connection.execute(_FORGET, {"id": experiment})
