"""The centre as the witness of its hosts' logs: what it sees in their heartbeats, and what it shows of its own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from tests.support.books import Books
from tests.support.central_api import Federation

from fedproc.central.db.engine import read_transaction
from fedproc.central.db.repositories import hosts
from fedproc.central.relay.metrics import MetricsCollector
from fedproc.central.tlog.witness import LogReader
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.witness import Assessment, Shown, assess, encoded
from fedproc.contract.wire.logs import ShownLog


def shown(log: Log, since: int = 0) -> ShownLog:
    note, proof = log.consistency(since)
    return ShownLog(note=note, verifier=log.verifier, since=since, proof=encoded(proof))


def grown(folder: Path, count: int) -> Log:
    log = Log(folder, "centre.test/hosts/UB")
    for number in range(count):
        log.append([("a", {"n": number})])
    return log


def kept(books: Books) -> dict[str, Any]:
    with read_transaction(books.engine) as connection:
        found: dict[str, Any] = hosts.enrolled(connection, "UB").log
    return found


def test_log_of_a_host_is_witnessed_by_its_heartbeats(books: Books, tmp_path: Path) -> None:
    log = grown(tmp_path / "UB", 3)
    books.beat("UB", log=shown(log))
    log.append([("b", {})] * 4)
    books.beat("UB", log=shown(log, 3))
    assert (kept(books)["assessment"], kept(books)["note"]) == ("consistent", log.checkpoint())
    books.beat("UB")
    assert kept(books)["note"] == log.checkpoint(), "a heartbeat of a release before changes nothing"


@pytest.mark.parametrize(("since", "more", "assessment"), [(0, 0, "shrunk"), (0, 3, "forked"), (5, 9, "forked")])
def test_backup_that_is_put_back_at_a_host_is_seen_and_alerted(
    books: Books, tmp_path: Path, since: int, more: int, assessment: str
) -> None:
    log = grown(tmp_path / "UB", 2)
    shutil.copytree(tmp_path / "UB", tmp_path / "backup")
    log.append([("b", {})] * 3)
    books.beat("UB", log=shown(log))
    restored = Log(tmp_path / "backup", "x")
    restored.append([("c", {})] * more)
    books.beat("UB", log=shown(restored, since))
    assert kept(books)["assessment"] == assessment
    registry = CollectorRegistry()
    registry.register(MetricsCollector(books.engine, lambda: "ok"))
    assert 'fedproc_host_log_broken{host="UB"} 1.0' in generate_latest(registry).decode()


def test_heartbeat_that_comes_late_is_no_log_that_has_shrunk(books: Books, tmp_path: Path) -> None:
    log = grown(tmp_path / "UB", 3)
    early = books.hosts.seal("UB", books.hosts.heartbeat("UB", log=shown(log)))
    log.append([("b", {})] * 4)
    books.beat("UB", log=shown(log))
    books.take(("UB", early))
    assert (kept(books)["assessment"], kept(books)["note"]) == ("consistent", log.checkpoint())
    log.append([("c", {})])
    books.beat("UB", log=shown(log, 7))
    assert (kept(books)["assessment"], kept(books)["note"]) == ("consistent", log.checkpoint())


def test_log_that_is_none_harms_only_its_host(books: Books) -> None:
    books.beat("UB", log=ShownLog(note="x", verifier="y"))
    books.beat("BSC")
    assert kept(books)["assessment"] == "other_key"


# -- over HTTP -----------------------------------------------------------------------------------


def test_host_witnesses_the_centres_log_and_sees_what_is_kept_of_its_own(lone: Federation, tmp_path: Path) -> None:
    log = grown(tmp_path / "UB", 3)
    lone.books.beat("UB", log=shown(log))
    lone.books.sequencer.keep_up()
    with lone.host("UB") as client:
        first = client.get("/hosts/UB/witness").json()
        witnessed = assess(None, Shown(**first["centre"]), 1.0)
        lone.books.submit(tool="count", datasets=["UB:cohort"], parameters={"column": "age"})
        lone.books.sequencer.keep_up()
        second = client.get("/hosts/UB/witness", params={"since": witnessed.checkpoint.size}).json()
    after = assess(witnessed, Shown(**second["centre"]), 2.0)
    assert after.assessment is Assessment.consistent
    assert after.checkpoint.size > witnessed.checkpoint.size
    assert (first["witnessed"]["size"], first["witnessed"]["assessment"]) == (3, "consistent")


def test_host_is_not_told_of_another(lone: Federation) -> None:
    with lone.host("BSC") as client:
        assert client.get("/hosts/UB/witness").status_code == 403
    with lone.user() as client:
        assert client.get("/hosts/UB/witness").status_code == 403


def test_operator_sees_and_accepts_a_log_that_is_not_what_it_was(lone: Federation, tmp_path: Path) -> None:
    lone.books.beat("UB", log=shown(grown(tmp_path / "a", 3)))
    lone.books.beat("UB", log=shown(grown(tmp_path / "b", 1)))

    def log_of(client: httpx.Client) -> dict[str, Any]:
        found: dict[str, Any] = client.get("/hosts/UB").json()["log"]
        return found

    with lone.user("olga", "operator", "researcher") as client:
        assert (log_of(client)["assessment"], log_of(client)["size"]) == ("other_key", 3)
        lone.books.beat("UB", log=shown(grown(tmp_path / "b", 0)))
        assert log_of(client)["assessment"] == "other_key", "it does not mend itself"
        answer = client.post("/hosts/UB/witness/reset", json={"reason": "its disk was replaced"})
        assert answer.status_code == 200, answer.text
        lone.books.beat("UB", log=shown(grown(tmp_path / "b", 0)))
        assert (log_of(client)["assessment"], log_of(client)["size"]) == ("consistent", 1)
        (entry,) = client.get("/audit", params={"action": "reset_witness"}).json()["items"]
        assert entry["detail"] == "its disk was replaced"


def test_reader_sees_what_the_relay_has_written(books: Books) -> None:
    reader = LogReader(books.settings)
    before = reader.shown(0)
    books.submit(tool="lone", hosts=["UB"])
    books.dispatch()
    assert reader.shown(0).note != before.note
