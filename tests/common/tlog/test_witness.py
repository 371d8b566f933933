"""What a witness says of another's log: that it only grows, or how it does not."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedproc.common.tlog.folder import ENTRIES
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.witness import Assessment, Shown, Witnessed, assess, encoded


def shown(log: Log, since: int) -> Shown:
    note, proof = log.consistency(since)
    return Shown(note, log.verifier, since, encoded(proof))


def grown(folder: Path, count: int, kind: str = "a") -> Log:
    log = Log(folder, "x/hosts/UB")
    for number in range(count):
        log.append([(kind, {"n": number})])
    return log


def witnessed(log: Log) -> Witnessed:
    found = assess(None, shown(log, 0), 1.0)
    assert found.assessment is Assessment.consistent
    return found


def test_log_that_grows_is_consistent(tmp_path: Path) -> None:
    log = Log(tmp_path, "x/hosts/UB")
    kept = witnessed(log)
    for at in range(2, 12):
        since = log.size
        log.append([("a", {})] * (at % 4))
        kept = assess(kept, shown(log, since), float(at))
        assert (kept.assessment, kept.at, kept.checkpoint.size) == (Assessment.consistent, at, log.size)
    assert Witnessed.of_json(json.loads(json.dumps(kept.as_json()))) == kept


def test_log_whose_end_was_cut_off_has_shrunk(tmp_path: Path) -> None:
    kept = witnessed(grown(tmp_path / "whole", 5))
    (tmp_path / "cut").mkdir()
    for name in ("key.pem", "key.pub"):
        shutil.copy(tmp_path / "whole" / name, tmp_path / "cut" / name)
    lines = (tmp_path / "whole" / ENTRIES).read_bytes().splitlines(keepends=True)
    (tmp_path / "cut" / ENTRIES).write_bytes(b"".join(lines[:3]))
    found = assess(kept, shown(Log(tmp_path / "cut", "x/hosts/UB"), 3), 2.0)
    assert found.assessment is Assessment.shrunk
    assert "has 3 entries, and had 5" in found.text


def test_backup_that_was_put_back_has_shrunk_and_forks_when_it_has_grown_again(tmp_path: Path) -> None:
    log = grown(tmp_path / "log", 3)
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    log.append([("a", {"n": 3})])
    kept = witnessed(log)
    restored = Log(tmp_path / "backup", "x/hosts/UB")
    assert assess(kept, shown(restored, 3), 2.0).assessment is Assessment.shrunk
    restored.append([("b", {"n": 3})])
    assert assess(kept, shown(restored, 4), 2.0).assessment is Assessment.forked
    restored.append([("b", {"n": 4})])
    assert assess(kept, shown(restored, 4), 2.0).assessment is Assessment.forked


def test_log_of_another_key_is_another_log(tmp_path: Path) -> None:
    kept = witnessed(grown(tmp_path / "a", 3))
    found = assess(kept, shown(grown(tmp_path / "b", 4), 3), 2.0)
    assert (found.assessment, found.note) == (Assessment.other_key, kept.note)
    assert found.offending


def test_proof_that_begins_elsewhere_is_asked_for_again(tmp_path: Path) -> None:
    log = grown(tmp_path, 3)
    kept = witnessed(log)
    log.append([("a", {})] * 4)
    found = assess(kept, shown(log, 5), 2.0)
    assert (found.assessment, found.note) == (Assessment.unproven, kept.note)
    assert assess(found, shown(log, 3), 3.0).assessment is Assessment.consistent


def test_what_was_found_broken_stays_so(tmp_path: Path) -> None:
    log = grown(tmp_path, 3)
    broken = replace(witnessed(log), assessment=Assessment.forked)
    assert assess(broken, shown(log, 3), 2.0) == broken


@pytest.mark.slow
@given(st.text(), st.text(), st.integers(), st.lists(st.text(), max_size=3))
def test_any_message_is_judged(note: str, verifier: str, since: int, proof: list[str]) -> None:
    assert assess(None, Shown(note, verifier, since, proof), 1.0).assessment is Assessment.other_key


@pytest.mark.parametrize("proof", [(), ("x",), ("AAAA",) * 3, ("\ud800",)])
def test_proof_that_cannot_be_read_proves_nothing(tmp_path: Path, proof: tuple[str, ...]) -> None:
    log = grown(tmp_path, 3)
    kept = witnessed(log)
    log.append([("a", {})])
    assert assess(kept, replace(shown(log, 3), proof=proof), 2.0).assessment is Assessment.forked
