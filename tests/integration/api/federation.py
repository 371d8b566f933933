"""A running central API for tests: settings, server, hosts, tools, and callers of every kind."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from joserfc.jwk import ECKey
from sqlalchemy import Engine, select, update
from tests.integration.api.issuer import TestIssuer

from fedproc.catalog.bundle import pack
from fedproc.catalog.folder import load_tool
from fedproc.catalog.signing import sign_manifest
from fedproc.central import migrate
from fedproc.central.app import create_app
from fedproc.central.settings import CentralSettings
from fedproc.central.store.db import connect, writing
from fedproc.central.store.schema import experiments, hosts, jobs
from fedproc.contract.jws import public_jwk

HOSTS = {"UB": ["data"], "BSC": ["data"], "FORTH": ["data", "compute"], "EUCAIM": ["aggregator"]}
TOOLS = Path(__file__).parent / "tools"


def heartbeat(host: str, datasets: list[str]) -> dict[str, Any]:
    """What the relay keeps of a host's last heartbeat."""
    return {
        "host": host,
        "epoch": "one",
        "software": "0.1.0",
        "condition": "accepting",
        "capacity": {"cpus": 4, "cpus_free": 4, "memory": 8 << 30, "memory_free": 8 << 30, "disk": 1, "disk_free": 1},
        "executors": ["sandbox"],
        "tools": [{"id": "count", "digest": None}],
        "datasets": [{"id": name, "version": "1", "description": f"{name} of {host}"} for name in datasets],
    }


class Federation:
    """Started on entry, ended on exit; everything it writes is in ``folder``."""

    def __init__(self, database: str, folder: Path, issuer: TestIssuer, **settings: Any) -> None:
        self.folder = folder
        self.issuer = issuer
        self.catalogue_key = ECKey.generate_key("P-256")
        self.settings = self._settings(database, settings)
        self.engine: Engine = connect(database)
        self.url = ""

    def _settings(self, database: str, more: dict[str, Any]) -> CentralSettings:
        dispatch = self.folder / "dispatch.pem"
        dispatch.write_bytes(ECKey.generate_key("P-256").as_pem(private=True))
        (self.folder / "catalogue.pem").write_bytes(self.catalogue_key.as_pem(private=False))
        values = {
            "database": database,
            "files": self.folder / "files",
            "runtime": self.folder / "run",
            "public_url": "http://centre.test",
            "dispatch_key": dispatch,
            "catalogue_keys": [self.folder / "catalogue.pem"],
            "issuer": {"url": self.issuer.url},
            "broker": {"client_key": dispatch},
        }
        return CentralSettings.model_validate({**values, **more})

    def __enter__(self) -> Federation:
        migrate.migrate(self.engine)
        self.app = create_app(self.settings)
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, log_config=None, access_log=False, lifespan="on")
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        assert self._server.ready.wait(20), "the API did not start"
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    def __exit__(self, *_: object) -> None:
        self.app.state.centre.streams.end()
        self._server.should_exit = True
        self._thread.join(30)
        self.engine.dispose()
        assert not self._thread.is_alive(), "the API did not end"

    # -- who calls

    def caller(self, token: str | None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def user(self, sub: str = "rosa", *roles: str) -> httpx.Client:
        return self.caller(self.issuer.token(sub, *(roles or ("researcher",))))

    def operator(self) -> httpx.Client:
        return self.user("olga", "operator")

    def host(self, host: str) -> httpx.Client:
        return self.caller(self.issuer.token(f"host-{host}", fedproc_host=host))

    # -- what is there

    def enrol_everyone(self) -> None:
        """Four hosts that were just heard of, and the tools of the folder beside this file."""
        with self.operator() as client:
            for host, roles in HOSTS.items():
                key = public_jwk(ECKey.generate_key("P-256"))
                assert client.put(f"/hosts/{host}", json={"roles": roles, "public_key": key}).status_code == 201
                self.heard(host, ["cohort", "images"] if "data" in roles else [])
            for folder in sorted(TOOLS.iterdir()):
                assert self.add_tool(folder, client).status_code == 201

    def add_tool(self, folder: Path, client: httpx.Client) -> httpx.Response:
        manifest = load_tool(folder)
        bundle = io.BytesIO(pack(folder, manifest))
        signed = sign_manifest(manifest, self.catalogue_key)
        return client.post("/tools", data={"manifest": signed}, files={"bundle": ("bundle.tar.gz", bundle)})

    def heard(self, host: str, datasets: list[str], at: float | None = None) -> None:
        """As if the relay had taken in a heartbeat."""
        values = {"heartbeat": heartbeat(host, datasets), "heard": at or time.time(), "epoch": "one"}
        with writing(self.engine) as connection:
            connection.execute(update(hosts).where(hosts.c.id == host).values(**values))

    def set_jobs(self, experiment: str, state: str, **values: Any) -> list[str]:
        """As if all jobs of an experiment had come to ``state``; their ids."""
        with writing(self.engine) as connection:
            connection.execute(
                update(jobs).where(jobs.c.experiment == experiment).values(state=state, dispatched=time.time(), **values)
            )
            return list(connection.execute(select(jobs.c.id).where(jobs.c.experiment == experiment)).scalars())

    def set_experiment(self, experiment: str, **values: Any) -> None:
        with writing(self.engine) as connection:
            connection.execute(update(experiments).where(experiments.c.id == experiment).values(**values))


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


