"""The task ``server``: NVFLARE's server, and whoever submits the one job to it and waits for NVFLARE's word on it."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kits
from enrolment import Member, gather
from flare_parts import job
from nvflare.fuel.flare_api.flare_api import Session, new_secure_session
from patches.faults import Broken, Fault
from programs import last_lines, running
from request import Request

COMPLETED = "FINISHED:COMPLETED"
START_SECONDS = 60
POLL_SECONDS = 0.5


def run(port: int, hosts: list[str], request: Request, output: Path, metrics: Path) -> None:
    """Train with all of ``hosts`` and write ``model.npz`` and ``result.json`` into ``output``.

    Raises Broken unless NVFLARE says that the job is completed; ``result.json`` then says why, and there is no model.
    """
    logging.disable(logging.CRITICAL)  # what goes wrong is told once, by whoever calls this
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        try:
            rounds = _train(port, hosts, request, folder, metrics.resolve())
        except Fault as fault:
            _write(output, {"schema_version": 2, "status": "failed", "error": str(fault)})
            raise
        shutil.copyfile(folder / "model.npz", output / "model.npz")
    _write(output, {"schema_version": 2, "status": "ok", "error": None, "platform": "NVFLARE 2.9.0",
                    "platform_status": COMPLETED, "rounds": rounds, "model": {"file": "model.npz"}})  # fmt: skip


def _train(port: int, hosts: list[str], request: Request, folder: Path, metrics: Path) -> list[dict[str, Any]]:
    authority, members = gather(port, hosts, request)
    server, admin = folder / "server", folder / "admin"
    kits.write_server(server, authority.pair(kits.SERVER), authority.root, port, len(hosts))
    kits.write_admin(admin, authority.pair(kits.ADMIN, "project_admin"), authority.root, port)
    job.write_job(admin / "transfer" / "job", len(hosts))
    settings = _settings(folder, members, request, metrics)
    module = "nvflare.private.fed.app.server.server_train"
    with running(module, server, "fed_server.json", settings, {"config_folder": "config"}) as process:
        with _session(admin, process) as session:
            _wait_for(session, set(hosts), request.join_seconds)
            status = _job_status(session, str(admin / "transfer" / "job"), request)
            told = json.loads((folder / "told.json").read_bytes()) if (folder / "told.json").exists() else {}
            with contextlib.suppress(Exception):  # whoever is lost need not hear that all is over
                session.shutdown("client")
        if status != COMPLETED or "rounds" not in told:
            lines = "; ".join(last_lines(server, 2))
            raise Broken(told.get("error") or f"NVFLARE says of the job: {status}. {lines}")
    found: list[dict[str, Any]] = told["rounds"]
    return found


def _settings(folder: Path, members: Mapping[str, Member], request: Request, metrics: Path) -> Path:
    path = folder / "settings.json"
    rows = {host: member.rows for host, member in members.items()}
    files = {"metrics": str(metrics), "told": str(folder / "told.json"), "model": str(folder / "model.npz")}
    path.write_text(json.dumps({"request": request.as_json(), "rows": rows, **files}))
    return path


@contextlib.contextmanager
def _session(admin: Path, process: subprocess.Popen[bytes]) -> Iterator[Session]:
    ends = time.monotonic() + START_SECONDS
    while True:
        try:
            session = new_secure_session(kits.ADMIN, str(admin), timeout=5.0)
            break
        except Exception as fault:  # NVFLARE raises what it likes while its server begins
            if process.poll() is not None or time.monotonic() > ends:
                raise Broken(f"NVFLARE's server does not begin: {fault}") from fault
            time.sleep(POLL_SECONDS)
    try:
        yield session
    finally:
        with contextlib.suppress(Exception):
            session.close()


def _wait_for(session: Session, hosts: set[str], seconds: float) -> None:
    """Until all are registered. Raises Broken naming those that are not."""
    ends = time.monotonic() + seconds
    while True:
        here = {client.name for client in session.get_system_info().client_info}
        if hosts <= here:
            print(f"all of {', '.join(sorted(hosts))} are registered", flush=True)
            return
        if time.monotonic() > ends:
            raise Broken(
                f"no client of {', '.join(sorted(hosts - here))} within {seconds:g} s; see the client's log there"
            )
        time.sleep(POLL_SECONDS)


def _job_status(session: Session, folder: str, request: Request) -> str:
    """NVFLARE's word on the job once it is finished. Raises Broken if it never is."""
    number = session.submit_job(folder)
    ends = time.monotonic() + request.join_seconds + 2 * request.rounds * (request.round_seconds + 10)
    while time.monotonic() < ends:
        status = str(session.get_job_meta(number).get("status"))
        if status.startswith("FINISHED"):
            return status
        time.sleep(POLL_SECONDS)
    raise Broken(f"NVFLARE's job is not finished in time: {status}")


def _write(output: Path, result: dict[str, Any]) -> None:
    (output / "result.json").write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
