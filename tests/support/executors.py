"""Executors under test (docs/executors.md): what is particular to one of them is in its ``Backend``."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import docker
import docker.errors
import pytest
from tests.support.engine import OWN
from tests.support.kubernetes import NODE, ApiServer
from tests.support.kubernetes_node import PIDS, Node
from tests.support.oci_images import image_of_tar
from tests.support.podman import USER, RootlessPodman
from tests.support.processes import DYING_WITH_US
from tests.support.slurm import USER as SLURM_USER
from tests.support.slurm import SlurmCluster

from fedproc.catalog.base_image import make_base_tar
from fedproc.catalog.building import image_id
from fedproc.catalog.oci import Blobs
from fedproc.demo.engine import EnginePlan, answers
from fedproc.demo.images import BASE_IMAGE, make_base_image
from fedproc.demo.polling import wait_until
from fedproc.site.executors.apptainer import ApptainerExecutor
from fedproc.site.executors.base import SOURCE, Executor, Handle, Limits, Mount, Observation, Phase, Spec
from fedproc.site.executors.docker.executor import LABEL, DockerExecutor, label_of
from fedproc.site.executors.kubernetes.executor import KubernetesExecutor
from fedproc.site.executors.sandbox import SandboxExecutor
from fedproc.site.executors.slurm.executor import SlurmExecutor
from fedproc.site.settings import KubernetesFolder, KubernetesSettings, SlurmSettings
from fedproc.site.tools.image_roots.unpacking import Order, unpack

PYTHON = "/usr/bin/python3"
"""of the machine's own in the sandbox, of the image in a container"""
CHECKOUT = Path(__file__).parents[2]
ENGINE_CACHE = CHECKOUT / ".cache" / "engine"
KEPT_IMAGE = CHECKOUT / ".cache" / "base-image.tar"
INSIDE = CHECKOUT / "tests/site/executors/inside"
SECRET = "4c1f-of-the-neighbour"
LIMITS = Limits(cpus=1, memory=96_000_000, disk=20_000_000, pids=24, log=1_000_000)


_RUN = secrets.token_hex(8)
IDS: set[str] = set()
"""of all jobs so far"""


def job_id(name: str) -> str:
    """An id as the centre makes them; another one in each run, as several may go on beside each other."""
    digest = sha256(f"{_RUN} {name}".encode()).digest()
    made = "j-" + "".join("0123456789abcdefghijklmnopqrstuv"[byte % 32] for byte in digest[:26])
    IDS.add(made)
    return made


class Backend(Protocol):
    """What a test of an executor needs besides the executor."""

    runtime: str
    exact_usage: bool
    """whether memory and processor time are counted to the end"""
    lacks: frozenset[str]
    """limits that it cannot enforce on this machine, as the executor itself says"""
    variables: str
    """which it sets in a job by itself, as a regular expression"""

    def prepare(self, folder: Path) -> None:
        """Let the executor reach what will lie in this folder."""

    def executor(self) -> Executor:
        """A new one, as a daemon that has just been started makes it. The one before it is no more."""

    def crash(self) -> None:
        """Kill what keeps the jobs, and start it again as a supervisor does."""

    def close(self) -> None:
        """End what was started for it."""

    def left(self) -> list[str]:
        """What is left of jobs: processes, control groups, containers, records."""


class SandboxBackend:
    """A runner of its own in ``folder``."""

    runtime = ""
    variables = "-"
    exact_usage = True
    lacks = frozenset[str]()

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = self._started()

    def prepare(self, folder: Path) -> None:
        """It reaches everything."""

    def _started(self) -> subprocess.Popen[bytes]:
        bounds, place = self._folder / "bounds.toml", tempfile.gettempdir()
        bounds.write_text(f'show = ["{CHECKOUT}", "{place}"]\nwrite = ["{place}"]\n')
        command = [
            sys.executable,
            "-m",
            "fedproc.site.executors.runner",
            "--dir",
            str(self._folder),
            "--bounds",
            str(bounds),
        ]
        process = subprocess.Popen([*DYING_WITH_US, *command])
        wait_until(lambda: answers(self._folder / "runner.sock"), 90, "the runner does not start")
        return process

    def crash(self) -> None:
        self._process.kill()
        self._process.wait()
        self._process = self._started()

    def executor(self) -> Executor:
        return SandboxExecutor(self._folder)

    def left(self) -> list[str]:
        records = [path.name for path in (self._folder / "jobs").iterdir()]
        walk = os.walk("/sys/fs/cgroup")  # others' groups come and go meanwhile, which it takes calmly
        groups = [f"{folder}/{name}" for folder, names, _ in walk for name in names if name in IDS]
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return records + groups + children

    def close(self) -> None:
        self._process.terminate()
        assert self._process.wait(60) == 0


class ImageBackend(SandboxBackend):
    """The sandbox, whose jobs run in an image that this host has unpacked itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        kept, blobs = make_base_tar(KEPT_IMAGE, print), Blobs(folder / "blobs")
        image = image_of_tar(blobs, kept)
        self.runtime = str(folder / "image")
        unpack(Order(image.content.decode(), str(blobs.folder), self.runtime, 2_000_000_000))


class ApptainerBackend(ImageBackend):
    """The same image and runner, with Apptainer between the two."""

    variables = "(APPTAINER|SINGULARITY)_[A-Z_]+|PS1|PROMPT_COMMAND"

    def executor(self) -> Executor:
        return ApptainerExecutor(self._folder)


@dataclass(frozen=True)
class Ended:
    """How a job ended, and what it said."""

    seen: Observation
    out: bytes
    errors: bytes

    def json(self) -> Any:
        """What it printed. Shows its errors where that is no JSON."""
        assert self.seen.exit_code == 0, (self.seen, self.errors.decode(errors="replace"))
        return json.loads(self.out)


@dataclass
class Harness:
    """One host with one executor, for one test."""

    backend: Backend
    folder: Path
    executor: Executor
    _submitted: list[Handle] = field(default_factory=list)
    _lost: list[asyncio.Task[None]] = field(default_factory=list)

    def spec(self, job: str, *command: str, **more: Any) -> Spec:
        """A spec with small limits; more of its fields by name, and ``limits`` as a dict of those that differ."""
        workspace = self.folder / job / "work"
        workspace.mkdir(parents=True, exist_ok=True)
        limits = replace(LIMITS, **more.pop("limits", {}))
        fields: dict[str, Any] = {"environment": {}, "runtime": self.backend.runtime, **more}
        return Spec(job=job_id(job), command=command, workspace=workspace, limits=limits, **fields)

    def program(self, job: str, source: str, *arguments: str, **more: Any) -> Spec:
        """A spec that runs this Python text."""
        place = self.folder / job / "source"
        place.mkdir(parents=True, exist_ok=True)
        (place / "program.py").write_text(source)
        mounts = (Mount(place, SOURCE), *more.pop("mounts", ()))
        return self.spec(job, PYTHON, "-I", f"{SOURCE}/program.py", *arguments, mounts=mounts, **more)

    async def submit(self, spec: Spec) -> Handle:
        """Submit; what is not discarded by the test is discarded at its end."""
        handle = await self.executor.submit(spec)
        self._submitted.append(handle)
        return handle

    def restart(self) -> None:
        """As when the daemon is lost and started again."""
        lost, self.executor = self.executor, self.backend.executor()
        if isinstance(lost, KubernetesExecutor):
            self._lost.append(asyncio.create_task(lost.close()))

    async def end(self, handle: Handle) -> Ended:
        """Wait for the end."""
        seen = await self.executor.poll(handle, until_exit=True)
        out, errors = [await self.log(handle, stream) for stream in ("stdout", "stderr")]
        return Ended(seen, out, errors)

    async def run(self, spec: Spec) -> Ended:
        """Submit and wait for the end."""
        return await self.end(await self.submit(spec))

    async def log(self, handle: Handle, stream: str = "stdout", offset: int = 0) -> bytes:
        return b"".join([part async for part in self.executor.logs(handle, stream, offset=offset)])

    async def said(self, handle: Handle, text: bytes) -> bytes:
        """Wait until the job has printed ``text``; returns all that it printed."""
        async with asyncio.timeout(90):
            while True:
                seen = await self.executor.poll(handle)
                if text in (out := await self.log(handle)):
                    return out
                assert seen.phase is Phase.running, (seen, await self.log(handle, "stderr"))
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def neighbour(self, **more: Any) -> AsyncIterator[Handle]:
        """A job that goes on meanwhile, and that nobody may disturb: told to end, it says that it is well."""
        source = (INSIDE / "neighbour.py").read_text()
        handle = await self.submit(self.program("neighbour", source, environment={"SECRET_TOKEN": SECRET}, **more))
        await self.said(handle, b"here\n")
        yield handle
        (self.folder / "neighbour" / "work" / "end").touch()
        ended = await self.end(handle)
        assert (ended.seen.exit_code, ended.seen.limit, ended.out) == (0, None, b"here\nwell\n"), ended

    async def close(self) -> None:
        for handle in self._submitted:
            await self.executor.discard(handle)
        await asyncio.gather(*self._lost)
        if isinstance(self.executor, KubernetesExecutor):
            await self.executor.close()


class DockerBackend:
    """An engine: the machine's own where one answers, else one that is started here and keeps the base image."""

    variables = "-"
    exact_usage = False
    lacks = frozenset[str]()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "containers"
        self._plan = EnginePlan(ENGINE_CACHE, folder)
        self._process: subprocess.Popen[bytes] | None = None
        self.socket = OWN
        if not answers(OWN):
            self._process, self.socket = self._started(), self._plan.socket
        self._client = docker.DockerClient(f"unix://{self.socket}", version="auto", timeout=600)
        self._executor: DockerExecutor | None = None
        try:
            make_base_image(self._client, print, KEPT_IMAGE)
        except BaseException:
            self.close()
            raise
        self.runtime = str(image_id(self._client, BASE_IMAGE))

    def prepare(self, folder: Path) -> None:
        """It reaches everything."""

    def _started(self) -> subprocess.Popen[bytes]:
        with (self._plan.run / "engine.log").open("ab") as log:
            process = subprocess.Popen([*DYING_WITH_US, *self._plan.command()], stdout=log, stderr=log)
        self._plan.wait()
        return process

    def crash(self) -> None:
        if self._process is None:
            pytest.skip("this machine's own engine is not killed for a test")
        helper = Path("/proc") / (self._plan.run / "engine" / "containerd" / "containerd.pid").read_text().strip()
        self._process.kill()
        self._process.wait()
        wait_until(lambda: not helper.exists(), 90, "the engine's containerd does not end with it")
        self._process = self._started()

    def executor(self) -> Executor:
        if self._executor is not None:
            self._executor.close()
        self._executor = DockerExecutor(self._folder, f"unix://{self.socket}")
        return self._executor

    def left(self) -> list[str]:
        records = [path.name for path in self._folder.iterdir()] if self._folder.exists() else []
        label = f"{LABEL}={label_of(self._folder)}"
        containers = self._client.api.containers(all=True, filters={"label": label})
        return records + [name for container in containers for name in container["Names"]]

    def forget_image(self, name: str) -> None:
        """Remove an image, if it was made."""
        with suppress(docker.errors.NotFound):
            self._client.images.remove(name, force=True)

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()
        self._client.close()
        if self._process is not None:
            self._process.terminate()
            assert self._process.wait(60) == 0
            self._plan.clean_up()


class PodmanBackend(DockerBackend):
    """Podman of an ordinary user, started here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "containers"
        self._folder.mkdir()
        self._engine = RootlessPodman(folder)
        self.socket = self._engine.socket
        self._executor = None
        try:
            self._engine.start()
            self._client = docker.DockerClient(f"unix://{self.socket}", version="auto", timeout=600)
            make_base_image(self._client, print, KEPT_IMAGE)
            self.runtime = str(image_id(self._client, BASE_IMAGE))
            self.lacks = self._engine.lacks()
        except BaseException:
            self._engine.stop()
            raise

    def command(self, *command: str) -> list[str]:
        """Runs a command as the engine's user."""
        return self._engine.command(*command)

    def prepare(self, folder: Path) -> None:
        os.chown(folder, USER, USER)

    def crash(self) -> None:
        self._engine.kill()

    def executor(self) -> Executor:
        if self._executor is not None:
            self._executor.close()
        self._executor = DockerExecutor(self._folder, f"unix://{self.socket}", "podman")
        return self._executor

    def close(self) -> None:
        if self._executor is not None:
            self._executor.close()
        self._client.close()
        self._engine.stop()


class SlurmBackend:
    """A cluster of one node, started here, whose jobs are an ordinary user's."""

    variables = "-"
    runtime = ""
    exact_usage = False
    lacks = frozenset({"cpus", "memory", "pids"})

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "slurm-jobs"
        self._folder.mkdir()
        self.cluster = SlurmCluster(folder)
        self.cluster.start()

    def prepare(self, folder: Path) -> None:
        os.chown(folder, SLURM_USER, SLURM_USER)

    def executor(self) -> Executor:
        os.environ["SLURM_CONF"] = str(self.cluster.configuration)
        return SlurmExecutor(
            self._folder, SlurmSettings(user=SLURM_USER, partition="main", python=self.cluster.program())
        )

    def crash(self) -> None:
        self.cluster.lose_node()

    def left(self) -> list[str]:
        return [path.name for path in self._folder.iterdir()] + self.cluster.queue()

    def close(self) -> None:
        self.cluster.stop()


class KubernetesBackend:
    """A cluster of one node, whose kubelet and containerd are real, with the account of docs/executors.md."""

    variables = "-"
    exact_usage = False
    lacks = frozenset[str]()

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "kubernetes-jobs"
        self._folder.mkdir()
        shared = {"shared": Path(tempfile.gettempdir()), "checkout": CHECKOUT}
        self.server = ApiServer(folder)
        self.node = Node(folder / "node", self.server, make_base_tar(KEPT_IMAGE, print))
        try:
            self.server.start()
            self.node.start()
            self.server.lay_out(shared)
        except BaseException:
            self.close()
            raise
        self.runtime = self.node.image
        self._settings = KubernetesSettings(
            kubeconfig=self.server.kubeconfig("ub", self.server.token()),
            folders=tuple(KubernetesFolder(path=path, claim=claim) for claim, path in shared.items()),
            node=NODE,
            pids=PIDS,
            seccomp_profile="fedproc.json",
        )

    def prepare(self, folder: Path) -> None:
        """It reaches everything."""

    def executor(self) -> KubernetesExecutor:
        return KubernetesExecutor(self._folder, self._settings, "ub")

    def crash(self) -> None:
        self.node.lose()

    def left(self) -> list[str]:
        records = [path.name for path in self._folder.iterdir()]
        return records + list(self.server.pods()) + self.node.running() + self.node.groups()

    def close(self) -> None:
        self.node.stop()
        self.server.stop()


BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "kubernetes": KubernetesBackend,
    "slurm": SlurmBackend,
    "sandbox": SandboxBackend,
    "image": ImageBackend,
    "apptainer": ApptainerBackend,
    "docker": DockerBackend,
    "podman": PodmanBackend,
}
