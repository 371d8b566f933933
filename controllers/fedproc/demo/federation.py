"""Setting up a federation in one folder: keys, settings of every program, enrolled hosts, published tools."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_catalogue, load_tool
from fedproc.catalog.signing import sign_manifest
from fedproc.client.api import Client
from fedproc.common.errors import FedprocError, InvalidInputError, UnavailableError
from fedproc.common.keys import signer_for
from fedproc.common.text import escaped
from fedproc.contract.api.hosts import HostEnrolment, HostView
from fedproc.contract.tool.tool import Manifest
from fedproc.demo.broker import BrokerPlan, wait_for
from fedproc.demo.clinical import check_given
from fedproc.demo.configuration import (
    AGGREGATOR,
    DATA_HOSTS,
    DATASETS,
    DOMAIN,
    HOSTS,
    LOCATIONS,
    USERS,
    Configuration,
    Ports,
)
from fedproc.demo.datasets import copy_datasets
from fedproc.demo.engine import MACHINES_OWN, EnginePlan, answers
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports, wait_for_start
from fedproc.demo.supervision import Program, Supervisor

_LAST_LINES = 15
Say = Callable[[str], None]
"""that programs have until they work: a machine may have much else to do"""


class Federation:
    """One federation below ``folder``; ``cache`` keeps what every start would have to make or download again.

    It offers the tools of ``catalogues``, or ``only`` those of these ids. ``executor`` names one, or several with
    commas between them, the preferred one first: with Docker, what runs in no other has its image built first.
    ``clinical`` is a folder with EUCAIM's clinical tables, which its hosts then have in the place of synthetic ones.
    """

    def __init__(
        self,
        folder: Path,
        cache: Path,
        catalogues: list[Path],
        executor: str = "sandbox",
        only: frozenset[str] | None = None,
        clinical: Path | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.results = self.folder / "results"
        self._cache = cache.resolve()
        self._catalogues = catalogues
        self._executors = executor.split(",")
        self._only = only
        self._clinical = clinical
        self._engine = EnginePlan(self._cache / "engine", self.folder / "run") if "docker" in self._executors else None
        if self._engine is not None and answers(MACHINES_OWN):
            self._engine = None
        self.supervisor = Supervisor(self.folder)
        self.environments: dict[str, dict[str, str]] = {}
        """more environment for programs, by their name; for who wants to see them fail"""
        self.pythons: dict[str, Path] = {}
        """another Python for programs, by their name; for who runs another release beside this one"""

    # -- up and down -----------------------------------------------------------------------------

    def up(self, say: Say) -> None:
        """Set everything up and start it; returns when every host is heard of and takes jobs."""
        if self.supervisor.is_running():
            raise FedprocError(f"a federation runs in {self.folder} already; make demo-down ends it")
        tools = self._tools()
        if self._clinical is not None:
            check_given(self._clinical)
        self._clear()
        self._starting.write_text(str(os.getpid()))
        shutil.rmtree(self._failed_log, ignore_errors=True)
        self.passwords = {name: secrets.token_urlsafe(12) for name in USERS}
        self._settings = Configuration(
            self.folder, self._cache, self._executors, self._engine_socket, Ports(*free_ports(7)),
            Keyring(self.folder / "keys"), self.passwords,
        )  # fmt: skip
        say("making the data of UB, BSC and FORTH: two public cancer data sets, synthetic lesions, a clinical table")
        self._make_data()
        say("making keys and settings of every program")
        broker = self._settings.write_all(tools)
        self.supervisor.write(self._programs(broker))
        say("starting broker, issuer, API, relay, and a stand-in of the adapter that knows of grants")
        self.supervisor.start()
        if "docker" in self._executors:
            self._make_images(tools, say)
        wait_for(broker, say)
        operator = self.client("operator")
        wait_for_start(lambda: _healthy(operator), f"the centre is not healthy yet; see {self.folder}/log", say)
        say("enrolling the hosts and publishing the tools")
        self._enrol(operator)
        for folder, manifest in tools:
            self._publish(operator, folder, manifest)
        say("starting the orchestrators of " + ", ".join(HOSTS))
        self.supervisor.start_programs([f"{kind}-{host}" for host in HOSTS for kind in ("runner", "orchestrator")])
        try:
            wait_for_start(lambda: not _not_working(operator), "not every host works yet", say)
        except UnavailableError as error:
            raise UnavailableError(
                f"{error.message}: {'; '.join(_not_working(operator))}; see {self.folder}/log"
            ) from None
        operator.close()
        self._starting.unlink(missing_ok=True)

    @property
    def is_starting(self) -> bool:
        """Whether :meth:`up` is under way, in whatever process."""
        try:
            return bool(psutil.pid_exists(int(self._starting.read_text())))
        except (OSError, ValueError):
            return False

    @property
    def _starting(self) -> Path:
        return self.folder / "starting"

    def failed_logs(self) -> Iterator[str]:
        """The last lines of what each program that does not run has printed, under its name."""
        with suppress(UnavailableError):
            for name, state, _ in self.supervisor.status():
                log = self.folder / "log" / f"{name}.log"
                if state not in {"RUNNING", "STOPPED"} and log.is_file():
                    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
                    yield "\n".join([f"{name} does not run ({state.lower()}); it said last:", *map(escaped, lines)])

    def down(self) -> None:
        """End every process and take away everything but the results."""
        self.supervisor.stop()
        self._clear()

    def keep_logs(self) -> None:
        """Move the logs to where :meth:`down` leaves them, for whoever has to find out why."""
        if (self.folder / "log").is_dir():
            shutil.copytree(self.folder / "log", self._failed_log, dirs_exist_ok=True)

    @property
    def _failed_log(self) -> Path:
        return self.results / "log"

    def client(self, user: str) -> Client:
        """A client signed in as one of :data:`USERS`."""
        env = read_env(self.folder)
        prefix = "FEDPROC_OPERATOR_" if user == "operator" else "FEDPROC_"
        return Client(env["FEDPROC_URL"], username=env[prefix + "USERNAME"], password=env[prefix + "PASSWORD"])

    def _clear(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
        if self._engine is not None:
            self._engine.clean_up()
        for path in self.folder.iterdir():
            if path == self.results:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    @property
    def _engine_socket(self) -> Path:
        return self._engine.socket if self._engine else MACHINES_OWN

    def _make_images(self, tools: list[tuple[Path, Manifest]], say: Say) -> None:
        from fedproc.demo.images import make_images

        if self._engine is not None:
            say("starting a Docker engine of its own, since none answers on this machine")
            self._engine.wait()
        if "sandbox" in self._executors:
            tools = [tool for tool in tools if not all(task.runtime.requirements for task in tool[1].tool.tasks)]
        make_images(tools, self._engine_socket, say)

    # -- tools and data --------------------------------------------------------------------------

    def _tools(self) -> list[tuple[Path, Manifest]]:
        found = []
        for root in self._catalogues:
            if not root.is_dir():
                raise InvalidInputError(f"{root} is no folder of tools: give a folder that holds one folder per tool")
            folders = {path.parent for path in root.glob("*/tool.yaml")}
            if not folders:
                raise InvalidInputError(f"{root} holds no tool: each tool is a folder with a tool.yaml")
            load_catalogue(root)
            found += [(folder, load_tool(folder)) for folder in sorted(folders)]
        return [each for each in found if self._only is None or each[1].tool.id in self._only]

    def _publish(self, operator: Client, folder: Path, manifest: Manifest) -> None:
        signer = signer_for(self._settings.keys.key("catalogue").private)
        operator.add_tool(sign_manifest(manifest, signer), pack(folder, manifest))

    def _make_data(self) -> None:
        copy_datasets(self._cache, self.folder / "data")
        if self._clinical is not None:
            from fedproc.demo.clinical import write_given

            write_given(self._clinical, self.folder / "data")

    # -- programs --------------------------------------------------------------------------------

    def _programs(self, broker: BrokerPlan) -> list[Program]:
        central = ["--config", str(self.folder / "central.toml")]
        issuer = [sys.executable, "-m", "fedproc.demo.issuer", "--config", str(self.folder / "issuer.json")]
        programs = [
            Program("epmd", broker.epmd_command(), broker.environment(), order=10),
            Program("broker", broker.node_command(), broker.environment(), order=20, stop_seconds=40, group=True),
            Program("issuer", issuer, order=30),
            Program("negotiations", self._settings.negotiations_command(), order=35),
            self._program("api", ["api", *central], order=40),
            self._program("relay", ["relay", *central], order=50),
        ]
        if self._engine is not None:
            programs.append(Program("engine", self._engine.command(), order=5, stop_seconds=40))
        for host in HOSTS:
            runner = ["runner", "--dir", f"{self.folder}/hosts/{host}/runner"]
            site = ["--config", str(self.folder / f"host-{host}.toml")]
            programs.append(self._program(f"runner-{host}", runner, order=60, later=True))
            name = f"orchestrator-{host}"
            more = {**_without_proxy(), **self.environments.get(name, {})}
            programs.append(self._program(name, ["orchestrator", *site], more, order=70, later=True))
        return programs

    def _program(
        self, name: str, arguments: list[str], environment: dict[str, str] | None = None, **more: Any
    ) -> Program:
        python = self.pythons.get(name, Path(sys.executable))
        return Program(name, [str(python), "-m", "fedproc.cli", *arguments], environment or {}, **more)

    def _enrol(self, operator: Client) -> None:
        for host in HOSTS:
            enrolment = HostEnrolment(
                site=host,
                roles=["aggregator", "compute"] if host == AGGREGATOR else ["data"],
                location=LOCATIONS[host],
                public_key=self._settings.jwk(host),
                address=f"127.0.0.1:{self._settings.ports.aggregator}" if host == AGGREGATOR else None,
                domain=DOMAIN,
            )
            operator.enrol(host, enrolment)


def _without_proxy() -> dict[str, str]:
    """The centre is on this machine, whatever proxy leads out of it."""
    exempt = ",".join(filter(None, (os.environ.get("NO_PROXY"), "localhost,127.0.0.1")))
    return {"NO_PROXY": exempt, "no_proxy": exempt}


def read_env(folder: Path) -> dict[str, str]:
    """What ``FOLDER/env`` says of the federation. Raises :class:`UnavailableError` if nothing runs there."""
    path = folder / "env"
    if not path.exists():
        raise UnavailableError(f"no federation runs in {folder}: make demo-up starts one")
    lines = (line.removeprefix("export ").partition("=") for line in path.read_text().splitlines())
    return {name: value.strip("'") for name, _, value in lines if name.startswith("FEDPROC_")}


def _healthy(operator: Client) -> bool:
    try:
        return operator.health().status == "ok"
    except (FedprocError, json.JSONDecodeError):
        return False


def _not_working(operator: Client) -> list[str]:
    """Hosts that take no jobs, each with what is known of why."""
    found = {host.id: host for host in operator.hosts()}
    return [f"{host} {why}" for host in HOSTS if (why := _why_not(found.get(host)))]


def _why_not(host: HostView | None) -> str | None:
    if host is None or not host.alive:
        return "does not report"
    if host.condition != "accepting":
        return f"is {host.condition}: {host.condition_text}"
    offered = {dataset.partition(":")[2] for dataset in host.datasets}
    missing = [name for name in DATASETS if name not in offered] if host.id in DATA_HOSTS else []
    return f"does not offer {', '.join(missing)} yet" if missing else None
