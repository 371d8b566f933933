"""A host comes in while others work; one that fails a requirement does not; one that is turned out is out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.federation.centre import Centre
from tests.federation.machines import Machine, docker, play, played

from fedproc.demo.containers import MACHINES
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.process
DATA = ["UB:wisconsin", "BSC:wisconsin", "FORTH:wisconsin"]


@pytest.fixture(scope="module")
def upv() -> Iterator[Machine]:
    """A fresh machine with data, that nobody has touched yet."""
    machine = Machine("UPV")
    played(MACHINES / "create.yml", "--limit", "localhost,UPV", newcomer=True)
    machine.run("mkdir", "-p", "/srv/datasets")
    copied = Machine("UB").run(
        "tar", "-C", "/srv/datasets", "-c", "-f", "-", "--format=ustar", "wisconsin", "breast-cohort", "clinical"
    )
    machine.run("tar", "-C", "/srv/datasets", "-x", "-f", "-", given=copied)
    yield machine
    docker("rm", "--force", "--volumes", machine.container)


def packages(machine: Machine) -> str:
    return machine.run("dpkg-query", "--show")


def test_a_host_that_fails_a_requirement_stops_before_anything_is_installed(upv: Machine, tmp_path: Path) -> None:
    before = packages(upv)
    asked = {
        "federation_host_checked": True,
        "federation_host_check_topics": ["os", "gpu"],  # D6.1 asks for a GPU, which no container has
        "host_check_profile": "d6.1",
        "host_check_reports": str(tmp_path),
    }
    done = play("onboard_host.yml", "--limit", "UPV", "-e", json.dumps(asked), newcomer=True)
    assert done.returncode != 0
    assert "does not meet profile d6.1" in done.stdout
    assert "What to do" in done.stdout
    report = json.loads((tmp_path / "UPV.json").read_text())
    assert report["exit_code"] == 2
    assert (tmp_path / "UPV.html").exists()
    assert packages(upv) == before
    assert upv.try_run("test", "-e", "/opt/fedproc").returncode != 0
    assert upv.try_run("test", "-e", "/etc/fedproc").returncode != 0


def test_a_fresh_host_can_be_looked_at_first(upv: Machine) -> None:
    before = packages(upv)
    played("enroll_host.yml", "--tags", "code", "-e", "host=UPV", newcomer=True)
    played("onboard_host.yml", "--check", "--limit", "UPV", newcomer=True)
    assert packages(upv) == before
    assert upv.try_run("test", "-e", "/opt/fedproc").returncode != 0
    assert upv.try_run("test", "-e", "/etc/fedproc").returncode != 0


def test_a_host_comes_in_while_experiments_run(centre: Centre, upv: Machine) -> None:
    experiment = centre.run("flower-logistic", datasets=DATA, rounds=1000)
    played("enroll_host.yml", "--tags", "code", "-e", "host=UPV", newcomer=True)
    unconfirmed = play("onboard_host.yml", "--limit", "UPV", newcomer=True)
    assert "waits for the central operator" in unconfirmed.stdout, unconfirmed.stdout[-3000:]
    played("enroll_host.yml", "--tags", "confirm", "-e", "host=UPV", newcomer=True)
    assert "UPV" not in {host.id for host in centre.operator.hosts() if host.accepted}
    said = played("onboard_host.yml", "--limit", "UPV", newcomer=True)
    assert "UPV is accepted" in said
    kept = json.loads(upv.run("cat", "/var/lib/fedproc/acceptance.json"))
    assert kept["accepted"] is True
    assert kept["report"]["status"] == "ok"
    centre.succeeds(experiment)
    centre.succeeds(centre.run("flower-logistic", datasets=[*DATA, "UPV:wisconsin"], rounds=2))


def test_a_host_that_is_turned_out_is_out_within_a_minute(centre: Centre, upv: Machine, machine: Machine) -> None:
    centre.wait_until_accepting("UPV")
    # So many steps that it is not over before the playbook is.
    experiment = centre.run("flower-logistic", datasets=[*DATA, "UPV:wisconsin"], rounds=1000, local_steps=2000)
    centre.wait_for(experiment, "UPV", "running", 240)
    token = upv.probe("token")["token"]
    server = next(job for job in centre.view(experiment).jobs if job.host == "EUCAIM")
    name = f"8080-{server.id}.eucaim.jobs.{centre.env['FEDPROC_DOMAIN']}"
    assert upv.probe("dial", name=name)["answered"] is True

    began = time.monotonic()
    played("offboard_host.yml", "-e", "host=UPV", "-e", "reason='a test'", newcomer=True)
    wait_until(lambda: "host-UPV" not in connections(machine), 60, "its connections stay", pause=1)
    assert upv.probe("broker", user="host-UPV", token=token, consume=["jobs.UPV"])["connected"] is False
    assert upv.probe("dial", name=name)["answered"] is False
    assert centre.operator.host("UPV").active is False
    assert "gives host-UPV no token" in upv.try_run("fedproc", "site", "accept", "--wait", "0").stderr
    view = centre.wait_until_ended(experiment, 120)
    out = time.monotonic() - began
    assert {job.state for job in view.jobs if job.host == "UPV"} <= {"lost", "cancelled", "error"}, view.jobs
    assert view.state != "succeeded"
    print(f"out {out:.0f} s after the playbook was started")
    centre.wait_until_accepting("UB", "BSC", "FORTH")


def connections(machine: Machine) -> str:
    return machine.run("rabbitmqctl", "--quiet", "list_connections", "user")
