"""One suite for every executor (docs/executors.md)."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.support.apptainer import needs_apptainer
from tests.support.engine import needs_docker
from tests.support.executors import BACKENDS, KEPT_IMAGE, Backend, Harness
from tests.support.kubernetes import needs_kubernetes
from tests.support.kubernetes_node import needs_node
from tests.support.needs import needs
from tests.support.podman import needs_podman
from tests.support.slurm import needs_slurm

needs_debootstrap = pytest.mark.skipif(
    not KEPT_IMAGE.exists() and shutil.which("debootstrap", path="/usr/sbin:/usr/bin") is None,
    reason="debootstrap is not installed: scripts/install-system-packages docker",
)
WHILE_THE_BASE_IMAGE_IS_MADE = pytest.mark.timeout(600)


@pytest.fixture(
    scope="session",
    params=[
        "sandbox",
        pytest.param("image", marks=[needs_debootstrap, WHILE_THE_BASE_IMAGE_IS_MADE]),
        pytest.param("apptainer", marks=[needs_apptainer, needs_debootstrap, WHILE_THE_BASE_IMAGE_IS_MADE]),
        pytest.param("docker", marks=[needs_docker, pytest.mark.needs_engine, WHILE_THE_BASE_IMAGE_IS_MADE]),
        pytest.param("slurm", marks=needs_slurm),
        pytest.param(
            "kubernetes", marks=[needs_kubernetes, needs_node, needs_debootstrap, WHILE_THE_BASE_IMAGE_IS_MADE]
        ),
        pytest.param("podman", marks=[needs_podman, pytest.mark.needs_engine, WHILE_THE_BASE_IMAGE_IS_MADE]),
    ],
)
@needs("needs_root")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    with tempfile.TemporaryDirectory(prefix="fedproc-contract-") as folder:
        Path(folder).chmod(0o755)
        made = BACKENDS[request.param](Path(folder))
        try:
            yield made
        finally:
            made.close()


@pytest.fixture
async def harness(backend: Backend) -> AsyncIterator[Harness]:
    """After each test nothing is left of its jobs."""
    folder = Path(tempfile.mkdtemp(prefix="fedproc-"))
    backend.prepare(folder)
    async with AsyncExitStack() as stack:
        stack.callback(subprocess.run, ["/bin/rm", "-rf", str(folder)], check=True)
        made = Harness(backend, folder, backend.executor())
        stack.push_async_callback(made.close)
        yield made
    until = time.monotonic() + 30  # the kernel tells of the end of a process a moment after it is gone from its group
    while (left := backend.left()) and time.monotonic() < until:
        await asyncio.sleep(0.05)
    assert left == []
