"""Enrolled hosts, and what their last heartbeat said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, insert, or_, select, update

from fedproc.central.db.schema import experiments, hosts
from fedproc.common.errors import NotFoundError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.hosts import HostEnrolment

_ACTIVE = select(hosts.c.active).where(hosts.c.id == bindparam("id"))
_ACTIVE_IDS = select(hosts.c.id).where(hosts.c.active).order_by(hosts.c.id)
_PASSED = exists().where(experiments.c.id == hosts.c.acceptance, experiments.c.state == "succeeded")
_IS_ACCEPTED = or_(hosts.c.accepted, _PASSED).label("is_accepted")
_ONE = select(hosts, _IS_ACCEPTED).where(hosts.c.id == bindparam("id"))

_NAMED = select(hosts.c.id, hosts.c.active, hosts.c.roles, hosts.c.heartbeat, _IS_ACCEPTED).where(
    hosts.c.id.in_(bindparam("ids", expanding=True))
)


def is_active(connection: Connection, host: str) -> bool:
    """Whether the host is enrolled and not revoked."""
    return bool(connection.execute(_ACTIVE, {"id": host}).scalar())


def one(connection: Connection, host: str) -> Row[Any] | None:
    return connection.execute(_ONE, {"id": host}).one_or_none()


def enrolled(connection: Connection, host: str) -> Row[Any]:
    """One host, revoked or not. Raises :class:`NotFoundError` with the nearest that there is."""
    row = one(connection, host)
    if row is None:
        near = did_you_mean(host, active_ids(connection)) or ";"
        raise NotFoundError(f"host {host} is not enrolled{near} fedproc hosts lists the hosts there are")
    return row


def active_ids(connection: Connection) -> list[str]:
    """The ids of all active hosts."""
    return [str(row.id) for row in connection.execute(_ACTIVE_IDS)]


def deactivate(connection: Connection, host: str) -> None:
    """The host counts no more; what is known of it stays."""
    connection.execute(update(hosts).where(hosts.c.id == host).values(active=False))


def forget_log(connection: Connection, host: str) -> None:
    """The next checkpoint of its transparency log is taken as it comes."""
    connection.execute(update(hosts).where(hosts.c.id == host).values(log=None))


def listed(connection: Connection, *, everyone: bool) -> Sequence[Row[Any]]:
    """The active hosts, or all that were ever enrolled, by id."""
    query = select(hosts, _IS_ACCEPTED).order_by(hosts.c.id)
    return connection.execute(query if everyone else query.where(hosts.c.active)).all()


def named(connection: Connection, ids: Iterable[str]) -> Sequence[Row[Any]]:
    """Those of ``ids`` that are enrolled, with what placement has to know of them."""
    return connection.execute(_NAMED, {"ids": sorted(ids)}).all()


def all_named(connection: Connection, ids: Iterable[str]) -> Sequence[Row[Any]]:
    """Those of ``ids`` that were ever enrolled."""
    return connection.execute(select(hosts).where(hosts.c.id.in_(sorted(ids)))).all()


def begin_acceptance(connection: Connection, host: str, experiment: str) -> None:
    """Note the host's newest acceptance experiment; a host that was accepted stays so while it runs."""
    columns = {"accepted": or_(hosts.c.accepted, _PASSED), "acceptance": experiment}
    connection.execute(update(hosts).where(hosts.c.id == host).values(**columns))


def enrol(connection: Connection, host: str, values: HostEnrolment, public_key: dict[str, Any], now: float) -> bool:
    """Write down who the host is; True if it is new. What is known of its journal and heartbeats stays.

    A host that has to be accepted again is not so by the acceptance that it passed before.
    """
    columns = {**values.model_dump(exclude={"public_key"}), "public_key": public_key}
    if values.accepted is None:
        del columns["accepted"]
    elif not values.accepted:
        columns["acceptance"] = None
    if connection.execute(update(hosts).where(hosts.c.id == host).values(**columns)).rowcount:
        return False
    connection.execute(insert(hosts).values(id=host, enrolled=now, **columns))
    return True
