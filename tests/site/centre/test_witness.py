"""The host as the witness of the centre's log, and as the one who is witnessed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, cast

import pytest

from fedproc.common.tlog.folder import CHECKPOINT
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.verification import Kept, verify
from fedproc.common.tlog.witness import encoded
from fedproc.contract.wire.logs import ShownLog, WitnessedLog, WitnessExchange
from fedproc.site.centre.witness import CENTRES_CHECKPOINT, CentreWitness
from fedproc.site.tlog.entries import LogResumed
from fedproc.site.tlog.log import HostLog


class Centre:
    """Answers with what its log is, and what it has of the host's."""

    def __init__(self, folder: Path) -> None:
        self.log = Log(folder, "centre.test/centre")
        self.witnessed: WitnessedLog | None = None

    async def exchange_witness(self, host: str, since: int) -> WitnessExchange:
        note, proof = self.log.consistency(since)
        shown = ShownLog(note=note, verifier=self.log.verifier, since=since, proof=encoded(proof))
        return WitnessExchange(centre=shown, witnessed=self.witnessed)


@pytest.fixture
def centre(tmp_path: Path) -> Centre:
    return Centre(tmp_path / "centre")


@pytest.fixture
async def log(tmp_path: Path) -> HostLog:
    log = HostLog(tmp_path / "tlog", "centre.test/hosts/UB")
    await log.append(LogResumed(since="x"))
    return log


def witness(log: HostLog, centre: Any) -> CentreWitness:
    return CentreWitness("UB", log, cast(Any, centre))


async def test_log_of_the_centre_is_witnessed_also_after_a_restart(log: HostLog, centre: Centre) -> None:
    await witness(log, centre).exchange()
    centre.log.append([("a", {})] * 5)
    again = witness(log, centre)
    await again.exchange()
    assert again.of_centre is not None
    assert (again.of_centre.assessment, again.of_centre.size) == ("consistent", 5)
    kept = (log.folder / CENTRES_CHECKPOINT).read_text()
    assert verify(centre.log.folder, [Kept("the host's", kept)]).covered == 5, "an auditor holds the centre against it"


async def test_backup_that_is_put_back_at_the_centre_is_seen(log: HostLog, centre: Centre, tmp_path: Path) -> None:
    centre.log.append([("a", {})] * 2)
    shutil.copytree(centre.log.folder, tmp_path / "backup")
    centre.log.append([("a", {})])
    seen = witness(log, centre)
    await seen.exchange()
    assert not seen.is_broken
    centre.log = Log(tmp_path / "backup", "x")
    await seen.exchange()
    assert seen.is_broken
    assert seen.of_centre is not None
    assert (seen.of_centre.assessment, seen.of_centre.size) == ("shrunk", 3)


async def test_proof_begins_with_what_the_centre_has_of_this_log(log: HostLog, centre: Centre) -> None:
    opened = Log(log.folder, "x")
    centre.witnessed = WitnessedLog(note=opened.checkpoint(), verifier=opened.verifier, at=1.0)
    await witness(log, centre).exchange()
    await log.append(LogResumed(since="y"))
    found = await log.shown()
    assert found is not None
    assert (found.since, len(found.proof)) == (1, 1)


async def test_host_sees_that_its_own_log_is_not_as_it_was_witnessed(log: HostLog, centre: Centre) -> None:
    centre.witnessed = WitnessedLog(at=1.0, assessment="forked", text="its 3 entries do not begin with the 2")
    seen = witness(log, centre)
    await seen.exchange()
    assert seen.is_broken


async def test_kept_file_that_cannot_be_read_is_begun_anew(log: HostLog, centre: Centre) -> None:
    (log.folder / "centre.json").write_text("[")
    seen = witness(log, centre)
    await seen.exchange()
    assert not seen.is_broken


async def test_log_that_cannot_be_read_is_not_shown(log: HostLog) -> None:
    shutil.rmtree(log.folder)
    assert await log.shown() is None
    assert not (log.folder / CHECKPOINT).exists()
