"""One end of an artefact's way, as a program: ``python -m tests.support.artefact_ends send|finish|fetch FOLDER``.

``FOLDER/given.json`` says what a host knows: address of the API, token, the job's record, its tool. What is printed is
JSON: what was sent, or the sha256 of what came, and the most memory that the program had, in MiB.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx

from fedproc.common.files import sha256_of
from fedproc.common.keys import read_key
from fedproc.contract.tool.tool import Tool
from fedproc.site.centre.api import Transfer
from fedproc.site.centre.identity import Identity
from fedproc.site.jobs.record import JobRecord
from fedproc.site.jobs.release.stage_out import finish_artefacts, publish_artefacts
from fedproc.site.jobs.services import Services
from fedproc.site.jobs.stage_in import fetch_artefacts
from fedproc.site.jobs.workspace import Workspace
from fedproc.site.policy.policy_file import Policy

POLICY = Policy.model_validate({"release": {"public": "automatic"}, "tools": [{"id": "train", "digest": "*"}]})


class ThisWay(httpx.AsyncHTTPTransport):
    """Whatever name the API knows itself by, it is reached at ``api``."""

    def __init__(self, api: str) -> None:
        super().__init__()
        self._api = httpx.URL(api)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        request.url = request.url.copy_with(scheme=self._api.scheme, host=self._api.host, port=self._api.port)
        return await super().handle_async_request(request)


def services(given: dict[str, Any], folder: Path, http: httpx.AsyncClient) -> Services:
    """Those of a host that moving an artefact needs."""

    async def token(fresh: bool = False) -> str:
        return str(given["token"])

    identity = SimpleNamespace(token=token, key=read_key(folder / "host.pem"))
    return cast(
        Services,
        SimpleNamespace(
            policy=POLICY,
            transfer=Transfer(given["api"], cast(Identity, identity), http),
            workspace=lambda job: Workspace(folder / "jobs", job),
        ),
    )


def most_memory() -> float:
    """MiB, of this program alone: what the kernel says of a process also counts the one that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


async def main(act: str, folder: Path) -> dict[str, Any]:
    given = json.loads((folder / "given.json").read_text())
    record = JobRecord.model_validate(given["record"])
    task = Tool.model_validate(given["tool"]).task(record.order.task)
    async with httpx.AsyncClient(timeout=60, transport=ThisWay(given["api"])) as http:
        host = services(given, folder, http)
        workspace = host.workspace(record.job)
        if act in ("send", "finish"):
            step = publish_artefacts if act == "send" else finish_artefacts
            await step(host, record, task, workspace, lambda _: None)
            return {"sent": [output.model_dump(mode="json") for output in record.artefacts], "MiB": most_memory()}
        workspace.make({}, {})
        await fetch_artefacts(host, record, workspace, lambda _: None)
        came = {str(p.relative_to(workspace.input)): sha256_of(p) for p in workspace.input.rglob("*") if p.is_file()}
        return {"came": came, "MiB": most_memory()}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], Path(sys.argv[2])))))
