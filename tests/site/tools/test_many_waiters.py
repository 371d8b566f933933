"""Many jobs that need the same environment or image at once: none of them may stop the daemon, or build it again."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool, Runtime
from fedproc.site.tools.images import ImageRuntimes
from fedproc.site.tools.registry import SiteRegistry
from fedproc.site.tools.venvs import EnvironmentBuildError, VenvRuntimes

JOBS = 40
SECONDS = 10
PYTHON = Path("/usr/bin/python3")
LOCKED = b"numpy==2.0.0 --hash=sha256:00\n"


class Index:
    """Of the registry, the address with the host's token: that is fetched in the loop, with a name to be resolved."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def index(self) -> dict[str, str]:
        return asyncio.run_coroutine_threadsafe(self._token(), self._loop).result()

    async def _token(self) -> dict[str, str]:
        return await asyncio.to_thread(dict)


class Venvs(VenvRuntimes):
    """Environments that a command of no effect builds; ``built`` says how often, ``broken`` with what error."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PYTHON, registry=cast(SiteRegistry, Index()))
        self.built = 0
        self.broken: Exception | None = None

    async def _run(self, *command: str, **variables: str) -> None:
        if "venv" not in command:
            return
        self.built += 1
        await asyncio.sleep(0.05)
        if self.broken:
            raise self.broken
        await asyncio.to_thread(Path(command[-1]).mkdir)


def task(**runtime: str) -> Task:
    values = {"name": "look", "placement": "worker", "command": ["{python}"], "runtime": runtime, "description": "x"}
    return Task.model_validate(values)


BY_VENV = task(requirements="requirements.lock")


def tool(folder: Path, number: int = 0) -> InstalledTool:
    source = folder / f"tool-{number}"
    source.mkdir()
    (source / "requirements.lock").write_bytes(LOCKED + f"# {number}\n".encode())
    return InstalledTool(Manifest.model_construct(), source, f"sha256:{number}")


@pytest.fixture(autouse=True)
async def few_threads() -> Iterator[None]:
    """The common pool, as a machine of two cores has it."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(4))


async def all_of(work: list[Any]) -> list[Any]:
    async with asyncio.timeout(SECONDS):
        return await asyncio.gather(*work, return_exceptions=True)


@pytest.mark.slow
async def test_forty_jobs_of_one_environment_have_it_built_once(tmp_path: Path) -> None:
    venvs, installed = Venvs(tmp_path / "environments"), tool(tmp_path)
    found = await all_of([venvs.ready(installed, BY_VENV) for _ in range(JOBS)])
    assert {type(one) for one in found} == {Runtime}
    assert (len(set(found)), venvs.built) == (1, 1)


@pytest.mark.slow
async def test_forty_environments_are_built_at_once(tmp_path: Path) -> None:
    venvs = Venvs(tmp_path / "environments")
    found = await all_of([venvs.ready(tool(tmp_path, number), BY_VENV) for number in range(JOBS)])
    assert {type(one) for one in found} == {Runtime}
    assert (len(set(found)), venvs.built) == (JOBS, JOBS)


@pytest.mark.slow
async def test_who_waits_for_another_process_takes_no_thread(tmp_path: Path) -> None:
    folder, tools = tmp_path / "environments", [tool(tmp_path, number) for number in range(JOBS)]
    folder.mkdir()
    held = [(folder / f"{_key(installed)}.lock").open("w") for installed in tools]
    for lock in held:
        fcntl.flock(lock, fcntl.LOCK_EX)
    venvs = Venvs(folder)
    waiting = [asyncio.create_task(venvs.ready(installed, BY_VENV)) for installed in tools]
    try:
        await asyncio.sleep(0.2)
        async with asyncio.timeout(SECONDS):
            assert await asyncio.to_thread(dict) == {}
        assert venvs.built == 0
    finally:
        for lock in held:
            lock.close()
    assert {type(one) for one in await all_of(waiting)} == {Runtime}


def _key(installed: InstalledTool) -> str:
    content = (installed.source / "requirements.lock").read_bytes()
    return hashlib.sha256(content + str(PYTHON).encode()).hexdigest()


@pytest.mark.slow
async def test_what_cannot_be_built_is_tried_once_and_told_to_all_who_waited(tmp_path: Path) -> None:
    venvs, installed = Venvs(tmp_path / "environments"), tool(tmp_path)
    venvs.broken = EnvironmentBuildError("no such package")
    found = await all_of([venvs.ready(installed, BY_VENV) for _ in range(JOBS)])
    assert {str(one) for one in found} == {"no such package"}
    assert venvs.built == 1
    venvs.broken = None
    assert isinstance(await venvs.ready(installed, BY_VENV), Runtime)


@pytest.mark.slow
async def test_a_cancelled_job_takes_the_environment_from_no_other(tmp_path: Path) -> None:
    venvs, installed = Venvs(tmp_path / "environments"), tool(tmp_path)
    first = asyncio.create_task(venvs.ready(installed, BY_VENV))
    others = [asyncio.create_task(venvs.ready(installed, BY_VENV)) for _ in range(JOBS)]
    while not venvs.built:
        await asyncio.sleep(0.001)
    first.cancel()
    assert {type(one) for one in await all_of(others)} == {Runtime}
    assert first.cancelled()
    assert venvs.built == 1


async def test_when_all_have_gone_the_next_one_builds(tmp_path: Path) -> None:
    venvs, installed = Venvs(tmp_path / "environments"), tool(tmp_path)
    first = asyncio.create_task(venvs.ready(installed, BY_VENV))
    while not venvs.built:
        await asyncio.sleep(0.001)
    first.cancel()
    async with asyncio.timeout(SECONDS):
        assert isinstance(await venvs.ready(installed, BY_VENV), Runtime)
    assert venvs.built == 2


class Images(ImageRuntimes):
    """Images that are made in 50 ms, with the host's token."""

    def __init__(self) -> None:
        super().__init__(DockerSettings(), cast(SiteRegistry, self))
        self._index = Index()
        self.made: list[str] = []

    def _made(self, name: str, source: Path, dockerfile: str | None) -> str:
        self.made.append(name)
        self._index.index()
        return f"id of {name}"


def by_image(number: int) -> Task:
    return task(image=f"registry.example/tool@sha256:{number:064}")


async def test_forty_jobs_of_one_image_have_it_made_once(tmp_path: Path) -> None:
    images, installed = Images(), tool(tmp_path)
    found = await all_of([images.ready(installed, by_image(0)) for _ in range(JOBS)])
    assert {type(one) for one in found} == {Runtime}
    assert len(images.made) == 1


async def test_an_image_that_is_here_waits_for_none_that_is_made(tmp_path: Path) -> None:
    images, installed = Images(), tool(tmp_path)
    await images.ready(installed, by_image(0))
    async with images._lock:
        made = asyncio.create_task(images.ready(installed, by_image(1)))
        await asyncio.sleep(0.01)
        async with asyncio.timeout(SECONDS):
            await images.ready(installed, by_image(0))
        assert not made.done()
    await made


async def test_images_are_made_though_the_common_pool_is_full(tmp_path: Path) -> None:
    """Each host's one image is made in a thread that waits for the loop; four hosts of one program are no deadlock."""
    installed = tool(tmp_path)
    found = await all_of([Images().ready(installed, by_image(number)) for number in range(4)])
    assert {type(one) for one in found} == {Runtime}
