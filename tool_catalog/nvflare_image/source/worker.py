"""The task ``client``: NVFLARE's client, watched until it is done, refuses the server, or hears nothing."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import kits
from enrolment import enrol
from patches.faults import Broken
from patches.images import SiteImages
from programs import last_lines, running
from request import Request

CLIENT = "flare_parts.client_train"
POLL_SECONDS = 0.3
LEAVING_SECONDS = 15
"""for NVFLARE's client to hear that all is over, once this host's last task is done"""


def run(address: str, host: str, datasets: Path, site: SiteImages, request: Request) -> None:
    """Take part until all is over. Raises Broken if the server cannot be reached, is silent, or asks for more."""
    rows = {"train_rows": len(site.train.labels), "test_rows": len(site.test.labels)}
    pair, root = enrol(address, host, rows, request)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        workspace = folder / "client"
        kits.write_client(workspace, host, pair, root, address)
        files = {name: str(folder / name) for name in ("alive", "refused", "finished")}
        told = {"request": request.as_json(), "datasets": str(datasets.resolve()), **files}
        (folder / "settings.json").write_text(json.dumps(told))
        (folder / "alive").touch()
        options = {"uid": host, "config_folder": "config"}
        with running(CLIENT, workspace, "fed_client.json", folder / "settings.json", options) as process:
            while process.poll() is None and not _is_over(folder, request):
                time.sleep(POLL_SECONDS)
        _judge(folder, workspace, process.returncode)
    print(f"{host}: the server has ended the training", flush=True)


def _is_over(folder: Path, request: Request) -> bool:
    finished = folder / "finished"
    if (folder / "refused").exists():
        return True
    if finished.exists():
        return time.time() - finished.stat().st_mtime > LEAVING_SECONDS
    return time.time() - (folder / "alive").stat().st_mtime > request.patience


def _judge(folder: Path, workspace: Path, code: int | None) -> None:
    if (folder / "refused").exists():
        raise Broken((folder / "refused").read_text())
    if not (folder / "finished").exists():
        lines = "; ".join(last_lines(workspace, 2))
        raise Broken(
            f"the connection to the server ended, or it was silent, before training was over ({code}; {lines})"
        )
