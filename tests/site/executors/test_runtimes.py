"""What a task runs in, made ready by the real thing for each executor, from a tool's own files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.executors import BASE_IMAGE, PYTHON, Backend, DockerBackend, Harness, KubernetesBackend

from fedproc.catalog.building import image_name
from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.site.executors.base import SOURCE, Mount, Port
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool, Runtimes
from fedproc.site.tools.images import ImageRuntimes
from fedproc.site.tools.venvs import VenvRuntimes

pytestmark = pytest.mark.needs_root

DOCKERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE}
RUN python3 -m venv --without-pip /fedproc/environment
ENTRYPOINT ["/bin/false"]
"""


@pytest.fixture
def installed(harness: Harness) -> Iterator[InstalledTool]:
    """A tool that nobody has built yet."""
    source = harness.folder / "tool"
    source.mkdir()
    (source / "Dockerfile").write_text(DOCKERFILE)
    (source / "requirements.lock").write_text("# nothing\n")
    made = InstalledTool(Manifest.model_construct(), source, f"sha256:{harness.folder.name}")
    yield made
    if isinstance(harness.backend, DockerBackend):
        harness.backend.forget_image(image_name(made.digest, "Dockerfile", BASE_IMAGE))


def _task(**runtime: str) -> Task:
    values = {"name": "look", "placement": "worker", "command": ["{python}"], "runtime": runtime, "description": "x"}
    return Task.model_validate(values)


def _runtimes(backend: Backend, folder: Path) -> Runtimes:
    if isinstance(backend, DockerBackend):
        return ImageRuntimes(DockerSettings(socket=f"unix://{backend.socket}", base_image=BASE_IMAGE))
    return VenvRuntimes(folder / "environments", Path(PYTHON))


async def test_a_tool_runs_in_its_own_environment(harness: Harness, installed: InstalledTool) -> None:
    if isinstance(harness.backend, KubernetesBackend):
        pytest.skip("it runs images alone, which nodes pull")
    runtimes = _runtimes(harness.backend, harness.folder)
    task = _task(requirements="requirements.lock", dockerfile="Dockerfile")
    runtime = await runtimes.ready(installed, task)
    (installed.source / "main.py").write_text("import sys\nprint(sys.prefix, sys.argv[1:])")
    spec = harness.spec(
        "tool", runtime.python, f"{SOURCE}/main.py", "a", runtime=runtime.reference,
        mounts=(Mount(installed.source, SOURCE),),
    )  # fmt: skip
    assert (await harness.run(spec)).out == b"/fedproc/environment ['a']\n"
    assert await runtimes.ready(installed, task) == runtime


async def test_what_cannot_be_built_says_why(harness: Harness, installed: InstalledTool) -> None:
    runtimes = _runtimes(harness.backend, harness.folder)
    (installed.source / "Dockerfile").write_text(DOCKERFILE + "RUN echo the reason is this; exit 3\n")
    (installed.source / "requirements.lock").write_text("the reason is this\n")
    with pytest.raises(SystemFaultError, match="the reason is this"):
        await runtimes.ready(installed, _task(requirements="requirements.lock", dockerfile="Dockerfile"))


async def test_a_task_for_the_other_kind_of_executor_is_not_run_here(
    harness: Harness, installed: InstalledTool
) -> None:
    other = {"requirements": "requirements.lock"} if isinstance(harness.backend, DockerBackend) else {"dockerfile": "D"}
    with pytest.raises(SystemFaultError, match="look"):
        await _runtimes(harness.backend, harness.folder).ready(installed, _task(**other))


async def test_an_image_that_cannot_be_had_is_named(harness: Harness, installed: InstalledTool) -> None:
    if not isinstance(harness.backend, DockerBackend):
        pytest.skip("images are for container engines")
    name = "registry.invalid/tool@sha256:" + "0" * 64
    with pytest.raises(SystemFaultError, match=r"registry\.invalid/tool"):
        await _runtimes(harness.backend, harness.folder).ready(installed, _task(image=name))


async def test_connections_need_a_python_that_the_image_finds_and_no_place_of_it(
    harness: Harness, installed: InstalledTool
) -> None:
    """Python's own images have it in /usr/local/bin alone."""
    if not isinstance(harness.backend, DockerBackend):
        pytest.skip("images are for container engines")
    moved = "RUN rm /usr/bin/python3 && ln -s /usr/bin/python3.[0-9]* /usr/local/bin/python3\n"
    (installed.source / "Dockerfile").write_text(DOCKERFILE + moved)
    runtime = await _runtimes(harness.backend, harness.folder).ready(installed, _task(dockerfile="Dockerfile"))
    (harness.folder / "in").mkdir()
    ports = (Port("table", 8080, harness.folder / "in" / "table.sock"),)
    spec = harness.spec("tool", "python3", "-c", "print('here')", runtime=runtime.reference, ports=ports)
    assert (await harness.run(spec)).out == b"here\n"
