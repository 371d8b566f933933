"""A job's results come of the data that it was given, or are not released."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.site.data.dicom_files import image, put, uid
from tests.support.orchestrator import Host, S, order

from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.jobs.orchestrator import Orchestrator
from fedproc.site.jobs.record import JobRecord
from fedproc.site.journal import Journal

pytestmark = pytest.mark.slow


TAKES_DATA = {"inputs": [{"name": "cohort", "kind": "dataset"}]}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1").write_bytes(b"one")
    (folder / "2").write_bytes(b"two")
    return folder


@pytest.fixture
def host(tmp_path: Path, images: Path, journal: Journal) -> Host:
    host = Host(tmp_path / "host", journal, ())
    host.tools.want(of_task=TAKES_DATA)
    host.executor.exit_code = 0
    host.services.data = FolderDataApi({"images": DatasetSettings(path=images)}, tmp_path / "indexes")
    return host


async def running(host: Host, **use: Any) -> str:
    ordered = order().model_copy(update={"datasets": (DatasetUse(id="images", **use),)})
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    return ordered.job


async def exits(host: Host, job: str) -> JobRecord:
    host.executor.running[job].set()
    return await host.ended(job)


async def test_job_whose_data_stays_succeeds_and_its_record_has_the_version(host: Host) -> None:
    [offer] = await host.services.data.offers()
    found = await exits(host, await running(host, version=offer.version))
    assert found.state is S.succeeded
    assert found.versions == {"images": offer.version}


@pytest.mark.parametrize("change", ["swap", "truncation", "rename", "removal"])
async def test_job_whose_data_changes_while_it_runs_ends_with_a_code_of_its_own(
    host: Host, images: Path, change: str
) -> None:
    job = await running(host)
    if change == "swap":
        (images / "1").rename(images / "3")
        (images / "2").rename(images / "1")
        (images / "3").rename(images / "2")
    elif change == "truncation":
        (images / "1").write_bytes(b"")
    elif change == "rename":
        (images / "1").rename(images / "3")
    else:
        (images / "1").unlink()
    found = await exits(host, job)
    assert (found.state, found.code) == (S.error, "data.changed")
    assert found.sealed is None
    assert S.collecting not in found.times


async def test_job_of_a_version_that_is_no_more_does_not_start(host: Host, images: Path) -> None:
    [offer] = await host.services.data.offers()
    (images / "1").write_bytes(b"other")
    ordered = order().model_copy(update={"datasets": (DatasetUse(id="images", version=offer.version),)})
    await host.orchestrator.accept(ordered)
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.error, "data.version")
    assert host.executor.started == []


async def test_change_is_noticed_after_a_restart_too(host: Host, images: Path) -> None:
    job = await running(host)
    await host.orchestrator.close()
    (images / "1").write_bytes(b"other")
    host.orchestrator = Orchestrator(host.services)
    await host.orchestrator.resume()
    found = await exits(host, job)
    assert (found.state, found.code) == (S.error, "data.changed")


# -- what is selected --------------------------------------------------------------------------------


@pytest.fixture
def persons(images: Path) -> Path:
    for person in range(12):
        ids = {"PatientID": f"P{person}", "PatientName": f"P{person}", "SeriesInstanceUID": uid(f"{person}")}
        put(images / f"{person}.dcm", image(**ids, SOPInstanceUID=uid(f"i{person}"), Modality="MR" if person else "CT"))
    return images


async def ordered_with(host: Host, **selection: Any) -> str:
    given = {"datasets": (DatasetUse(id="images"),), "selections": {"images": Selection(**selection)}}
    ordered = order().model_copy(update=given)
    await host.orchestrator.accept(ordered)
    return ordered.job


async def test_job_is_given_what_it_selects_and_nothing_of_it_stays(host: Host, persons: Path, tmp_path: Path) -> None:
    host.services.policy = host.services.policy.model_copy(update={"floor": 5})
    job = await ordered_with(host, patient=[f"P{number}" for number in range(6)])
    await host.runs(job)
    laid_out = tmp_path / "indexes" / "cohorts" / job / "images"
    assert sorted(path.name for path in laid_out.iterdir()) == [f"{number}.dcm" for number in range(6)]
    (persons / "11.dcm").unlink()
    found = await exits(host, job)
    assert found.state is S.succeeded
    assert not laid_out.parent.exists()


async def test_selection_of_fewer_persons_than_the_sites_floor_is_refused(host: Host, persons: Path) -> None:
    found = await host.ended(await ordered_with(host, modality=["CT"]))
    assert (found.state, found.code) == (S.refused, "policy.selection")
    assert "10 persons" in str(found.reason)
    assert host.executor.started == []
