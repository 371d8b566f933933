"""What the demo shows of a release: a rule keeps small cells at UB, and a person there lets the rest leave."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import tomli_w
from rich.console import Console

from fedproc.cli.follow import follow
from fedproc.client.api import Client
from fedproc.client.results import fetch_results
from fedproc.common.errors import FedprocError
from fedproc.common.files import write_atomically
from fedproc.contract.api.experiments import ExperimentRequest, JobView
from fedproc.contract.states import TERMINAL
from fedproc.demo.federation import Federation
from fedproc.demo.polling import wait_until

SITE = "UB"
TOOL = "grade-counts"
_SECONDS = 120


def ask_a_person(federation: Federation) -> None:
    """Have UB's policy say that a person decides about what a rule does not refuse; its orchestrator reads it again."""
    path = federation.folder / f"policy-{SITE}.toml"
    policy = tomllib.loads(path.read_text())
    policy["review"]["rest"] = "person"
    write_atomically(path, tomli_w.dumps(policy).encode())
    federation.supervisor.signal(f"orchestrator-{SITE}", "HUP")


def run(federation: Federation, client: Client, results: Path, console: Console) -> None:
    """Run the experiment, and look at it as UB's operator. Raises :class:`FedprocError` unless a part alone leaves."""
    console.print(f"\n[bold]4. {TOOL}[/]: counts of persons by grade, and by grade and age, at {SITE} alone;")
    console.print(
        f"   cells of fewer than 5 persons never leave: {SITE}'s rules keep that output, a person sees the other"
    )
    request = ExperimentRequest(tool=TOOL, datasets=[f"{SITE}:breast-cohort"], parameters={}, label="demo")
    experiment = client.run(request).id
    wait_until(lambda: _job(client, experiment).release is not None, _SECONDS, f"{TOOL} does not come to its release")
    job = _job(client, experiment)
    console.print(
        f"   the researcher reads: [cyan]{job.release.text if job.release else job.reason}[/]", highlight=False
    )
    console.print(f"   and {SITE}'s operator, on the host:")
    _site(federation, console, "releases")
    _site(federation, console, "show", job.id, "by-grade")
    _site(federation, console, "approve", job.id, "--reason", "each grade has many persons")
    follow(client.events(experiment), console)
    found = client.experiment(experiment)
    fetched = sorted(file.path for file in client.results(experiment))
    if found.partly_released != [SITE] or fetched != ["by_grade.json"]:
        raise FedprocError(f"experiment {experiment} ended {found.state} with {fetched}, not with the part released")
    fetch_results(client, experiment, results / TOOL)
    console.print(f"   [green]partly released[/]: the centre has {fetched[0]}, and nothing else of it")


def _job(client: Client, experiment: str) -> JobView:
    (job,) = client.experiment(experiment).jobs
    if job.state in TERMINAL:
        raise FedprocError(f"{TOOL} ended {job.state}: {job.reason}")
    return job


def _site(federation: Federation, console: Console, *arguments: str) -> None:
    """A command of ``fedproc site``, as the operator types it, with what it answers."""
    shown = " ".join(word if " " not in word else f"'{word}'" for word in arguments)
    console.print(f"   [bold]$ fedproc site {shown}[/]", highlight=False)
    socket = federation.folder / "hosts" / SITE / "site.sock"
    command = [sys.executable, "-m", "fedproc.cli", "site", *arguments, "--socket", str(socket)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0:
        raise FedprocError(f"fedproc site {shown}: {done.stderr or done.stdout}")
    for line in done.stdout.splitlines():
        console.print(f"     {line}", highlight=False, markup=False)
