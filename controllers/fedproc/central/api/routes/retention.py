"""Deleting what was kept, for those whose it is, and what there is of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice

from fastapi import Request
from sqlalchemy import Connection
from starlette.responses import Response

from fedproc.central.api.deps import AppState, Operator, Researcher, app_state, audit_event
from fedproc.central.api.routes.common import ExperimentPath, answer, owner_filter, router
from fedproc.central.db.engine import read_transaction
from fedproc.central.retention import deletion, erasure, figures
from fedproc.central.retention.erasure import Erased, Person
from fedproc.central.retention.storage import Storage
from fedproc.common.errors import FedprocError
from fedproc.common.log import get_logger
from fedproc.contract.api.retention import DeletedExperiment, ErasedUser, KeptKind, StorageView, UserErasure
from fedproc.contract.times import moment

log = get_logger(__name__)
routes = router("retention")

_MOST_PORTIONS = 1000
"""of what belonged to a deleted experiment, while its user waits; the relay deletes what is left"""


def _storage(app: AppState) -> Storage:
    return Storage(app.engine, app.blobs)


@routes.delete("/experiments/{experiment_id}", response_model=DeletedExperiment)
def delete_experiment(request: Request, experiment_id: ExperimentPath, caller: Researcher) -> Response:
    """Delete an ended experiment of one's own with its jobs, events, inputs and results; there is no way back.

    An open one has to be cancelled first (409). Operators may delete everybody's.
    """
    app = app_state(request)

    def record(connection: Connection, deleted: deletion.Deleted) -> None:
        audit_event(request).record(connection, 200, experiment_id, str(deleted))

    owner, now = owner_filter(caller), time.time()
    deleted, rest = deletion.delete_experiment(_storage(app), experiment_id, owner, now, record)
    _delete_rest(experiment_id, rest)
    app.notifier.publish("events")
    count = len(deleted.jobs)
    return answer(DeletedExperiment(id=experiment_id, jobs=count, files=deleted.files, bytes=deleted.bytes))


def _delete_rest(experiment: str, rest: Iterator[int]) -> None:
    """The experiment is gone already; what cannot be done now, the relay does soon."""
    try:
        for _ in islice(rest, _MOST_PORTIONS):
            """Each portion is a transaction of its own."""
    except (FedprocError, OSError) as error:
        log.warning("deletion.left_to_relay", experiment=experiment, reason=str(error))


@routes.post("/users/erasure", response_model=ErasedUser)
def erase_user(request: Request, body: UserErasure, caller: Operator) -> Response:
    """Erase a person who leaves: all ended experiments, all files, and the name wherever the audit has it.

    The audit keeps what was done under a random pseudonym. Open experiments stay, and are named in the answer.
    """
    app = app_state(request)

    def record(connection: Connection, erased: Erased) -> None:
        audit_event(request).record(connection, 200, erased.pseudonym, str(erased))

    person = Person(body.subject, tuple(body.usernames))
    erased = erasure.erase(_storage(app), person, caller.actor, time.time(), record)
    app.notifier.publish("events")
    return answer(ErasedUser.model_validate(asdict(erased)))


@routes.get("/storage", response_model=StorageView)
def get_storage(request: Request, caller: Operator) -> Response:
    """How much of each kind the centre keeps and for how long, as counted within the last hour."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        rows = figures.read(connection)
        counted = figures.last_time(connection)
    days = app.settings.retention.model_dump()
    kinds = [
        KeptKind(kind=row.kind, rows=row.rows, bytes=row.bytes, removed=row.removed, days=days.get(row.kind) or None)
        for row in rows
    ]
    free = shutil.disk_usage(app.blobs.folder).free
    return answer(StorageView(counted=moment(counted) if counted else None, free=free, kinds=kinds))
