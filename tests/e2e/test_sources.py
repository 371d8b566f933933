"""One experiment over images that lie in a folder, in a PACS and behind a site's Data API."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from tests.e2e.test_images import counts, start, together
from tests.support.orthanc import PASSWORD, USER, Orthanc, running_orthanc
from tests.support.processes import DYING_WITH_US
from tests.support.running import Running

from fedproc.demo.imaging import FOLDER, PERSONS, pooled_images
from fedproc.demo.polling import wait_until

pytestmark = [pytest.mark.needs_federation, pytest.mark.needs_orthanc]


@contextmanager
def other_source(running: Running, host: str, settings: dict[str, Any]) -> Iterator[None]:
    """The host's images come from elsewhere for a while."""
    path, program = running.folder / f"host-{host}.toml", f"orchestrator-{host}"
    before = path.read_bytes()
    given = tomllib.loads(before.decode())
    given["datasets"][FOLDER] = settings
    with running.without(program):
        path.write_text(tomli_w.dumps(given))
    try:
        wait_until(lambda: offers(running, host, settings.get("description", "")), 180, f"{host} offers no images")
        yield
    finally:
        with running.without(program):
            path.write_bytes(before)
        wait_until(lambda: running.accepting(host), 180, f"{host} does not come back")


def offers(running: Running, host: str, description: str) -> bool:
    found = [one for one in running.researcher.datasets() if one.id == f"{host}:{FOLDER}"]
    return running.accepting(host) and bool(found) and found[0].description == description


def in_archive(running: Running, host: str, orthanc: Orthanc, folder: Path) -> dict[str, Any]:
    images = running.folder / "data" / host / FOLDER
    files = [path.read_bytes() for path in sorted(images.rglob("*")) if path.is_file()]
    orthanc.put(content for content in files if content[128:132] == b"DICM")
    user = folder / "user"
    user.write_text(f"{USER}:{PASSWORD}")
    user.chmod(0o600)
    return {
        "source": "dicomweb", "url": orthanc.url, "query": {"PatientID": f"*{host}*"}, "description": "in a PACS",
        "access": {"user_file": str(user)},
    }  # fmt: skip


@contextmanager
def behind_data_api(running: Running, host: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The program as a site runs it; its socket is the host's images' source."""
    socket = folder / "api.sock"
    settings = {
        "state": str(folder / "data-api"), "socket": str(socket), "floor": 5,
        "datasets": {FOLDER: {"path": str(running.folder / "data" / host / FOLDER)}},
    }  # fmt: skip
    (folder / "data-api.toml").write_text(tomli_w.dumps(settings))
    command = [
        *DYING_WITH_US,
        Path(sys.executable).parent / "fedproc",
        "data-api",
        "--config",
        folder / "data-api.toml",
    ]
    with (folder / "data-api.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as program:
        try:
            wait_until(socket.exists, 60, f"the Data API does not listen: {folder / 'data-api.log'}")
            yield {"source": "http", "url": f"unix://{socket}", "description": "behind a Data API"}
        finally:
            program.terminate()


def test_experiment_over_a_folder_a_pacs_and_a_data_api_equals_the_pooled_answer(
    running: Running, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        orthanc = stack.enter_context(running_orthanc())
        stack.enter_context(other_source(running, "BSC", in_archive(running, "BSC", orthanc, tmp_path)))
        source = stack.enter_context(behind_data_api(running, "UB", tmp_path))
        stack.enter_context(other_source(running, "UB", source))
        experiment = start(running, tuple(PERSONS))
        found = together(running, experiment, tmp_path / "results")
        assert {name: counts(found, name) for name in pooled_images()} == pooled_images()
    left = [path for host in PERSONS for path in running.folder.glob(f"hosts/{host}/fetched/jobs/*")]
    assert left == []
