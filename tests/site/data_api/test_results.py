"""What a host released is listed by its own Data API: what left, by whose word, and no longer than it is kept."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.site.data_api.conftest import PREFIX, client, served
from tests.support.orchestrator import S, record

from fedproc.contract.data_api import ReleasedFile, ReleasedResult
from fedproc.contract.ids import new_id
from fedproc.contract.wire.messages import Output
from fedproc.site.data.results import Results
from fedproc.site.jobs.release.listing import note_released
from fedproc.site.jobs.reviewing import Decision
from fedproc.site.retention.kept import DAY
from fedproc.site.retention.results import ReleasedResults

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def services(folder: Path | None) -> Any:
    clock = SimpleNamespace(now=lambda: NOW)
    return cast(Any, SimpleNamespace(settings=SimpleNamespace(results=folder), identity=SimpleNamespace(clock=clock)))


def released(*paths: str, recipient: str | None = None) -> Any:
    found = record(S.collecting)
    found.versions = {"ct": "sha256:1"}
    found.outputs = tuple(
        Output(output="report", path=path, file=new_id("f"), sha256="a" * 64, size=7, recipient=recipient)
        for path in paths
    )
    return found


@pytest.mark.slow
async def test_result_is_listed_with_what_it_is_and_who_decided(tmp_path: Path, folder: Path) -> None:
    kept = tmp_path / "results"
    kept.mkdir()
    job = released("a.json", "b.json")
    job.decision = Decision(release=True, reason="looked at", hashes={}, reviewers=("hmac:1",))
    await note_released(services(kept), job, is_part=True)
    async with (
        served(tmp_path / "api", datasets={"ct": {"path": folder}}, results=kept) as socket,
        client(socket) as http,
    ):
        plain = (await http.get(f"{PREFIX}/datasets")).json()
        assert [one["id"] for one in plain["datasets"]] == ["ct"], "a reader of before does not know the kind"
        (found,) = (await http.get(f"{PREFIX}/datasets?kind=results")).json()["datasets"]
        assert (found["id"], found["kinds"], found["files"], found["size"]) == (job.job, ["results"], 2, 14)
        result = found["result"]
        assert (result["experiment"], result["tool"], result["decision"]) == (job.order.experiment, "km", "persons")
        assert (result["tool_digest"], result["is_part"]) == (job.order.tool.digest, True)
        assert result["datasets"] == {"ct": "sha256:1"}
        assert "looked at" not in json.dumps(found) and "alice" not in json.dumps(found) and "hmac" not in str(found)
        assert (await http.get(f"{PREFIX}/datasets/{job.job}")).json()["dataset"] == found
        assert (await http.post(f"{PREFIX}/datasets/{job.job}/cohorts", json={})).status_code == 404


async def test_only_what_was_released_is_listed_and_the_first_word_counts(tmp_path: Path) -> None:
    await note_released(services(tmp_path), released(), is_part=False)
    await note_released(services(tmp_path), released("kit", recipient="BSC"), is_part=False)
    assert Results(tmp_path).names() == [], "nothing left, or an artefact for a peer alone"
    job = released("a.json")
    await note_released(services(tmp_path), job, is_part=False)
    job.outputs = ()
    await note_released(services(tmp_path), job, is_part=True)
    (found,) = Results(tmp_path).all()
    assert (found.decision, found.is_part, len(found.files)) == ("automatic", False, 1)
    await note_released(services(None), job, is_part=False)


async def test_folder_that_cannot_be_written_ends_no_job(tmp_path: Path) -> None:
    await note_released(services(tmp_path / "gone"), released("a.json"), is_part=False)


def test_file_that_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / f"{new_id('j')}.json").write_text("{")
    (tmp_path / "notes.txt").write_text("of a person")
    (tmp_path / f"{new_id('j')}.json").symlink_to("/etc/passwd")
    assert [*Results(tmp_path).all()] == []


async def test_retention_takes_what_is_old(tmp_path: Path) -> None:
    for age in (1, 500):
        result = ReleasedResult(
            job=new_id("j"), experiment=new_id("e"), task="t", tool="km", tool_version="1", tool_digest="sha256:1",
            decision="automatic", released=NOW, files=(ReleasedFile(output="o", path="p", sha256="a" * 64, size=1),),
        )  # fmt: skip
        Results(tmp_path).keep(result)
        at = NOW.timestamp() - age * DAY
        os.utime(tmp_path / f"{result.job}.json", (at, at))
    kind = ReleasedResults(tmp_path, 400)
    before = await kind.survey(NOW.timestamp())
    assert (before.count, before.due, before.following) == (2, 1, NOW.timestamp() + 399 * DAY)
    assert [await kind.remove(NOW.timestamp()), await kind.remove(NOW.timestamp())] == [1, 0]
    assert (await ReleasedResults(None, 400).survey(NOW.timestamp())).count == 0
