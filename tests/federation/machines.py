"""The machines of the running federation (make federation), and what is done to them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fedproc.demo.containers import FOLDER, INVENTORY, PLAYBOOKS, ROOT

PROBES = Path(__file__).parent / "probes"
SITES = ("EUCAIM", "UB", "BSC", "FORTH", "CESGA")
NEWCOMER = Path(__file__).parent / "newcomer.yml"
_PYTHON = "/opt/fedproc/current/bin/python"


@cache
def engine() -> dict[str, str]:
    """The environment in which ``docker`` reaches the machines' engine."""
    address = subprocess.run([ROOT / "scripts/container-engine", "address"], capture_output=True, text=True, check=True)
    return {**os.environ, "DOCKER_HOST": address.stdout.strip()}


def docker(*arguments: str, timeout: float = 120) -> str:
    """Run docker's command line; its output."""
    done = subprocess.run(
        ["docker", *arguments], env=engine(), capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Machine:
    """One of the containers that are systemd machines."""

    name: str

    @property
    def container(self) -> str:
        return f"fedproc-{self.name}"

    @property
    def image(self) -> str:
        return docker("inspect", "--format", "{{.Config.Image}}", self.container).strip()

    def try_run(self, *command: str, given: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["docker", "exec", "-i", self.container, *command],
            env=engine(), input=given, capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip

    def run(self, *command: str, given: str = "", timeout: float = 120) -> str:
        done = self.try_run(*command, given=given, timeout=timeout)
        assert done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stdout[-1000:]} {done.stderr[-2000:]}"
        return done.stdout

    def probe(self, program: str, /, **given: Any) -> Any:
        """What ``probes/PROGRAM.py`` prints as JSON when it runs there, in our programs' environment.

        What it is given goes by standard input: it may hold a token.
        """
        source = (PROBES / f"{program}.py").read_text()
        text = f"{json.dumps(given)}\n"
        said = self.run(_PYTHON, "-c", source, given=text)
        return json.loads(said)

    def site(self, *command: str) -> str:
        return self.run("fedproc", "site", *command, "--socket", "/var/lib/fedproc/site.sock")

    def log(self, unit: str = "fedproc-orchestrator") -> str:
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")


def play(
    book: Path | str, *options: str, newcomer: bool = False, timeout: float = 2400
) -> subprocess.CompletedProcess[str]:
    """Run a playbook against the federation; with ``newcomer``, UPV is in the inventory, too."""
    path = book if isinstance(book, Path) else PLAYBOOKS / book
    more = ["-i", str(NEWCOMER)] if newcomer else []
    environment = {**engine(), "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    return subprocess.run(
        ["ansible-playbook", "-i", str(INVENTORY / "hosts.yml"), *more, str(path), *options],
        env=environment, capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


def played(book: Path | str, *options: str, newcomer: bool = False) -> str:
    """The same, which must succeed; its output."""
    done = play(book, *options, newcomer=newcomer)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    return done.stdout


def secret(name: str) -> str:
    return (FOLDER / "secrets" / name).read_text().strip()
