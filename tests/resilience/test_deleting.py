"""Programs are killed while they delete: what was begun is done by who comes next, and nothing else is touched."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from tests.support.running import Running

from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.contract.api.experiments import ExperimentView
from fedproc.contract.ids import new_id
from fedproc.demo.polling import wait_until

FILES, LINES = 3000, 6000
"""of one experiment: several portions of each"""
KILLS = 2
_YEARS = 3 * 365 * 86_400.0
_SUBJECT = "who-leaves"
_OF_EXPERIMENT = ("events", "shared", "files")
_HALF = {
    **dict.fromkeys(_OF_EXPERIMENT, "experiment IS NOT NULL AND experiment NOT IN (SELECT id FROM experiments)"),
    "jobs": "experiment NOT IN (SELECT id FROM experiments)",
    "records": "job NOT IN (SELECT id FROM jobs)",
    "deletions": "1",
    "discards": "due < unixepoch() + 3600",
}  # fmt: skip
"""by table: rows that a deletion would have taken with it"""


@contextmanager
def books(running: Running) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(running.folder / "central" / "central.sqlite", timeout=30)) as connection:
        connection.row_factory = sqlite3.Row
        with connection:
            yield connection


def count(running: Running, table: str, where: str = "1", *values: object) -> int:
    with books(running) as connection:
        return int(connection.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}", values).fetchone()[0])


def half_done(running: Running) -> dict[str, int]:
    """What is left of things that are gone: rows by table, and bytes in the store that no entry names."""
    found = {table: count(running, table, where) for table, where in _HALF.items()}
    with books(running) as connection:
        named = {row[0] for row in connection.execute("SELECT id FROM files UNION SELECT bundle FROM tools")}
    lying = {path.name for path in (running.folder / "central" / "files").glob("??/*")}
    found["bytes"], found["without_bytes"] = len(lying - named), len(named - lying)
    return {kind: number for kind, number in found.items() if number}


def is_done_by_somebody(running: Running) -> None:
    with suppress(UnavailableError):
        wait_until(lambda: not half_done(running), 120, "it stays half done")
    assert half_done(running) == {}


def ended(running: Running) -> ExperimentView:
    experiment = running.start("tally", hosts=["UB"])
    assert running.end(experiment)[-1].state == "succeeded"
    return experiment


def large(running: Running) -> ExperimentView:
    """An ended experiment with many results and log lines: one whose deletion takes long enough to be met in it."""
    experiment = ended(running)
    with books(running) as connection:
        file = dict(connection.execute("SELECT * FROM files WHERE experiment = ?", (experiment.id,)).fetchone())
        content = _blob(running, file["id"]).read_bytes()
        for number in range(FILES):
            made = {**file, "id": new_id("f"), "path": f"{number}.json"}
            _blob(running, made["id"]).parent.mkdir(exist_ok=True)
            _blob(running, made["id"]).write_bytes(content)
            _insert(connection, "files", made)
        event = dict(connection.execute("SELECT * FROM events WHERE experiment = ?", (experiment.id,)).fetchone())
        del event["id"]
        for _ in range(LINES):
            _insert(connection, "events", event)
    return experiment


def _blob(running: Running, name: str) -> Path:
    return running.folder / "central" / "files" / name[-2:] / name


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> None:
    marks = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))


def kill_within(running: Running, program: str, table: str, where: str, *values: object) -> None:
    """Kill a program when so much of ``table`` is gone that it is in the middle of it."""
    before = count(running, table, where, *values)
    wait_until(lambda: count(running, table, where, *values) < before, 120, f"{program} deletes nothing", pause=0.002)
    os.kill(running.pid(program), signal.SIGKILL)
    left = count(running, table, where, *values)
    assert 0 < left < before, f"it was not killed in the middle: {left} of {before} are left"
    wait_until(running.works, 60, f"the federation does not work again after {program} was killed")


@contextmanager
def beside(act: Callable[[], object]) -> Iterator[None]:
    """Ask for ``act`` while the block runs; who does it is killed, so that it is not answered."""

    def ask() -> None:
        with suppress(FedprocError, httpx.HTTPError):
            act()

    thread = threading.Thread(target=ask)
    thread.start()
    yield
    thread.join()


def test_an_api_that_is_killed_in_a_deletion_leaves_it_to_the_relay(running, tmp_path):
    gone, stays = large(running), ended(running)
    with beside(partial(running.researcher.delete_experiment, gone.id)):
        kill_within(running, "api", "files", "experiment = ?", gone.id)
    is_done_by_somebody(running)
    assert count(running, "experiments", "id = ?", gone.id) == 0
    fetch_results(running.researcher, stays.id, tmp_path)
    assert count(running, "audit", "action = 'delete_experiment' AND target = ? AND outcome = 200", gone.id) == 1


def test_a_relay_that_is_killed_in_retention_goes_on_with_it(running, tmp_path):
    gone, stays = large(running), ended(running)
    with books(running) as connection:
        old = "UPDATE experiments SET created = created - ?, ended = ended - ? WHERE id = ?"
        connection.execute(old, (_YEARS, _YEARS, gone.id))
        connection.execute("UPDATE kept SET time = time - 7200")
    for _ in range(KILLS):
        kill_within(running, "relay", "files", "experiment = ?", gone.id)
    is_done_by_somebody(running)
    assert count(running, "experiments", "id = ?", gone.id) == 0
    fetch_results(running.researcher, stays.id, tmp_path)
    assert count(running, "audit", "actor = 'retention' AND target = ?", gone.id) == 1


def test_an_api_that_is_killed_in_an_erasure_has_the_next_one_end_it(running, tmp_path):
    gone, stays = large(running), ended(running)
    with books(running) as connection:
        connection.execute("UPDATE experiments SET owner = ? WHERE id = ?", (_SUBJECT, gone.id))
        entry = dict(connection.execute("SELECT * FROM audit WHERE logged LIMIT 1").fetchone())
        del entry["id"]
        for _ in range(LINES):
            _insert(connection, "audit", {**entry, "actor": _SUBJECT, "seal": None})
    erase = partial(running.operator.erase_user, _SUBJECT)
    with beside(erase):
        kill_within(running, "api", "files", "experiment = ?", gone.id)
    with beside(erase):
        kill_within(running, "api", "audit", "actor = ?", _SUBJECT)
    erased = erase()
    assert (erased.more, count(running, "audit", "actor = ?", _SUBJECT)) == (False, 0)
    assert count(running, "audit", "target = ?", erased.pseudonym) == 1
    is_done_by_somebody(running)
    fetch_results(running.researcher, stays.id, tmp_path)


def test_an_orchestrator_that_is_killed_in_retention_goes_on_with_it(running):
    journal = running.folder / "hosts" / "UB" / "journal" / "journal.sqlite"
    stays = ended(running).jobs[0].id
    with running.without("orchestrator-UB"), closing(sqlite3.connect(journal)) as connection, connection:
        state, doc = connection.execute("SELECT state, doc FROM jobs WHERE id = ?", (stays,)).fetchone()
        old = [new_id("j") for _ in range(20_000)]
        rows = [(job, state, 0, json.dumps({**json.loads(doc), "padding": ""})) for job in old]
        connection.executemany("INSERT INTO jobs VALUES (?, ?, ?, ?)", rows)
        connection.executemany("INSERT INTO endings VALUES (?, ?, NULL)", [(job, time.time() - _YEARS) for job in old])
    for _ in range(KILLS):
        before = _records(journal)
        wait_until(lambda before=before: _records(journal) < before, 120, "the host deletes nothing", pause=0.01)
        running.kill("orchestrator-UB")
        assert 0 < _records(journal) < before
    wait_until(lambda: _records(journal) == 0, 120, "the host's retention does not go on")
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True)) as connection:
        assert connection.execute("SELECT COUNT(*) FROM jobs WHERE id = ?", (stays,)).fetchone()[0] == 1
        forgotten = "SELECT COUNT(*) FROM endings WHERE until IS NULL AND job NOT IN (SELECT id FROM jobs)"
        assert connection.execute(forgotten).fetchone()[0] == 0, "ids are kept until their deadlines"


def _records(journal: Path) -> int:
    """Of jobs that ended years ago."""
    with closing(sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=30)) as connection:
        sql = "SELECT COUNT(*) FROM jobs JOIN endings ON job = id WHERE at < ?"
        return int(connection.execute(sql, (time.time() - _YEARS / 2,)).fetchone()[0])
