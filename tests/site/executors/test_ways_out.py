"""The hostile tool that tries every way out (docs/security.md), in each executor: its canary stays at the host.

One host's orchestrator runs the tool by a real executor, with rules, sealed copies, metrics and log lines as they are;
what it would send is kept: messages for the centre, and the bytes of outputs. ``resilience/test_ways_out.py`` does the
same with a whole federation, and searches the centre.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.resilience.test_ways_out import TOOL, WAYS, canary, spellings
from tests.support.executors import PYTHON, Harness, PodmanBackend, SlurmBackend
from tests.support.orchestrator import Host, order

from fedproc.catalog.folder import load_tool
from fedproc.contract.ids import new_id
from fedproc.contract.states import TERMINAL, JobState
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.messages import Cancel, DatasetUse, JobOrder, Peer, Start
from fedproc.site.data.persons import Persons
from fedproc.site.executors.base import INPUT, Mount
from fedproc.site.journal import Journal
from fedproc.site.policy.policy_file import Policy
from fedproc.site.tools.cache import InstalledTool, Runtime

SECONDS = 120
DIGEST = "sha256:" + "a" * 64
ENDED = (*TERMINAL, JobState.awaiting_release)

pytestmark = [pytest.mark.needs_root, pytest.mark.slow, pytest.mark.timeout(300)]


class Centre:
    """What has come to the centre, by whatever way."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.files: list[tuple[str, bytes]] = []

    async def upload(self, new: Any, source: Path, on_wait: Any) -> str:
        self.files.append((new.model_dump_json(), await asyncio.to_thread(source.read_bytes)))
        return new_id("f")

    async def everything(self) -> bytes:
        messages = await self.journal.outgoing(0, 100_000)
        parts = [repr(message).encode() for message in messages]
        parts += [part for text, raw in self.files for part in (text.encode(), raw)]
        return b"\n".join(parts)


class Data:
    """A folder with the dataset, as the job sees it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def materialise(self, use: DatasetUse, job: str, on_wait: Any) -> Any:
        return SimpleNamespace(path=self.folder, version="1")

    async def persons(self, dataset: str, version: str, job: str) -> Persons:
        return Persons({"person": frozenset(str(number) for number in range(40))})

    def __getattr__(self, name: str) -> Any:
        async def nothing(*_: Any) -> tuple[()]:
            return ()

        return (lambda *_: ()) if name == "conditions" else nothing


class Site(Host):
    """A host with a real executor, whose policy lets this very version's results leave by themselves."""

    def __init__(self, folder: Path, journal: Journal, harness: Harness, tool: Path = TOOL) -> None:
        super().__init__(folder, journal, ())
        self.centre, self.data = Centre(journal), Data(folder / "data")
        self.data.folder.mkdir()
        (self.data.folder / "cohort.csv").write_text("age\n71\n")
        self.installed = InstalledTool(load_tool(tool), folder / "source", DIGEST)
        shutil.copytree(tool, self.installed.source)
        runtime = Runtime(harness.backend.runtime, PYTHON, "the executor's")
        line = {"id": self.installed.manifest.tool.id, "digest": DIGEST, "release": {"aggregate": "automatic"}}
        line["connections"] = [{"task": "server", "max_mb": 1}]
        services = self.services
        services.executor = harness.executor
        services.transfer = cast(Any, self.centre)
        services.data = cast(Any, self.data)
        cast(Any, services.runtimes).ready = lambda *_: _done(runtime)
        services.tool_cache = cast(
            Any, SimpleNamespace(get=lambda *_: _done(self.installed), note_ready=lambda *_: False)
        )
        services.policy = Policy.model_validate(
            {"release": {"report": "automatic"}, "metrics": True, "tools": [line], "review": {"sample": 0}}
        )
        settings = cast(Any, services.settings)
        settings.datasets, settings.metrics_seconds = {}, 0.1

    async def run(self, way: str, peer: Peer | None = None, **more: Any) -> JobState:
        """Until the job has ended, or waits for a person; with a ``peer`` it is one of a gang."""
        made = order().model_copy(
            update={
                "task": "work",
                "tool": ToolRef(id=self.installed.manifest.tool.id, version="1.0.0", digest=DIGEST),
                "parameters": {"way": way},
                "datasets": (DatasetUse(id="cohort"),),
                **more,
            }
        )
        await self.orchestrator.accept(JobOrder.model_validate(made.model_dump()))
        if peer is not None:
            await self.orchestrator.start(Start(job=made.job, peers=(peer,)))
        async with asyncio.timeout(SECONDS):
            while (known := await self.journal.known(made.job)) is None or known["state"] not in ENDED:
                await asyncio.sleep(0.05)
        assert "running" in known["times"], ("the tool had its try", known)
        if known["state"] == JobState.awaiting_release:
            await self.orchestrator.cancel(Cancel(job=made.job))
        await self.ended(made.job)
        return JobState(known["state"])


async def _done(value: Any) -> Any:
    return value


@asynccontextmanager
async def site_of(harness: Harness, tool: Path = TOOL) -> AsyncIterator[Site]:
    if isinstance(harness.backend, PodmanBackend | SlurmBackend):
        pytest.skip("its orchestrator is an ordinary user, which this test is not")
    folder = harness.folder / "host"
    folder.mkdir()
    harness.backend.prepare(folder)
    journal = Journal(folder / "journal.db")
    await journal.open()
    try:
        made = Site(folder, journal, harness, tool)
        try:
            yield made
        finally:
            await made.orchestrator.close()
    finally:
        await journal.close()


@pytest.mark.parametrize("way", WAYS)
async def test_no_canary_leaves_the_host(harness: Harness, way: str) -> None:
    async with site_of(harness) as site:
        await site.run(way)
        left = await site.centre.everything()
        assert [each for each in spellings(canary(way)) if each in left] == []
        assert sorted(path.name for path in site.data.folder.iterdir()) == ["cohort.csv"]
        assert not list(site.installed.source.rglob(f"*{canary(way)}*"))


async def test_honest_count_leaves_by_itself(harness: Harness) -> None:
    """By the same policy: what the others were kept from is open."""
    async with site_of(harness) as site:
        assert await site.run("nothing but a count") is JobState.succeeded
        assert sorted(raw for _, raw in site.centre.files) == [b'{"n": 40}', b'{"status": "ok"}']


async def test_later_job_finds_nothing_of_one_before_it(harness: Harness) -> None:
    """Folders that jobs share, caches of programs among them."""
    async with site_of(harness) as site:
        await site.run("shared folders")
        look = (
            "import os, sys\n"
            "found = [os.path.join(root, name) for root, folders, names in os.walk('/') for name in folders + names\n"
            "         if sys.argv[1] in name and not root.startswith(('/proc', '/sys'))]\n"
            "print(found)\n"
        )
        later = harness.program("later", look, canary("shared folders"), mounts=(Mount(site.data.folder, INPUT),))
        ended = await harness.run(later)
        assert ended.out.strip() == b"[]", ended
