"""What became of every job, by the centre's books: lost, doubled, stuck, wrong, or as it should be."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import psutil
from tests.resilience.soak.faults import Faults
from tests.resilience.soak.flow import Flow
from tests.resilience.soak.gone import control_groups
from tests.support.running import Running

from fedproc.contract.states import TERMINAL


@dataclass
class Count:
    """Each list says what is wrong, a line a job."""

    jobs: int = 0
    succeeded: int = 0
    explained: int = 0
    """ended otherwise, as the faults that people made would have it"""
    lost: list[str] = field(default_factory=list)
    """the centre said that it had it, and has it not; or it ended without its result"""
    doubled: list[str] = field(default_factory=list)
    """run twice, ended twice, or made twice of one Idempotency-Key"""
    stuck: list[str] = field(default_factory=list)
    """not ended, long after the last fault"""
    wrong: list[str] = field(default_factory=list)
    """ended in a way that no fault explains, or a result left its host that was refused there"""
    left: list[str] = field(default_factory=list)
    """folders and processes of jobs that are still there"""

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.stuck or self.wrong or self.left)


def count(running: Running, flow: Flow, faults: Faults) -> Count:
    """Look at the database, the hosts' folders and the runners' processes."""
    with sqlite3.connect(f"file:{running.folder}/central/central.sqlite?mode=ro", uri=True) as books:
        books.row_factory = sqlite3.Row
        found = _of_books(books, flow, faults)
    for host in running.hosts:
        found.left += running.leftovers(host)
        runner = psutil.Process(running.pid(f"runner-{host}"))
        found.left += [f"process {child.pid} of runner-{host}: {child.status()}" for child in runner.children()]
        found.left += map(str, control_groups(running, host))
    return found


def _of_books(books: sqlite3.Connection, flow: Flow, faults: Faults) -> Count:
    found = Count()
    made = defaultdict(list)
    for row in books.execute("SELECT id, idempotency_key, label FROM experiments"):
        made[row["label"]].append(row["id"])
    events = _events(books)
    hashes = _results(books)
    found.doubled += [f"{key}: experiments {', '.join(ids)}" for key, ids in made.items() if len(ids) > 1]
    found.lost += [f"{key}: experiment {id_} is gone" for key, id_ in flow.accepted.items() if id_ not in made[key]]
    for row in books.execute("SELECT id, experiment, host, state, code, reason, late FROM jobs"):
        _look_at(row, events[row["id"]], hashes[row["id"]], faults, found)
    return found


def _look_at(
    row: sqlite3.Row, events: list[tuple[str, dict[str, Any]]], hashes: list[str], faults: Faults, found: Count
) -> None:
    found.jobs += 1
    name = f"job {row['id']} of {row['experiment']} on {row['host']}"
    ends = [data["state"] for kind, data in events if kind == "state" and data["state"] in TERMINAL]
    runs = {line for kind, data in events if kind == "log" for line in data["lines"]}
    if row["state"] not in TERMINAL:
        found.stuck.append(f"{name}: {row['state']}")
        return
    late = row["late"] not in (None, "null") and row["id"] not in faults.given_up
    if len(ends) != 1 or len(runs) > 1 or late:
        found.doubled.append(f"{name}: ended {ends}, printed {sorted(runs)}, later {row['late']}")
    elif row["state"] != "succeeded":
        _look_at_fault(row, name, hashes, faults, found)
    elif row["id"] in faults.answered:
        found.wrong.append(f"{name}: its release was refused, and it has succeeded")
    elif len(runs) != 1 or hashes != [_hash_of_result(next(iter(runs)))]:
        found.lost.append(f"{name}: printed {sorted(runs)}, results {hashes}")
    else:
        found.succeeded += 1


def _look_at_fault(row: sqlite3.Row, name: str, hashes: list[str], faults: Faults, found: Count) -> None:
    if not faults.explains(row["id"], row["host"], row["state"], row["code"]):
        found.wrong.append(f"{name}: {row['state']} {row['code']}: {row['reason']}")
    elif hashes and row["state"] == "refused":
        found.wrong.append(f"{name}: refused ({row['code']}), and its result has left")
    else:
        found.explained += 1


def _hash_of_result(printed: str) -> str:
    """Of the file that a run of ``tally`` writes, by the line that it prints."""
    return hashlib.sha256(json.dumps({"run": printed.removeprefix("run "), "text": ""}).encode()).hexdigest()


def _events(books: sqlite3.Connection) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    found = defaultdict(list)
    for row in books.execute("SELECT job, kind, data FROM events WHERE job IS NOT NULL ORDER BY id"):
        found[row["job"]].append((row["kind"], json.loads(row["data"])))
    return found


def _results(books: sqlite3.Connection) -> dict[str, list[str]]:
    found = defaultdict(list)
    for row in books.execute("SELECT job, sha256 FROM files WHERE state = 'complete' AND output IS NOT NULL"):
        found[row["job"]].append(row["sha256"])
    return found
