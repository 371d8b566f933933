"""Enrolled hosts, and what their last heartbeat said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from fedproc.central.db.schema import experiments, hosts
from fedproc.common.errors import NotFoundError
from fedproc.common.text import did_you_mean
from fedproc.contract.api.hosts import HostEnrolment
from fedproc.contract.times import moment
from fedproc.contract.wire.messages import HostReport

_ACTIVE = select(hosts.c.active).where(hosts.c.id == bindparam("id"))
_ACTIVE_IDS = select(hosts.c.id).where(hosts.c.active).order_by(hosts.c.id)
_DRAINED = select(hosts.c.id).where(hosts.c.drained.is_not(None))
_PASSED = exists().where(experiments.c.id == hosts.c.acceptance, experiments.c.state == "succeeded")
_IS_ACCEPTED = or_(hosts.c.accepted, _PASSED).label("is_accepted")
_ONE = select(hosts, _IS_ACCEPTED).where(hosts.c.id == bindparam("id"))

_NAMED = select(hosts.c.id, hosts.c.active, hosts.c.roles, hosts.c.heard, hosts.c.heartbeat, _IS_ACCEPTED).where(
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


def drain(connection: Connection, host: str, reason: str | None) -> None:
    """No new job goes there, for this reason; None: they go again."""
    connection.execute(update(hosts).where(hosts.c.id == host).values(drained=reason))


def drained_ids(connection: Connection) -> frozenset[str]:
    """The hosts to which no new job goes."""
    return frozenset(connection.execute(_DRAINED).scalars())


def forget_log(connection: Connection, host: str) -> None:
    """The next checkpoint of its transparency log is taken as it comes."""
    connection.execute(update(hosts).where(hosts.c.id == host).values(log=None))


@dataclass(frozen=True)
class Wanted:
    """Which hosts are listed: the active ones, or ``everyone``; each word of ``text`` is in id, site or location.

    ``show``: ``alive``, ``accepting``, ``well``, ``trouble``, ``drained`` or ``revoked``; a host that was not
    heard of since ``heard_since`` (seconds since 1970) counts as silent. ``ids`` alone if any are given.
    """

    heard_since: float
    everyone: bool = False
    text: str = ""
    show: str | None = None
    ids: Sequence[str] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """What their rows have in common."""
        found: list[ColumnElement[bool]] = [] if self.everyone else [hosts.c.active]
        if self.ids:
            found.append(hosts.c.id.in_(self.ids))
        place = hosts.c.id + " " + hosts.c.site + " " + hosts.c.location
        found += [place.icontains(word, autoescape=True) for word in self.text.split()]
        return found if self.show is None else [*found, self._shown(self.show)]

    def _shown(self, show: str) -> ColumnElement[bool]:
        alive = and_(hosts.c.active, func.coalesce(hosts.c.heard, 0.0) > self.heard_since)
        accepting = and_(alive, hosts.c.drained.is_(None), func.coalesce(hosts.c.condition, "") == "accepting")
        well = and_(accepting, func.coalesce(hosts.c.condition_text, "") == "")
        kinds = {"alive": alive, "accepting": accepting, "well": well, "trouble": ~well, "revoked": ~hosts.c.active}
        kinds["drained"] = hosts.c.drained.is_not(None)
        return kinds.get(show, false())


_LARGE = {"report", "public_key"}
"""columns that no list needs"""
_LISTED = [column for column in hosts.c if column.name not in _LARGE]


def page(connection: Connection, wanted: Wanted, offset: int = 0, most: int | None = None) -> Sequence[Row[Any]]:
    """By id, without the columns that no list needs."""
    query: Select[Any] = select(*_LISTED, _IS_ACCEPTED).where(*wanted.conditions()).order_by(hosts.c.id)
    return connection.execute(query.offset(offset).limit(most)).all()


def count(connection: Connection, wanted: Wanted) -> int:
    """How many there are in all."""
    return int(connection.execute(select(func.count()).select_from(hosts).where(*wanted.conditions())).scalar_one())


def reports(connection: Connection) -> Sequence[Row[Any]]:
    """The last whole check of every active host, by id."""
    query: Select[Any] = select(hosts.c.id, hosts.c.site, hosts.c.report).where(hosts.c.active)
    return connection.execute(query.order_by(hosts.c.id)).all()


def keep_report(connection: Connection, report: HostReport) -> None:
    """The host's last whole check, and until when that found its certificate to be good."""
    values = report.model_dump(mode="json", include={"time", "report"})
    expires = certificate_expires(values)
    row = update(hosts).where(hosts.c.id == report.host)
    connection.execute(row.values(report=values, certificate_expires=expires))


def certificate_expires(report: Any) -> float | None:
    """Seconds since 1970. A host may write what it likes into its report, so nothing in it is taken for granted."""
    for key in ("report", "facts", "credentials", "certificate", "not_after"):
        report = report.get(key) if isinstance(report, dict) else None
    try:
        found = datetime.fromisoformat(report) if isinstance(report, str) else None
        return None if found is None or found.tzinfo is None else moment(found.timestamp()).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


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
