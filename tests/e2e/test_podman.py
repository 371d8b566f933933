"""A federation whose hosts run jobs in an ordinary user's Podman: under an orchestrator that is that user, or root."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import docker
import pytest
import tomli_w
from tests.support.executors import CHECKOUT, KEPT_IMAGE
from tests.support.needs import needs
from tests.support.podman import USER, RootlessPodman, needs_podman
from tests.support.processes import DYING_WITH_US
from tests.support.running import Running, federation

from fedproc.client.results import fetch_results
from fedproc.common.toml_settings import load_toml
from fedproc.demo.images import BASE_IMAGE, make_base_image
from fedproc.demo.polling import wait_until
from fedproc.site.settings import SiteSettings

pytestmark = [pytest.mark.needs_federation, needs_podman, pytest.mark.timeout(900)]

ROOTS, HIS_OWN = "BSC", "FORTH"
"""whose orchestrator is root's, and whose is the user's to whom the engine belongs"""


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder whose parents anybody may pass, as the engine's user has to."""
    folder = Path(tempfile.mkdtemp(prefix="fedproc-podman-"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)


@pytest.fixture(scope="module")
@needs("needs_federation")
def running(place: Path) -> Iterator[Running]:
    with ExitStack() as stack:
        engine = RootlessPodman(place)
        stack.callback(engine.stop)
        engine.start()
        client = docker.DockerClient(f"unix://{engine.socket}", version="auto", timeout=600)
        stack.callback(client.close)
        make_base_image(client, print, KEPT_IMAGE)
        made = stack.enter_context(federation(place / "federation"))
        with made.without(f"orchestrator-{ROOTS}"):
            _use(made, ROOTS, engine)
        made.federation.supervisor.stop_program(f"orchestrator-{HIS_OWN}")
        _use(made, HIS_OWN, engine)
        stack.callback(_end, _as_his_own(made, engine))
        for host in (ROOTS, HIS_OWN):
            wait_until(partial(_takes_jobs, made, host), 180, f"{host} takes no jobs by Podman")
        yield made


def _use(running: Running, host: str, engine: RootlessPodman) -> None:
    """Let a host run its jobs in this engine, whose limits are what the kernel gives an ordinary user here."""
    settings, policy = running.folder / f"host-{host}.toml", running.folder / f"policy-{host}.toml"
    kept = load_toml(settings, SiteSettings).model_dump(mode="json", exclude_unset=True, exclude_none=True)
    podman = {"socket": f"unix://{engine.socket}", "base_image": BASE_IMAGE}
    settings.write_text(tomli_w.dumps({**kept, "executor": ["podman"], "podman": podman}))
    policy.write_text('unenforced_limits = ["cpus", "memory", "pids"]\n' + policy.read_text())


def _as_his_own(running: Running, engine: RootlessPodman) -> subprocess.Popen[bytes]:
    """Start the host's orchestrator as the engine's user, who owns what is the host's, and nothing else."""
    settings = running.folder / f"host-{HIS_OWN}.toml"
    key = load_toml(settings, SiteSettings).key
    key.parent.chmod(0o711)
    his = [str(running.folder / "hosts" / HIS_OWN), str(settings), str(key)]
    subprocess.run(["chown", "--recursive", f"{USER}:{USER}", *his], check=True)
    places = ":".join(place for place in sys.path if place.startswith(str(CHECKOUT)))
    program = ["/usr/bin/python3", "-m", "fedproc.cli", "orchestrator", "--config", str(settings)]
    command = engine.command("env", f"PYTHONPATH={CHECKOUT}/controllers:{places}", *program)
    with (running.folder / "log" / f"orchestrator-{HIS_OWN}.log").open("wb") as log:
        return subprocess.Popen([*DYING_WITH_US, *command], stdout=log, stderr=log)


def _end(orchestrator: subprocess.Popen[bytes]) -> None:
    orchestrator.send_signal(signal.SIGTERM)
    orchestrator.wait(60)


def _takes_jobs(running: Running, host: str) -> bool:
    return running.accepting(host) and running.researcher.host(host).executors == ["podman"]


@pytest.mark.parametrize("host", [ROOTS, HIS_OWN])
def test_job_finds_from_inside_that_all_is_refused(running: Running, tmp_path: Path, host: str) -> None:
    places = [running.researcher.url.removeprefix("http://"), "1.1.1.1:53", "127.0.0.1:22"]
    experiment = running.start("host-acceptance", hosts=[host], probe_addresses=places)
    events = running.end(experiment)
    reasons = [f"{event.task}@{event.host} {event.state} {event.reason}" for event in events if event.reason]
    words = (running.folder / "log" / f"orchestrator-{host}.log").read_text()[-1500:]
    assert events[-1].state == "succeeded", (reasons, words)
    (job,) = running.researcher.report(experiment.id).jobs
    assert job.executor == "podman"
    fetch_results(running.researcher, experiment.id, tmp_path)
    report = json.loads((tmp_path / host / "report.json").read_bytes())
    assert [finding for finding in report["findings"] if not finding["ok"]] == []
    assert len(report["findings"]) > 30
    wait_until(lambda: running.leftovers(host) == [], 60, f"{host} keeps {running.leftovers(host)}")


def test_engine_and_one_of_the_orchestrators_are_of_an_ordinary_user(running: Running) -> None:
    owners = {host: (running.folder / "hosts" / host / "site.sock").stat().st_uid for host in (ROOTS, HIS_OWN)}
    assert owners == {ROOTS: 0, HIS_OWN: USER}
