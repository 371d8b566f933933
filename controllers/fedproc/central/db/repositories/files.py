"""File entries. Their bytes are in :mod:`fedproc.central.files.blobs`; whether they are complete stands here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from fedproc.central.db.schema import files

_ONE = select(files).where(files.c.id == bindparam("id"))
_ADD = insert(files)


def add(connection: Connection, values: dict[str, Any]) -> None:
    connection.execute(_ADD, values)


def one(connection: Connection, file: str) -> Row[Any] | None:
    return connection.execute(_ONE, {"id": file}).one_or_none()


def existing(connection: Connection, file: str) -> Row[Any]:
    """An entry that this transaction has written. Raises NoResultFound if there is none."""
    return connection.execute(_ONE, {"id": file}).one()


def by_path(connection: Connection, owner: str, path: str) -> Row[Any] | None:
    """The file that ``owner`` put under ``path`` himself."""
    query = select(files).where(files.c.owner == owner, files.c.path == path, files.c.job.is_(None))
    return connection.execute(query.with_for_update()).one_or_none()


def of_owner(connection: Connection, owner: str, after: str, most: int) -> Sequence[str]:
    """Ids of the owner's complete files, artefacts between hosts left out, by id."""
    query = (
        select(files.c.id)
        .where(files.c.owner == owner, files.c.id > after, files.c.state == "complete", files.c.recipient.is_(None))
        .order_by(files.c.id)
        .limit(most)
    )
    return connection.execute(query).scalars().all()


def page_of_owner(
    connection: Connection, owner: str, text: str | None, offset: int, most: int
) -> tuple[Sequence[Row[Any]], int, int]:
    """The owner's complete files whose path has ``text``, newest first; how many there are of them, and their bytes."""
    own = [files.c.owner == owner, files.c.state == "complete", files.c.recipient.is_(None)]
    if text:
        own.append(files.c.path.icontains(text, autoescape=True))
    rows = connection.execute(select(files).where(*own).order_by(files.c.id.desc()).offset(offset).limit(most)).all()
    total = select(func.count(), func.coalesce(func.sum(files.c.size), 0)).select_from(files).where(*own)
    count, size = connection.execute(total).one()
    return rows, int(count), int(size)


def outputs(
    connection: Connection,
    *,
    experiment: str | None = None,
    job: str | None = None,
    after: str | None = None,
    most: int | None = None,
) -> Sequence[Row[Any]]:
    """Complete outputs of an experiment or of a job that are for its user, by id; ``most`` after one id, if given."""
    query = select(files).where(
        files.c.output.is_not(None), files.c.recipient.is_(None), files.c.state == "complete"
    )  # fmt: skip
    query = query.where(files.c.experiment == experiment) if experiment else query.where(files.c.job == job)
    if after is not None:
        query = query.where(files.c.id > after)
    return connection.execute(query.order_by(files.c.id).limit(most)).all()


def output(connection: Connection, job: str, name: str, path: str, recipient: str | None) -> Row[Any] | None:
    """The entry of one output file of a job."""
    query = select(files).where(
        files.c.job == job,
        files.c.output == name,
        files.c.path == path,
        files.c.recipient.is_(None) if recipient is None else files.c.recipient == recipient,
    )
    return connection.execute(query).one_or_none()


def announced(connection: Connection, job: str, name: str, recipient: str | None) -> tuple[int, int]:
    """How many files of one output a host has announced (for one recipient), and their bytes together."""
    query = select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(
        files.c.job == job,
        files.c.output == name,
        files.c.recipient.is_(None) if recipient is None else files.c.recipient == recipient,
    )
    count, size = connection.execute(query).one()
    return int(count), int(size)


def stored(connection: Connection, owner: str, *, state: str | None = None) -> tuple[int, int]:
    """How many files the owner has, and their bytes; those that are pending count as announced, unless ``state``
    leaves them out."""
    query = select(func.count(), func.coalesce(func.sum(files.c.size), 0)).where(files.c.owner == owner)
    if state is not None:
        query = query.where(files.c.state == state)
    count, size = connection.execute(query).one()
    return int(count), int(size)


def input_of(connection: Connection, job: str, name: str, state: str) -> Row[Any] | None:
    """The entry of an uploaded input of a job: the one being sent (``pending``) or the one that counts."""
    query = select(files).where(files.c.job == job, files.c.input == name, files.c.state == state)
    return connection.execute(query).one_or_none()


def describe_again(connection: Connection, file: str, values: dict[str, Any]) -> None:
    """Let a pending entry expect other bytes."""
    connection.execute(update(files).where(files.c.id == file).values(**values))


def complete(connection: Connection, file: str, **values: Any) -> bool:
    """Make a pending entry complete; False if it was so already."""
    change = update(files).where(files.c.id == file, files.c.state == "pending").values(state="complete", **values)
    return bool(connection.execute(change).rowcount)


def remove(connection: Connection, file: str) -> None:
    connection.execute(delete(files).where(files.c.id == file))
