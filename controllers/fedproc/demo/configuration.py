"""Settings of every program of a federation in one folder: what the playbooks write on real machines."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from werkzeug.security import generate_password_hash

from fedproc.catalog.signing import tool_digest
from fedproc.common.files import write_atomically
from fedproc.common.keys import load_key, public_jwk
from fedproc.contract.tool.tool import Manifest
from fedproc.contract.wire.routing import host_scopes, relay_scopes
from fedproc.demo import guarded
from fedproc.demo.broker import BrokerPlan, other_root, write_configuration
from fedproc.demo.issuer.model import CODE_GRANT, DEVICE_GRANT, EXCHANGE_GRANT, IssuerSettings, User
from fedproc.demo.issuer.model import Client as OidcClient
from fedproc.demo.keys import Keyring

DATA_HOSTS = ("UB", "BSC", "FORTH")
AGGREGATOR = "EUCAIM"
HOSTS = (*DATA_HOSTS, AGGREGATOR)
LOCATIONS = {"UB": "Barcelona", "BSC": "Barcelona", "FORTH": "Heraklion", AGGREGATOR: "the centre"}
DATASETS = ("breast-cohort", "wisconsin", "synthetic-lesions", "clinical")
USERS = {"researcher": ("researcher",), "colleague": ("researcher",), "operator": ("operator", "researcher")}
DOMAIN = "fedproc.internal"
BASE_IMAGE = "fedproc/base:bookworm-1"
"""as :mod:`fedproc.demo.images` makes it"""
_PYTHON = Path("/usr/bin/python3")
_NEGOTIATIONS = "fedproc.demo.negotiations"


@dataclass(frozen=True)
class Ports:
    broker: int
    distribution: int
    epmd: int
    issuer: int
    api: int
    aggregator: int
    negotiations: int


@dataclass(frozen=True)
class Configuration:
    """Writes the settings of the federation in ``folder``; ``cache`` outlives it."""

    folder: Path
    cache: Path
    executors: list[str]
    engine_socket: Path
    ports: Ports
    keys: Keyring
    passwords: dict[str, str]

    def write_all(self, tools: list[tuple[Path, Manifest]]) -> BrokerPlan:
        """Write everything; returns how the broker is started."""
        broker = self._write_broker()
        self._write_issuer()
        self._write_central()
        for host in HOSTS:
            self._write_host(host, tools)
        self._write_env()
        return broker

    def jwk(self, name: str) -> dict[str, Any]:
        return public_jwk(load_key(self.keys.key(name).private.read_bytes()))

    @property
    def issuer_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.issuer}"

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.ports.api}"

    def _write_broker(self) -> BrokerPlan:
        ports = self.ports
        ca = self.keys.ca_file
        place = self.folder / "broker"
        plan = BrokerPlan(place, ports.broker, ports.distribution, ports.epmd, ca, other_root())
        write_configuration(plan, self.keys.server("broker"), self.keys.key("issuer", rsa_bits=2048).public)
        return plan

    def _write_issuer(self) -> None:
        both = ("fedproc-api", "rabbitmq")
        machines = [
            OidcClient(
                client_id=f"host-{host}",
                public_key=self.jwk(host),
                grants=("client_credentials",),
                audience=both,
                host=host,
                broker_scopes=host_scopes(host),
            )
            for host in HOSTS
        ]
        relay = OidcClient(
            client_id="fedproc-relay",
            public_key=self.jwk("relay"),
            grants=("client_credentials",),
            audience=both,
            broker_scopes=relay_scopes(),
        )
        own = ("password", "refresh_token", EXCHANGE_GRANT)
        api = OidcClient(client_id="fedproc-api", public_key=self.jwk("api"), grants=own)
        cli = OidcClient(client_id="fedproc-cli", grants=(DEVICE_GRANT, "refresh_token"))
        dashboard = OidcClient(
            client_id="fedproc-dashboard",
            grants=(CODE_GRANT, "refresh_token"),
            redirect_uris=(f"{self.api_url}/dashboard/sign-in/back",),
        )
        users = [
            User(name=name, password_hash=generate_password_hash(self.passwords[name]), roles=roles)
            for name, roles in USERS.items()
        ]
        settings = IssuerSettings(
            url=self.issuer_url,
            port=self.ports.issuer,
            key=self.keys.key("issuer", rsa_bits=2048).private,
            users=tuple(users),
            clients=(*machines, relay, api, cli, dashboard),
        )
        _write_secret(self.folder / "issuer.json", settings.model_dump_json(indent=1))

    def _write_central(self) -> None:
        keys = self.keys
        (self.folder / "central").mkdir(parents=True)
        settings = {
            "database": f"sqlite:///{self.folder}/central/central.sqlite",
            "files": f"{self.folder}/central/files",
            "runtime": f"{self.folder}/central/run",
            "public_url": self.api_url,
            "listen_port": self.ports.api,
            "dispatch_key": str(keys.key("dispatch").private),
            "catalogue_keys": [str(keys.key("catalogue").public)],
            "aggregator": AGGREGATOR,
            "authority": str(keys.ca_file),
            "grants": {
                "providers": {"negotiations": self._negotiations()},
                "datasets": {guarded.DATASET: {"provider": "negotiations"}},
            },
            "issuer": {"url": self.issuer_url, "client_key": str(keys.key("api").private)},
            "broker": {
                "host": "localhost",
                "port": self.ports.broker,
                "ca_file": str(keys.ca_file),
                "client_key": str(keys.key("relay").private),
            },
        }
        _write_secret(self.folder / "central.toml", tomli_w.dumps(settings))

    @property
    def _grants_file(self) -> Path:
        return self.folder / "negotiations.json"

    def negotiations_command(self) -> list[str]:
        """Starts the stand-in that is asked who may use the guarded dataset."""
        options = ["--port", str(self.ports.negotiations), "--issuer", self.issuer_url]
        return [sys.executable, "-m", _NEGOTIATIONS, "serve", *options, "--file", str(self._grants_file)]

    def _negotiations(self) -> dict[str, Any]:
        options = ["-m", _NEGOTIATIONS, "grant", "researcher", guarded.DATASET, "--file", str(self._grants_file)]
        give = shlex.join([sys.executable, *options])
        url = f"http://127.0.0.1:{self.ports.negotiations}"
        return {
            "kind": "negotiator",
            "url": url,
            "projects": True,
            "ask_at": f"in this demo you give it yourself: {give}",
        }

    def _write_host(self, host: str, tools: list[tuple[Path, Manifest]]) -> None:
        pair, keys = self.keys.host(host), self.keys
        connections: dict[str, Any] = {"certificate": str(pair.certificate), "ca_file": str(keys.ca_file)}
        if host == AGGREGATOR:
            connections["listen_port"] = self.ports.aggregator
        settings: dict[str, Any] = {
            "host": host,
            "state": f"{self.folder}/hosts/{host}",
            "key": str(pair.private),
            "policy": f"{self.folder}/policy-{host}.toml",
            "executor": self.executors if len(self.executors) > 1 else self.executors[0],
            "heartbeat_seconds": 5,
            "centre": {
                "api_url": self.api_url,
                "issuer_url": self.issuer_url,
                "broker_host": "localhost",
                "broker_port": self.ports.broker,
                "ca_file": str(keys.ca_file),
                "dispatch_keys": [str(keys.key("dispatch").public)],
                "catalogue_keys": [str(keys.key("catalogue").public)],
            },
            "connections": connections,
            "sandbox": {"python": str(_PYTHON), "environments": f"{self.cache}/environments"},
            "docker": {"socket": f"unix://{self.engine_socket}", "base_image": BASE_IMAGE},
            "check": {"disk_reserve_mb": 500},
            "capacity": {"cpus": 4, "memory_mb": 4000, "disk_mb": 4000},
        }
        if host in DATA_HOSTS:
            names = (*DATASETS, guarded.NAME) if host == guarded.HOST else DATASETS
            settings["datasets"] = {name: {"path": f"{self.folder}/data/{host}/{name}"} for name in names}
        _write_secret(self.folder / f"host-{host}.toml", tomli_w.dumps(settings))
        (self.folder / f"policy-{host}.toml").write_text(tomli_w.dumps(policy_of(tools)))

    def _write_env(self) -> None:
        values = {
            "FEDPROC_URL": self.api_url,
            "FEDPROC_USERNAME": "researcher",
            "FEDPROC_PASSWORD": self.passwords["researcher"],
            "FEDPROC_OPERATOR_USERNAME": "operator",
            "FEDPROC_OPERATOR_PASSWORD": self.passwords["operator"],
            "FEDPROC_ISSUER": self.issuer_url,
        }
        lines = [f"export {name}='{value}'\n" for name, value in values.items()]
        path = f'export PATH={shlex.quote(str(_commands(self.folder / "bin")))}:"$PATH"\n'
        _write_secret(self.folder / "env", "".join([*lines, path]))


def _commands(folder: Path) -> Path:
    """A folder of what a researcher calls by its name alone, and of nothing else."""
    folder.mkdir()
    for name in ("fedproc", "crypt4gh-keygen"):
        (folder / name).symlink_to(Path(sys.executable).parent / name)
    return folder


def policy_of(tools: list[tuple[Path, Manifest]]) -> dict[str, Any]:
    """The demo's site policy: exactly these tools, their connections with a budget, aggregates and models leave.

    Nobody sits at these sites, so nothing waits for a person; what the rules refuse does not leave here either.
    """
    rules, classes = [], ["public", "report", "aggregate", "model"]
    for _, manifest in tools:
        tool = manifest.tool
        peers = {connection.task for task in tool.tasks for connection in task.connections}
        peers |= {task.name for task in tool.tasks if task.ports}
        rules.append(
            {
                "id": tool.id,
                "digest": tool_digest(manifest),
                "connections": [{"task": name, "max_mb": 100.0} for name in sorted(peers)],
                "received_code": any(task.runs_received_code for task in tool.tasks),
                "without_review": classes,
            }
        )
    return {
        "tools": rules,
        "release": dict.fromkeys(classes, "automatic"),
        "floor": 5,
        "metrics": True,
        "logs": True,
        "review": {"sample": 0, "rest": "refuse"},
        "ledger": {"budget": 10_000},
        "grants": {"again_seconds": 5, "patience_seconds": 60},
    }


def _write_secret(path: Path, text: str) -> None:
    write_atomically(path, text.encode(), 0o600)
