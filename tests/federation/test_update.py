"""A new version of our programs comes to the centre and to every host, while jobs run."""

from __future__ import annotations

import io
import json
import secrets
import shutil
import tarfile
from pathlib import Path

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import SITES, Machine, played

from fedproc.demo.containers import ROOT

pytestmark = pytest.mark.timeout(7200)  # several playbooks each

UNIT = "fedproc-orchestrator"
BUSY = ("UB", "BSC")


def repacked(folder: Path) -> Path:
    """The wheels at hand as another version: a version's name is the sum of its archive."""
    newest = max(ROOT.glob("dist/wheelhouse-py3.13-*.tar"), key=lambda path: path.stat().st_mtime)
    archive = folder / newest.name
    shutil.copy(newest, archive)
    with tarfile.open(archive, "a") as packed:
        entry = tarfile.TarInfo("a-new-version.txt")
        entry.size = 16
        packed.addfile(entry, io.BytesIO(secrets.token_bytes(entry.size)))
    return archive


def since(host: Machine) -> float:
    """When its orchestrator was started, in seconds since 1970."""
    shown = host.run("systemctl", "show", "--value", "--property=ActiveEnterTimestamp", "--timestamp=unix", UNIT)
    return float(shown.strip().removeprefix("@"))


def release(machine: Machine) -> str:
    return machine.run("readlink", "/opt/fedproc/current").strip()


def running(machine: Machine, unit: str) -> str:
    """The version that a unit runs, which need not be the one that is there."""
    pid = machine.run("systemctl", "show", "--value", "--property=MainPID", f"fedproc-{unit}").strip()
    return machine.run("cat", f"/proc/{pid}/cmdline").removeprefix("/opt/fedproc/").partition("/bin/")[0]


def all_run_what_is_there(machines: list[Machine]) -> None:
    """Each unit of each machine; the Data API's came before the orchestrator's, by another role."""
    centre, *sites = machines
    units = [(centre, "api"), (centre, "relay"), (Machine("UB"), "data-api"), *((one, "orchestrator") for one in sites)]
    assert [(one.name, unit) for one, unit in units if running(one, unit) != release(one)] == []


def test_jobs_go_on_while_all_are_updated(centre: Centre, machine: Machine, tmp_path: Path) -> None:
    machines = [machine, *map(Machine, SITES)]
    before = [release(one) for one in machines]
    all_run_what_is_there(machines)
    long = centre.run("host-acceptance", hosts=list(BUSY), seconds=420)
    for host in BUSY:
        centre.wait_for(long, host, "running", 300)
    started = {job.id: job.times["running"] for job in centre.view(long).jobs}

    played("update.yml", "-e", json.dumps({"federation_wheelhouse": str(repacked(tmp_path))}))
    updated = {release(one) for one in machines}
    assert not set(before) & updated
    all_run_what_is_there(machines)
    restarted = {host: since(Machine(host)) for host in BUSY}
    view = centre.succeeds(long, 600)
    assert all(job.times["succeeded"].timestamp() > restarted[job.host] for job in view.jobs), "none was under way"
    assert {job.id: job.times["running"] for job in view.jobs} == started, "no job was begun anew"

    # As the inventory says again.
    played("update.yml")
    assert not updated & {release(one) for one in machines}
    all_run_what_is_there(machines)
    centre.wait_until_accepting(*SITES)
