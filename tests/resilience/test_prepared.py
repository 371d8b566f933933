"""An experiment is prepared ahead over a PACS and a Data API, while programs are killed, and is started later.

5,000 slices each: what was fetched is not fetched again, nothing is there twice, and nothing stays.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import tomli_w
from tests.e2e.test_images import together
from tests.e2e.test_sources import other_source
from tests.site.data.dicom_files import image, uid, written
from tests.support.orthanc import PASSWORD, USER, Orthanc, running_orthanc
from tests.support.processes import DYING_WITH_US
from tests.support.running import Running

from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView, JobView
from fedproc.contract.data_api import PREFIX
from fedproc.contract.states import FOR_START
from fedproc.demo.imaging import FOLDER
from fedproc.demo.polling import wait_until

pytestmark = [pytest.mark.needs_federation, pytest.mark.needs_orthanc, pytest.mark.timeout(1200)]

_PERSONS, _SLICES = 25, 200
FILES = _PERSONS * _SLICES
_PIXELS = {"Rows": 64, "Columns": 64, "PixelData": bytes(64 * 64)}
_SECONDS = 400


def slices(host: str) -> Iterator[bytes]:
    for person in range(_PERSONS):
        name = f"{host}-{person:02}"
        ids = {"PatientID": name, "PatientName": name, "StudyInstanceUID": uid(f"study {name}"),
               "SeriesInstanceUID": uid(f"series {name}"), "PatientSex": "MF"[person % 2]}  # fmt: skip
        for number in range(_SLICES):
            yield written(image(**ids, **_PIXELS, SOPInstanceUID=uid(f"{name} {number}")))


def in_archive(orthanc: Orthanc, host: str, folder: Path) -> dict[str, Any]:
    orthanc.put(slices(host))
    user = folder / "user"
    user.write_text(f"{USER}:{PASSWORD}")
    user.chmod(0o600)
    return {
        "source": "dicomweb", "url": orthanc.url, "query": {"Modality": "CT"}, "description": "in a PACS",
        "access": {"user_file": str(user)}, "fetching": {"megabytes_per_second": 2, "wait_seconds": 1},
    }  # fmt: skip


class DataApi:
    """The program over 5,000 slices of its own, as a site runs it, which may be killed and comes back."""

    def __init__(self, folder: Path, host: str) -> None:
        self._folder = folder
        self.socket = folder / "api.sock"
        images = folder / "images"
        for number, content in enumerate(slices(host)):
            path = images / f"{number // _SLICES:02}" / f"{number:05}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        settings = {"state": str(folder / "data-api"), "socket": str(self.socket), "floor": 5,
                    "datasets": {FOLDER: {"path": str(images)}}}  # fmt: skip
        (folder / "data-api.toml").write_text(tomli_w.dumps(settings))

    def start(self) -> None:
        program = Path(sys.executable).parent / "fedproc"
        command = [*DYING_WITH_US, program, "data-api", "--config", self._folder / "data-api.toml"]
        self.socket.unlink(missing_ok=True)
        with (self._folder / "data-api.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(self._offers, _SECONDS, f"the Data API does not offer its images: {self._folder / 'data-api.log'}")

    def _offers(self) -> bool:
        """Once it has read all of them."""
        try:
            with httpx.Client(transport=httpx.HTTPTransport(uds=str(self.socket)), base_url="http://api") as http:
                return any(one["id"] == FOLDER for one in http.get(f"{PREFIX}/datasets").json()["datasets"])
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def settings(self) -> dict[str, Any]:
        return {"source": "http", "url": f"unix://{self.socket}", "description": "behind a Data API",
                "fetching": {"megabytes_per_second": 2, "wait_seconds": 1}}  # fmt: skip


@contextmanager
def data_api(folder: Path, host: str) -> Iterator[DataApi]:
    found = DataApi(folder, host)
    found.start()
    try:
        yield found
    finally:
        found.kill()


def prepared(running: Running, host: str) -> ExperimentView:
    request = ExperimentRequest(tool="dicom-summary", datasets=[f"{host}:{FOLDER}"], prepare=True)
    return running.researcher.run(request)


def job_of(running: Running, experiment: ExperimentView, host: str) -> JobView:
    return running.jobs(experiment)[f"local@{host}"]


def in_the_middle(running: Running, experiment: ExperimentView, host: str, least: int) -> None:
    """Wait until some of the files are there, and not all."""

    def reached() -> bool:
        words = (job_of(running, experiment, host).waiting_for or "").replace(",", "").split()
        return words[:1] == ["materialising"] and least <= int(words[1].partition("/")[0]) < FILES

    wait_until(reached, _SECONDS, f"{host} does not come to {least} files")


def laid_out(running: Running, experiment: ExperimentView, host: str) -> None:
    wait_until(lambda: job_of(running, experiment, host).laid_out, _SECONDS, f"{host} does not lay it out")
    view = running.researcher.experiment(experiment.id)
    assert view.held
    assert view.prepared
    assert str(job_of(running, experiment, host).waiting_for).startswith(FOR_START)


def kept(running: Running, host: str) -> tuple[list[Path], list[Path]]:
    """The files of the store, and those that jobs see."""
    fetched = running.folder / "hosts" / host / "fetched"
    return [path for path in fetched.glob("files/*/*") if path.is_file()], [
        path for path in fetched.glob("jobs/**/*") if path.is_file()
    ]


def whole_once(running: Running, host: str) -> None:
    """Each file is in the store once, and the job's folder has links of them, and nothing is on its way."""
    files, links = kept(running, host)
    assert (len(files), len(links)) == (FILES, FILES)
    assert {path.stat().st_ino for path in files} == {path.stat().st_ino for path in links}
    assert not list((running.folder / "hosts" / host / "fetched" / "incoming").iterdir())


def nothing_left(running: Running, experiment: ExperimentView, host: str) -> None:
    job = job_of(running, experiment, host).id
    state = running.folder / "hosts" / host
    wait_until(lambda: not running.leftovers(host) or not [p for p in running.leftovers(host) if job in p], 60, "left")
    assert kept(running, host)[1] == []
    assert [path for path in state.rglob("*") if job in path.name and path.suffix != ".log"] == []


def started(running: Running, experiment: ExperimentView, host: str, folder: Path) -> None:
    """Runs once, with the answer of all slices."""
    running.researcher.start(experiment.id)
    found = together(running, experiment, folder)
    assert found["persons"] == _PERSONS
    events = [event.state for event in running.researcher.events(experiment.id) if event.host == host and event.state]
    assert events.count("running") == events.count("succeeded") == 1
    nothing_left(running, experiment, host)


def test_orchestrator_is_killed_while_a_series_comes_from_the_pacs(running: Running, tmp_path: Path) -> None:
    with ExitStack() as stack:
        orthanc = stack.enter_context(running_orthanc())
        stack.enter_context(other_source(running, "BSC", in_archive(orthanc, "BSC", tmp_path)))
        experiment = prepared(running, "BSC")
        in_the_middle(running, experiment, "BSC", 700)
        before = len(kept(running, "BSC")[0])
        running.kill("orchestrator-BSC")
        since = time.time()
        in_the_middle(running, experiment, "BSC", before)
        running.kill("orchestrator-BSC")
        laid_out(running, experiment, "BSC")
        whole_once(running, "BSC")
        old = [path for path in kept(running, "BSC")[0] if path.stat().st_mtime < since]
        assert len(old) >= before - _SLICES, "what had come was not fetched again"
        running.kill("orchestrator-BSC")
        started(running, experiment, "BSC", tmp_path / "results")


def test_cancelled_in_the_middle_leaves_nothing(running: Running, tmp_path: Path) -> None:
    with ExitStack() as stack:
        api = stack.enter_context(data_api(tmp_path, "UB"))
        stack.enter_context(other_source(running, "UB", api.settings))
        experiment = prepared(running, "UB")
        in_the_middle(running, experiment, "UB", 400)
        api.kill()
        api.start()
        laid_out(running, experiment, "UB")
        whole_once(running, "UB")
        running.researcher.cancel(experiment.id)
        running.end(experiment)
        nothing_left(running, experiment, "UB")
        again = prepared(running, "UB")
        laid_out(running, again, "UB")
        running.kill("orchestrator-UB")
        started(running, again, "UB", tmp_path / "results")
