"""A job whose images lie in a PACS: from the order to its end, with what was fetched gone from its folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.site.data.dicom_files import image, uid, written
from tests.support.orchestrator import Host, S, order
from tests.support.orthanc import PASSWORD, USER, Orthanc, running_orthanc

from fedproc.contract.wire.messages import DatasetUse
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.remote.archive import ArchiveDataApi
from fedproc.site.data.remote.stores import Stores
from fedproc.site.dataset_settings import DatasetSettings
from fedproc.site.journal import Journal

pytestmark = pytest.mark.needs_orthanc


@pytest.fixture(scope="module")
def pacs() -> Iterator[Orthanc]:
    with running_orthanc() as orthanc:
        for number in range(10):
            person = f"P{number}"
            ids = {"PatientID": person, "PatientName": person, "StudyInstanceUID": uid(f"study {person}"),
                   "SeriesInstanceUID": uid(person), "PatientSex": "F" if number < 5 else "M"}  # fmt: skip
            orthanc.put(written(image(**ids, SOPInstanceUID=uid(f"{person} {n}"))) for n in range(2))
        yield orthanc


@pytest.fixture
def host(tmp_path: Path, pacs: Orthanc, journal: Journal) -> Host:
    host = Host(tmp_path / "host", journal, ())
    host.tools.want(of_task={"inputs": [{"name": "images", "kind": "dataset"}]})
    host.executor.exit_code = 0
    user = tmp_path / "user"
    user.write_text(f"{USER}:{PASSWORD}")
    user.chmod(0o600)
    given = {"source": "dicomweb", "url": pacs.url, "query": {"Modality": "CT"}, "access": {"user_file": user}}
    settings = {"ct": DatasetSettings.model_validate(given)}
    host.services.data = ArchiveDataApi(settings, tmp_path / "datasets", Stores(tmp_path / "fetched"))
    return host


@pytest.mark.parametrize("selected", [False, True])
async def test_job_is_given_what_it_selects_and_leaves_nothing(host: Host, tmp_path: Path, selected: bool) -> None:
    selections = {"ct": Selection(sex=("F",))} if selected else {}
    ordered = order().model_copy(update={"datasets": (DatasetUse(id="ct"),), "selections": selections})
    host.services.policy = host.services.policy.model_copy(update={"floor": 5})
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    seen = tmp_path / "fetched" / "jobs" / ordered.job / "ct"
    assert len(list(seen.rglob("*.dcm"))) == (10 if selected else 20)
    host.executor.running[ordered.job].set()
    found = await host.ended(ordered.job)
    assert (found.state, found.reason) == (S.succeeded, None)
    assert found.versions["ct"].startswith("sha256:")
    assert not seen.parent.exists()
    assert not (tmp_path / "datasets" / "cohorts" / ordered.job).exists()


async def test_job_whose_fetched_images_change_while_it_runs_gives_no_result(host: Host, tmp_path: Path) -> None:
    ordered = order().model_copy(update={"datasets": (DatasetUse(id="ct"),)})
    await host.orchestrator.accept(ordered)
    await host.runs(ordered.job)
    seen = next((tmp_path / "fetched" / "jobs" / ordered.job / "ct").rglob("*.dcm"))
    seen.unlink()
    seen.write_bytes(b"other")
    host.executor.running[ordered.job].set()
    found = await host.ended(ordered.job)
    assert (found.state, found.code) == (S.error, "data.changed")
