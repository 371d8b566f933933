"""Signed manifests of the catalogue. A manifest never changes, so a parsed one is kept by its digest."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from fedproc.central.db.schema import experiments, tools
from fedproc.common.errors import NotFoundError
from fedproc.common.text import did_you_mean
from fedproc.contract.ids import version_key
from fedproc.contract.tool.tool import Manifest, Tool

_ENTRY: tuple[Any, ...] = (tools.c.id, tools.c.version, tools.c.digest)
"""What is looked through: the manifests themselves are large, and read once each."""
_OF_TOOL = select(*_ENTRY).where(tools.c.id == bindparam("id"), tools.c.approved)
_OF_DIGEST = select(tools).where(tools.c.digest == bindparam("digest"))
_DIGEST = select(experiments.c.digest).where(experiments.c.id == bindparam("id"))
_KEPT = 512
_parsed: OrderedDict[str, Tool] = OrderedDict()


def newest_of_each(connection: Connection) -> list[Row[Any]]:
    """The newest approved version of every tool, by id."""
    newest: dict[str, Row[Any]] = {}
    for row in connection.execute(select(*_ENTRY).where(tools.c.approved).order_by(tools.c.id)):
        if row.id not in newest or version_key(row.version) > version_key(newest[row.id].version):
            newest[row.id] = row
    return list(newest.values())


def versions(connection: Connection, tool: str) -> Sequence[Row[Any]]:
    """The approved versions of one tool, newest first."""
    rows = connection.execute(_OF_TOOL, {"id": tool}).all()
    return sorted(rows, key=lambda row: version_key(row.version), reverse=True)


def all_versions(connection: Connection, tool: str) -> Sequence[Row[Any]]:
    """Every version that was ever taken in, approved or not."""
    return connection.execute(select(*_ENTRY).where(tools.c.id == tool)).all()


def find(connection: Connection, tool: str, version: str | None = None) -> Row[Any]:
    """One approved version, the newest unless said. Raises :class:`NotFoundError` that says what there is."""
    rows = versions(connection, tool)
    if gone := _recalled(connection, tool, version, has_others=bool(rows)):
        raise NotFoundError(gone, code="not_found.recalled", where="version")
    if not rows:
        near = did_you_mean(tool, [row.id for row in newest_of_each(connection)]) or ";"
        raise NotFoundError(f"there is no tool {tool!r}{near} fedproc tools lists what there is", code="not_found.tool")
    if version is None:
        return rows[0]
    for row in rows:
        if row.version == version:
            return row
    there = ", ".join(row.version for row in rows)
    missing = f"tool {tool} has no version {version!r}; there is {there}"
    raise NotFoundError(missing, code="not_found.version", where="version")


def _recalled(connection: Connection, tool: str, version: str | None, *, has_others: bool) -> str | None:
    """What to say of a version that was recalled, or of a tool all of whose versions were."""
    if version is None and has_others:
        return None
    rows = recalled(connection, tool)
    row = next((each for each in rows if version in (None, each.version)), None)
    if row is None:
        return None
    others = "another version" if has_others else "another tool"
    return f"version {row.version} of tool {tool} was recalled: {row.recall_reason}; use {others}"


def recalled(connection: Connection, tool: str) -> Sequence[Row[Any]]:
    """The recalled versions of one tool, the last one that was recalled first, each with when and why."""
    which = tools.c.id == tool, tools.c.recalled.is_not(None)
    query = select(*_ENTRY, tools.c.recalled, tools.c.recall_reason).where(*which)
    rows: Sequence[Any] = connection.execute(query.order_by(tools.c.recalled.desc())).all()
    return rows


def recall(connection: Connection, tool: str, version: str, reason: str, now: float) -> Row[Any]:
    """Offer a version no more; the row afterwards. What was recalled keeps its time and reason.

    Raises :class:`NotFoundError`.
    """
    which = tools.c.id == tool, tools.c.version == version
    values = {"approved": False, "recalled": now, "recall_reason": reason}
    connection.execute(update(tools).where(*which, tools.c.recalled.is_(None)).values(**values))
    row = connection.execute(select(tools).where(*which)).one_or_none()
    if row is None:
        raise NotFoundError(f"the catalogue has no version {version!r} of tool {tool!r}", code="not_found.version")
    return row


def by_digest(connection: Connection, digest: str) -> Row[Any] | None:
    """The whole row of one version, approved or not: hosts may still have orders for one that was withdrawn."""
    return connection.execute(_OF_DIGEST, {"digest": digest}).one_or_none()


def of_digest(connection: Connection, digest: str) -> Tool:
    """The tool of this digest. Raises :class:`NotFoundError` if the catalogue lost it."""
    known = _parsed.get(digest)
    if known is not None:
        return known
    row = by_digest(connection, digest)
    if row is None:
        raise NotFoundError(f"the tool with digest {digest} is not in the catalogue any more; tell the operator")
    payload = row.signed.split(".")[1]  # its signature was checked when it was taken in
    decoded = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    tool = _parsed[digest] = Manifest.model_validate_json(decoded).tool
    if len(_parsed) > _KEPT:
        _parsed.popitem(last=False)
    return tool


def of_job(connection: Connection, job: Row[Any]) -> Tool:
    """The exact tool of a job. Raises :class:`NotFoundError` if the catalogue lost it."""
    digest = connection.execute(_DIGEST, {"id": job.experiment}).scalar_one()
    return of_digest(connection, digest)


def add(connection: Connection, tool: Tool, *, digest: str, signed: str, bundle: str, now: float) -> None:
    connection.execute(
        insert(tools).values(
            id=tool.id, version=tool.version, digest=digest, signed=signed, bundle=bundle, approved=True, added=now
        )
    )
