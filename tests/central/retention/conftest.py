"""A centre with something of every kind, each as old as a test wants it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from sqlalchemy import Table, func, select
from tests.support.books import Books

from fedproc.central.db.engine import read_transaction, write_transaction
from fedproc.central.db.repositories import audits, enrolments, files, log_queue, submissions, traces
from fedproc.central.db.schema import metadata
from fedproc.central.files.blobs import Blobs
from fedproc.central.retention.keeper import Keeper
from fedproc.central.retention.storage import Storage
from fedproc.central.settings import RetentionSettings
from fedproc.contract.ids import new_id

DAY = 86_400.0
FOR_EVER = dict.fromkeys(RetentionSettings.model_fields, 0.0)


class Kept:
    """What stands in the books and lies in the file store; ``start`` is the time at which the test began."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.storage = Storage(books.engine, Blobs(books.settings.files))
        self.start = time.time()

    def keeper(self, storage: Storage | None = None, **days: float) -> Keeper:
        """One that applies these rules alone."""
        return Keeper(RetentionSettings(**{**FOR_EVER, **days}), storage or self.storage)

    def apply(self, at: float | None = None, **days: float) -> list[int]:
        """Apply these rules alone; how many rows each portion has removed."""
        return list(self.keeper(**days).apply(at or self.start))

    # -- what is there

    def experiment(self, at: float, ended: str | None = "succeeded", records: int = 1, sub: str = "rosa") -> str:
        """An experiment of one job that has ended at that time, or that is running since then."""
        made = self.books.submit(tool="lone", hosts=["UB"], at=at - 60, sub=sub)
        self.books.dispatch(at=at - 50)
        (job,) = self.books.jobs(made)
        for number in range(1, records + 1):
            self.books.say(job.id, "metrics", number, metrics={"loss": number})
        self.books.report(job.id, ended or "running", at=at)
        return made

    def file(self, at: float, state: str = "complete", size: int = 10, **more: Any) -> str:
        """A file's entry with its bytes, of rosa unless said."""
        name = new_id("f")
        self.storage.blobs.create(name, size)
        self.storage.blobs.path(name).write_bytes(b"x" * size)
        os.utime(self.storage.blobs.path(name), (at, at))
        usual = {"owner": "rosa", "path": f"{name}.bin", "sha256": "0" * 64, "media_type": "text/plain"}
        with write_transaction(self.storage.engine) as connection:
            values = {**usual, "id": name, "state": state, "size": size, "created": at, **more}
            files.add(connection, values)
        return name

    def result(self, experiment: str, at: float, state: str = "complete") -> str:
        """An output of the experiment's job."""
        (job,) = self.books.jobs(experiment)
        place = {"experiment": experiment, "job": job.id, "host": job.host, "task": job.task, "output": "counts"}
        return self.file(at, state, **place)

    def audit(self, at: float) -> None:
        with write_transaction(self.storage.engine) as connection:
            log_queue.logged(connection, (), [audits.add(connection, "rosa", "create_experiment", None, "", at)])

    def enrolment(self, at: float, host: str = "NEW") -> None:
        with write_transaction(self.storage.engine) as connection:
            enrolments.offer(connection, host, "0" * 64, at - 60, at)

    def submission(self, at: float, decided: bool = True) -> None:
        """A tool that was sent in and refused, or that waits since then."""
        values = {
            "id": new_id("s"), "owner": "pia", "tool": "count", "version": "1.0.0", "digest": "sha256:" + "0" * 64,
            "manifest": {}, "bundle": b"", "findings": [], "created": at - 60,
            "state": "refused" if decided else "waits", "decided": at if decided else None,
        }  # fmt: skip
        with write_transaction(self.storage.engine) as connection:
            submissions.add(connection, values)

    def trace(self, at: float) -> None:
        with write_transaction(self.storage.engine) as connection:
            traces.add(connection, key=new_id("t"), kind="used", experiment="e", owner="rosa", body={}, now=at)

    # -- how much of it

    def rows(self) -> Mapping[str, int]:
        with read_transaction(self.storage.engine) as connection:
            tables: list[Table] = list(metadata.tables.values())
            return {
                table.name: connection.scalar(select(func.count()).select_from(table)) or 0 for table in tables
            }  # fmt: skip

    def count(self, table: Table, **values: Any) -> int:
        with read_transaction(self.storage.engine) as connection:
            same = (table.c[name] == value for name, value in values.items())
            return connection.scalar(select(func.count()).select_from(table).where(*same)) or 0

    def blobs(self) -> set[str]:
        return {path.name for folder in self.storage.blobs.folders() for path in folder.iterdir()}


@pytest.fixture
def kept(books: Books) -> Kept:
    return Kept(books)


Make = Callable[[Kept, float], object]
