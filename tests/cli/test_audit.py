"""``fedproc site audit`` and ``fedproc audit verify``: what the operator and the auditor read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Call

from fedproc.common.tlog.folder import CHECKPOINT, ENTRIES
from fedproc.common.tlog.log import Log
from fedproc.common.tlog.pseudonyms import Pseudonyms
from fedproc.site.tlog.entries import (
    DatasetUsed,
    FileLeaving,
    HostEntry,
    JobAccepted,
    JobEnded,
    JobStarted,
    OutputUploaded,
    PolicyChanged,
    ReleaseDecided,
    RuleUsed,
    ToolUsed,
)

pytestmark = pytest.mark.slow


KM = ToolUsed(id="kaplan-meier", version="1.2.0", digest="sha256:" + "c0ffee" * 10 + "0000")
ROWS = ToolUsed(id="row-count", version="1.0.0", digest="sha256:" + "b" * 64)


RULES = (
    RuleUsed(id="rules", version="ab" * 32, limits={"floor": 10}),
    RuleUsed(id="persons.zero", version="2"),
)


def ids(number: int) -> dict[str, str]:
    return {"job": f"j-{number:026d}", "experiment": f"e-{number:026d}"}


def of_job(number: int, tool: ToolUsed, dataset: str, user: str) -> list[HostEntry]:
    files = (FileLeaving(output="table", sha256="a" * 64),)
    return [
        JobAccepted(
            **ids(number), task="local", tool=tool, datasets=(DatasetUsed(id=dataset),), user=user, project="P1"
        ),
        JobStarted(**ids(number), tool=tool, datasets=(DatasetUsed(id=dataset, version="v3"),), executor="docker"),
        ReleaseDecided(**ids(number), decision="released", by="person", files=files, rules=RULES),
        OutputUploaded(**ids(number), output="table", sha256="a" * 64, file="f-" + "0" * 26),
        JobEnded(**ids(number), state="succeeded"),
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A host's log of two jobs and a change of its policy."""
    log = Log(tmp_path / "tlog", "centre.example/hosts/UB")
    names = Pseudonyms(log.folder)
    for entry in [
        *of_job(1, KM, "breast", names.of("user", "alice")),
        PolicyChanged(policy="d" * 64),
        *of_job(2, ROWS, "lung", names.of("user", "bob")),
    ]:
        log.append([(entry.kind, entry.data())])
    log.checkpoint()
    return log.folder


def entries(fedproc: Call, folder: Path, *options: str) -> list[dict[str, object]]:
    said = fedproc("site", "audit", "--log", str(folder), "--json", *options)
    assert said.code == 0, said.err
    found: list[dict[str, object]] = json.loads(said.out)
    return found


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        (["--dataset", "breast"], {1}), (["--dataset", "UB:breast"], set()), (["--job", ids(2)["job"]], {2}),
        (["--experiment", ids(1)["experiment"]], {1}), (["--tool", "row-count"], {2}), (["--tool", "c0ffee"], {1}),
        (["--user", "alice"], {1}), (["--user", "carol"], set()), (["--project", "P1"], {1, 2}),
        (["--user", "bob", "--dataset", "breast"], set()), (["--kind", "release"], {1, 2}),
        (["--until", "2001"], set()), (["--since", "2001-01-01"], {1, 2}),
    ],
)  # fmt: skip
def test_entries_are_found_by_what_they_are_about(
    fedproc: Call, folder: Path, options: list[str], jobs: set[int]
) -> None:
    found = {str(entry.get("job")) for entry in entries(fedproc, folder, *options)}
    assert found - {"None"} == {ids(number)["job"] for number in jobs}


def test_day_is_asked_for_with_all_of_it(fedproc: Call, folder: Path) -> None:
    day = str(entries(fedproc, folder)[0]["at"])[:10]
    assert len(entries(fedproc, folder, "--since", day, "--until", day)) == 11


def test_moment_that_is_none_is_refused(fedproc: Call, folder: Path) -> None:
    said = fedproc("site", "audit", "--log", str(folder), "--since", "yesterday")
    assert said.code == 1
    assert "give it as 2026-11-29" in said.err


def test_uses_say_who_used_what_and_what_left(fedproc: Call, folder: Path) -> None:
    said = fedproc("site", "audit", "--log", str(folder), "--uses", "--dataset", "breast")
    (row,) = said.out.splitlines()[1:]
    assert ids(1)["job"] in row
    assert "breast@v3" in row
    assert "kaplan-meier sha256:c0ffeec0ffee" in row
    assert "1 file  released by person: rules abababababab (floor 10), persons.zero v2" in row
    (use,) = entries(fedproc, folder, "--uses", "--dataset", "breast")
    assert use["left"] == ["a" * 64]


def test_entries_are_shown_as_a_table(fedproc: Call, folder: Path) -> None:
    said = fedproc("site", "audit", "--log", str(folder)).out
    assert len(said.splitlines()) == 12
    assert "policy dddddddddddd" in said


def test_log_that_is_whole_is_proved_and_what_is_not_is_said(fedproc: Call, folder: Path, tmp_path: Path) -> None:
    witness = tmp_path / "kept by the centre"
    witness.write_text((folder / CHECKPOINT).read_text())
    for command in (["audit", "verify"], ["site", "audit", "verify"]):
        said = fedproc(*command, str(folder), "--checkpoint", str(witness))
        assert said.code == 0
        assert "11 entries" in said.out
        assert f"checkpoint {witness}: the first 11 entries are, byte by byte, those it was made of" in said.out
        assert "that all that was done was written down" in said.out


def test_log_that_was_changed_ends_with_its_own_code(fedproc: Call, folder: Path) -> None:
    content = (folder / ENTRIES).read_bytes()
    (folder / ENTRIES).write_bytes(content.replace(b'"breast"', b'"colons"'))
    said = fedproc("audit", "verify", str(folder))
    assert said.code == 2
    assert "It is not what it was:" in said.out
    assert "line 2: it does not follow" in said.out
    assert json.loads(fedproc("audit", "verify", str(folder), "--json").out)["whole"] is False


def test_place_without_a_log_is_named(fedproc: Call, tmp_path: Path) -> None:
    said = fedproc("audit", "verify", str(tmp_path))
    assert said.code == 1
    assert "there is no log here" in said.err
    assert "Traceback" not in said.err
    assert fedproc("site", "audit", "--log", str(tmp_path / "none")).code == 1


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"no note", b"x\n\n" + "\u2014 x AAAA\n".encode()])
def test_checkpoint_that_is_none_is_named(fedproc: Call, folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "c").write_bytes(content)
    said = fedproc("audit", "verify", str(folder), "--checkpoint", str(tmp_path / "c"))
    assert said.code in (1, 2)
    assert "Traceback" not in said.err


def test_log_of_the_centre_is_read_by_the_same_options(fedproc: Call, tmp_path: Path) -> None:
    log = Log(tmp_path / "tlog", "centre.example/centre")
    names = Pseudonyms(log.folder)
    for number, user in enumerate(("alice", "bob")):
        used = [{"id": "UB:breast" if number else "BSC:lung", "version": "1"}]
        job = {"job": ids(number)["job"], "host": "UB", "datasets": used}
        data = {"experiment": ids(number)["experiment"], "user": names.of("user", user), "jobs": [job]}
        log.append(
            [("experiment.submitted", data), ("jobs.dispatched", {"experiment": data["experiment"], "jobs": []})]
        )
    for options, found in (
        (["--user", "alice"], 2),
        (["--dataset", "UB:breast"], 2),
        (["--dataset", "lung"], 2),
        ([], 4),
    ):
        said = fedproc("audit", "show", "--log", str(log.folder), "--json", *options)
        assert len(json.loads(said.out)) == found, options
