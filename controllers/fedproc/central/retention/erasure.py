"""Erasing a person: ended experiments, files, and the name in the audit.

The audit keeps that it was done, when and by whom, and calls the person by a random pseudonym.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select, update

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import audits, sessions, submissions, traces
from fedproc.central.db.schema import audit, experiments, files
from fedproc.central.files import discards
from fedproc.central.retention.deletion import Deleted, delete_experiment, remove_entries
from fedproc.central.retention.storage import BATCH, Storage
from fedproc.central.retention.trail import ACTOR
from fedproc.common.errors import ConflictError, InvalidInputError, NotFoundError

AT_ONCE = 100
"""experiments that one call deletes"""
_NOBODY = frozenset({ACTOR, "anonymous"})
_MACHINES = ("enrolment:", "host:")
"""actors in the audit begin so that are no person"""
_SIGN_IN = "get_token"
"""the one act whose target is a person's name; those of others name hosts, files and experiments"""
_NAMELESS = "erased"
"""in the place of a name that was typed at a sign-in"""
_HIDDEN_PATH = case((audit.c.action == "put_file", "/data/file/erased"), else_=audit.c.path)
"""the path of a file that a person put there is the person's own choice"""


@dataclass(frozen=True)
class Person:
    """Who is erased: ``subject`` of the tokens, and the names typed at sign-ins."""

    subject: str
    usernames: tuple[str, ...]


@dataclass
class Erased:
    """What was erased in one call; ``more``: whether there is more to be erased by another."""

    experiments: int = 0
    files: int = 0
    bytes: int = 0
    audit_entries: int = 0
    open: tuple[str, ...] = ()
    more: bool = False
    pseudonym: str | None = None

    def __str__(self) -> str:
        still = f"; still open: {', '.join(self.open)}" if self.open else ""
        found = f"{self.experiments} experiments, {self.files} files, {self.bytes} bytes"
        return f"{found}, {self.audit_entries} entries of the audit{still}"


Record = Callable[[Connection, Erased], object]
"""is called in the transaction that ends it"""


def erase(storage: Storage, person: Person, actor: str, now: float, record: Record) -> Erased:
    """Erase what there is of a person; ``actor`` does it.

    Raises :class:`NotFoundError` if there is nothing, :class:`InvalidInputError` for a name of the audit's own.
    """
    _check_is_person(person.subject)
    ended, still_open, names = _experiments(storage, person)
    erased = Erased(open=still_open, more=len(ended) > AT_ONCE)
    for experiment in ended[:AT_ONCE]:
        _experiment(storage, experiment, actor, erased, now)
    erased.more = erased.more and erased.experiments > 0
    _own_files(storage, person.subject, erased, now)

    def finish(connection: Connection) -> None:
        sessions.remove_of(connection, person.subject)
        traces.erase(connection, person.subject)
        submissions.erase(connection, person.subject)
        record(connection, erased)

    signed_in_as = (audit.c.action == _SIGN_IN) & audit.c.target.in_(names)
    _rename(storage, signed_in_as, {"target": _NAMELESS}, erased)
    if erased.more:
        with write_transaction(storage.engine) as connection:
            finish(connection)
    else:
        _rename_actor(storage, person.subject, erased, finish)
    return erased


def _rename_actor(storage: Storage, subject: str, erased: Erased, finish: Callable[[Connection], None]) -> None:
    """What is left of the name goes with the transaction that says so: who dies before it, has it done again."""
    erased.pseudonym = f"erased-{secrets.token_hex(8)}"
    values = {"actor": erased.pseudonym, "path": _HIDDEN_PATH}

    def finish_if_found(connection: Connection) -> None:
        if not (erased.experiments or erased.files or erased.audit_entries or erased.open):
            raise NotFoundError(
                "nothing is kept of this subject; it is the sub of the person's tokens, as GET /audit shows it as"
                " actor",
                code="not_found.subject",
            )
        finish(connection)

    _rename(storage, audit.c.actor == subject, values, erased, finish_if_found)


def _check_is_person(subject: str) -> None:
    if subject in _NOBODY or subject.startswith(_MACHINES):
        raise InvalidInputError(
            f"{subject} is no person but what the audit calls a program, a host or callers without a token: give the"
            " sub of the person's tokens",
            code="subject.reserved",
        )


def _experiments(storage: Storage, person: Person) -> tuple[Sequence[str], tuple[str, ...], set[str]]:
    """Ids of ended ones, one more than a call deletes, and of open ones; all names that the person goes by."""
    own = experiments.c.owner == person.subject
    with read_transaction(storage.engine) as connection:
        ended = select(experiments.c.id).where(own, experiments.c.ended.is_not(None)).order_by(experiments.c.id)
        still = select(experiments.c.id).where(own, experiments.c.ended.is_(None)).order_by(experiments.c.id)
        names = connection.execute(select(experiments.c.owner_name).where(own).distinct()).scalars().all()
        return (
            connection.execute(ended.limit(AT_ONCE + 1)).scalars().all(),
            tuple(connection.execute(still.limit(AT_ONCE)).scalars().all()),
            {person.subject, *person.usernames, *filter(None, names)},
        )


def _experiment(storage: Storage, experiment: str, actor: str, erased: Erased, now: float) -> None:
    def record(connection: Connection, deleted: Deleted) -> None:
        audits.add(connection, actor, "delete_experiment", experiment, str(deleted), now)

    try:
        deleted, rest = delete_experiment(storage, experiment, None, now, record)
    except (ConflictError, NotFoundError):
        return  # it was deleted just now, or not all of its jobs have ended
    for _ in rest:
        """Each portion is a transaction of its own."""
    erased.experiments += 1
    erased.files += deleted.files
    erased.bytes += deleted.bytes


def _own_files(storage: Storage, subject: str, erased: Erased, now: float) -> None:
    own = (files.c.owner == subject) & files.c.job.is_(None)
    while True:
        with write_transaction(storage.engine) as connection:
            found = connection.execute(select(files.c.id, files.c.size).where(own).limit(BATCH)).all()
            ids = [row.id for row in found]
            remove_entries(connection, ids, now)
        discards.remove(storage.engine, storage.blobs, ids, now)
        erased.files += len(found)
        erased.bytes += sum(row.size for row in found)
        if len(found) < BATCH:
            return


def _rename(
    storage: Storage,
    named: ColumnElement[bool],
    values: dict[str, Any],
    erased: Erased,
    finish: Callable[[Connection], None] = lambda _: None,
) -> None:
    """Change entries of the audit in portions, and count them; ``finish`` is called in the last one's transaction."""
    last, after, done = _last_entry(storage), 0, False
    while not done:
        query = select(audit.c.id).where(named, audit.c.id > after, audit.c.id <= last).order_by(audit.c.id)
        with write_transaction(storage.engine) as connection:
            found: Sequence[int] = connection.execute(query.limit(BATCH + 1)).scalars().all()
            ids, done = found[:BATCH], len(found) <= BATCH  # the last portion has some, if there are any
            # without its seal, what the transparency log has of the entry says nothing of whom it named
            connection.execute(update(audit).where(audit.c.id.in_(ids)).values(**values, seal=None))
            erased.audit_entries += len(ids)
            if done:
                finish(connection)
        after = max(ids, default=after)


def _last_entry(storage: Storage) -> int:
    with read_transaction(storage.engine) as connection:
        return connection.scalar(select(func.max(audit.c.id))) or 0
