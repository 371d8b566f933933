"""``python -m fedproc.demo.containers up|down``: a whole federation by the production playbooks, its machines as
containers (``make federation``).

The machines stand in ``inventories/containers``; what is made for them, secrets included, lies in ``.federation``, with
one log per step in ``.federation/log``. ``DATA`` is the folder of EUCAIM's clinical tables; with ``FEDBIOMED=1`` the
tools of Fed-BioMed are offered, too.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.status import Status

from fedproc.client.api import Client
from fedproc.common.errors import FedprocError
from fedproc.common.files import write_atomically
from fedproc.demo import clinical, imaging, scenario
from fedproc.demo.configuration import DATA_HOSTS
from fedproc.demo.federation import read_env

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".federation"
INVENTORY = ROOT / "inventories/containers"
PLAYBOOKS = ROOT / "ansible/playbooks"
MACHINES = ROOT / "ansible/containers"
CENTRE = "fedproc-centre"
GATEWAY = "172.30.77.10"
DOMAIN = "fedproc.test"
FIRST_TOOLS = ("host_acceptance", "cohort_statistics", "dicom_summary", "flower_logistic")
"""folders of the tools that hosts fetch as they come in; the others are built meanwhile"""
_LAST_LINES = 40


def main(arguments: list[str]) -> int:
    """Exit codes: 0 done, 1 it failed (the message says where to look), 2 wrong usage, 130 interrupted."""
    acts = {"up": _up, "down": _down}
    if len(arguments) != 1 or arguments[0] not in acts:
        sys.stderr.write(f"usage: python -m fedproc.demo.containers {'|'.join(acts)}\n")
        return 2
    console = Console(highlight=False, soft_wrap=True)
    try:
        acts[arguments[0]](Steps(console, FOLDER / "log"))
    except FedprocError as error:
        console.print(error.message, style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; make federation goes on, make federation-down ends what there is")
        return 130
    return 0


class Steps:
    """Runs programs, shows how far they are, and keeps what they say in ``logs``."""

    def __init__(self, console: Console, logs: Path) -> None:
        self.console = console
        self._logs = logs
        self._begun = time.monotonic()
        self._status = Status("", console=console)
        self._under_way: dict[str, str] = {}
        self._showing = threading.Lock()
        self.environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "ANSIBLE_NOCOLOR": "1"}
        self.environment["PATH"] = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._begun

    def say(self, text: str) -> None:
        self.console.print(f"==> [{self.seconds:4.0f} s] {text}")

    def playbook(self, name: str, book: Path, *options: str) -> None:
        """Run a playbook against the containers. Raises :class:`FedprocError` with its last words."""
        self.run(name, "ansible-playbook", "-i", str(INVENTORY / "hosts.yml"), str(book), *options)

    def run(self, name: str, *command: str) -> str:
        """Run a program to its end; its standard output. Raises :class:`FedprocError` if it fails."""
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        with log.open("w") as kept, self._shown(name):
            process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            assert process.stdout is not None
            for line in process.stdout:
                kept.write(line)
                kept.flush()
                if line.startswith(("PLAY [", "TASK [", "==> ")):
                    self._show(name, line.strip(" *=>\n"))
            if process.wait() != 0:
                raise FedprocError(_failure(name, log))
        return log.read_text()

    def side_by_side(self, *acts: Callable[[], object]) -> None:
        """Do all, and wait for all even if one fails. Raises :class:`FedprocError` with what each that failed says."""
        with ThreadPoolExecutor(len(acts)) as pool:
            begun = [pool.submit(act) for act in acts]
        errors = [error for act in begun if (error := act.exception()) is not None]
        if len(errors) > 1 and all(isinstance(error, FedprocError) for error in errors):
            raise FedprocError("\n".join(str(error) for error in errors))
        if errors:
            raise errors[0]

    @contextmanager
    def _shown(self, name: str) -> Iterator[None]:
        self._show(name, "")
        try:
            yield
        finally:
            self._show(name, None)

    def _show(self, name: str, doing: str | None) -> None:
        """A line that says what each program under way does, where somebody looks at a terminal; None: it ended."""
        if not self.console.is_terminal:
            return
        with self._showing:
            if doing is None:
                self._under_way.pop(name, None)
            else:
                self._under_way[name] = doing
            self._status.update(
                "   ".join(f"{one}: {what}" for one, what in self._under_way.items()).replace("[", r"\[")
            )
            self._status.start() if self._under_way else self._status.stop()


def _failure(name: str, log: Path) -> str:
    lines = log.read_text().splitlines()
    at = next((i for i, line in enumerate(lines) if line.startswith(("fatal:", "[ERROR]", "ERROR"))), None)
    shown = lines[at : at + _LAST_LINES] if at is not None else lines[-_LAST_LINES:]
    return (
        "\n".join(shown).replace("[", r"\[")
        + f"\n{name} failed; all that it said is in {log.relative_to(ROOT)}. Once the cause is mended, make federation "
        "goes on from there; make federation-down ends what there is."
    )


def _up(steps: Steps) -> None:
    _choose_data(steps)
    _set_up(steps)
    _bring_up(steps)
    _write_env()
    _run_scenario(steps)
    _say_where(steps)


def _choose_data(steps: Steps) -> None:
    """Raise :class:`FedprocError` if ``DATA`` lacks a table, or hospitals have others already."""
    chosen = os.environ.get("DATA")
    if not chosen:
        return
    tables = Path(chosen).resolve()
    clinical.check_given(tables)
    steps.environment["DATA"] = str(tables)
    made = FOLDER / "files/data" / DATA_HOSTS[0] / clinical.FOLDER / "dataset.json"
    if made.exists() and not json.loads(made.read_bytes())["description"].startswith(clinical.GIVEN):
        raise FedprocError(
            f"DATA={chosen}: the hospitals of .federation have synthetic tables already; end them by "
            "make federation-down, then make them anew"
        )


def _set_up(steps: Steps) -> None:
    steps.say("what is needed first: a container engine, an image of a Debian machine, our programs as wheels")
    engine = steps.run("engine", "scripts/container-engine", "up").splitlines()[-1]
    steps.environment["DOCKER_HOST"] = engine
    steps.run("image", "scripts/container-image", "trixie")
    steps.run("wheels", "scripts/wheelhouse", "3.13")
    steps.run("host-check", "make", "--silent", "host-check")


def _bring_up(steps: Steps) -> None:
    steps.say("seven systemd machines: the centre, and EUCAIM, UB, BSC, FORTH, CESGA (two), which let nothing in")
    steps.playbook("machines", MACHINES / "create.yml")
    steps.say("central.yml: authority, PostgreSQL, Keycloak, RabbitMQ, gateway, API, store")
    steps.say("meanwhile onboard_host.yml --tags check,prepare: clock, engine and programs, which need no centre yet")
    steps.side_by_side(
        lambda: steps.playbook("central", PLAYBOOKS / "central.yml", "--skip-tags", "publish"),
        lambda: _prepare(steps),
    )
    steps.playbook("negotiations", MACHINES / "negotiations.yml")
    steps.say(
        "central.yml --tags publish: the tools' images are built, signed, and offered; meanwhile hosts are admitted"
    )
    first = json.dumps({"federation_tools": FIRST_TOOLS})
    steps.side_by_side(
        lambda: steps.playbook("publish", PLAYBOOKS / "central.yml", "--tags", "publish", "-e", first),
        lambda: _admit(steps),
    )
    steps.say("onboard_host.yml: each site starts its orchestrator, fetches tools, and is accepted by an experiment")
    steps.say("meanwhile the other tools of the catalogue are built and offered")
    steps.side_by_side(
        lambda: steps.playbook("onboard", PLAYBOOKS / "onboard_host.yml", "--skip-tags", "check,prepare"),
        lambda: steps.playbook("publish-others", PLAYBOOKS / "central.yml", "--tags", "publish"),
    )


def _prepare(steps: Steps) -> None:
    """What the sites can do while there is no centre: its network is checked when there is one."""
    steps.playbook("kinds", MACHINES / "kinds.yml")
    steps.playbook("data", MACHINES / "data.yml")
    unknown = {"federation_ca_sha256": "", "federation_catalogue_sha256": ""}
    known = json.dumps({"federation_host_check_topics": ["os", "disk"], **unknown})
    steps.playbook("prepare", PLAYBOOKS / "onboard_host.yml", "--tags", "check,prepare", "-e", known)


def _admit(steps: Steps) -> None:
    steps.say("enroll_host.yml --tags code: the central operator gives out a single-use code for each host")
    steps.playbook("codes", PLAYBOOKS / "enroll_host.yml", "--tags", "code", "-e", "enrolment_only_new=true")
    steps.say("onboard_host.yml --tags check,enrol: each site checks its machine, makes its key, asks to be admitted")
    waits = json.dumps({"orchestrator_enrolment_required": False})
    steps.playbook("enrol", PLAYBOOKS / "onboard_host.yml", "--tags", "check,enrol", "-e", waits)
    steps.say("enroll_host.yml --tags confirm: the central operator compares fingerprints and certifies")
    steps.playbook("confirm", PLAYBOOKS / "enroll_host.yml", "--tags", "confirm")


def _write_env() -> None:
    secret = FOLDER / "secrets"
    values = {
        "FEDPROC_URL": f"https://{GATEWAY}",
        "FEDPROC_CA": str(FOLDER / "files/ca.pem"),
        "FEDPROC_USERNAME": "researcher",
        "FEDPROC_PASSWORD": (secret / "researcher").read_text().strip(),
        "FEDPROC_OPERATOR_USERNAME": "operator",
        "FEDPROC_OPERATOR_PASSWORD": (secret / "operator").read_text().strip(),
        "FEDPROC_ISSUER": f"https://auth.{DOMAIN}/realms/fedproc",
        "FEDPROC_GATEWAY": GATEWAY,
        "FEDPROC_DOMAIN": DOMAIN,
    }
    path = FOLDER / "env"
    lines = "".join(f"export {name}='{value}'\n" for name, value in values.items())
    write_atomically(path, lines.encode(), 0o600)


def _run_scenario(steps: Steps) -> None:
    env = read_env(FOLDER)
    steps.say(f"a researcher signs in at {env['FEDPROC_URL']} with the real Keycloak, and runs three experiments")
    client = Client(
        env["FEDPROC_URL"],
        username=env["FEDPROC_USERNAME"],
        password=env["FEDPROC_PASSWORD"],
        ca_file=env["FEDPROC_CA"],
    )
    results = FOLDER / "results" / datetime.now().strftime("%Y-%m-%d-%H%M%S")
    scenario.run(client, results, steps.console)
    steps.say("the images are guarded: who gives access to them gives it to this researcher")
    for host in DATA_HOSTS:
        grant = ("fedproc-negotiations", "grant", env["FEDPROC_USERNAME"], f"{host}:{imaging.FOLDER}")
        steps.run("grants", "docker", "exec", CENTRE, *grant)
    scenario.run_imaging(client, results, steps.console)
    client.close()
    steps.console.print(f"   the results are files in {results.relative_to(ROOT)}\n")


def _say_where(steps: Steps) -> None:
    steps.say("the federation is up, and stays so")
    steps.console.print(
        f"""
  dashboard  https://api.{DOMAIN}/dashboard   users researcher and operator, passwords in .federation/secrets
  API        https://{GATEWAY}            its documentation: https://{GATEWAY}/docs
  Keycloak   https://auth.{DOMAIN}/admin   user admin, password in .federation/secrets/keycloak-admin
  broker     https://api.{DOMAIN}/broker/  the operator signs in (FEDPROC_OPERATOR_… in .federation/env)
             A browser on this machine needs this line in /etc/hosts:
               {GATEWAY} api.{DOMAIN} auth.{DOMAIN} store.{DOMAIN}
             and .federation/files/ca.pem among its authorities; the rest needs neither.
  machines   docker exec -it fedproc-centre bash; the hosts are fedproc-UB, fedproc-BSC, …
By hand:
  source .federation/env
  .venv/bin/fedproc hosts
  .venv/bin/fedproc run flower-logistic --data UB:wisconsin --data BSC:wisconsin -p rounds=10 --to results
Next: [bold]make federation-test[/] asserts on the running federation; [bold]make federation-down[/] ends it."""
    )


def _down(steps: Steps) -> None:
    address = subprocess.run(
        [ROOT / "scripts/container-engine", "address"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if address:
        steps.environment["DOCKER_HOST"] = address
        steps.playbook("down", MACHINES / "destroy.yml")
        steps.run("engine", "scripts/container-engine", "down")
    for path in sorted(FOLDER.glob("*")):
        if path.name != "results":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    steps.say("ended; no machine, network or secret is left. Results, if any, stay in .federation/results")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
