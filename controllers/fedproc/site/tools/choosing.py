"""What a task runs in at this host: which of the site's executors takes it, and which runtime it has made ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedproc.common.errors import SystemFaultError
from fedproc.common.log import get_logger
from fedproc.contract.tool.task import Task
from fedproc.site.centre.api import OnWait
from fedproc.site.settings import SandboxSettings, SiteSettings
from fedproc.site.tools.cache import InstalledTool, Runtime, Runtimes
from fedproc.site.tools.registry import SiteRegistry

log = get_logger(__name__)
NOT_OF_THIS_EXECUTOR = "system_fault.runtime"
EXECUTOR_GONE = "system_fault.executor_gone"
_AGAIN_SECONDS = 2.0
_WITHOUT_ENGINE = {"sandbox": 2, "slurm": 2, "apptainer": 1}
"""how many of what :func:`_own_kinds` makes they take, from the last on: Apptainer runs images alone"""


@dataclass(frozen=True)
class Choice:
    """The executor that takes a task, and why that one."""

    executor: str
    reason: str


class TaskRuntimes:
    """The runtimes of each executor, in the order in which the site names the executors and they take runtimes."""

    def __init__(self, executors: Mapping[str, tuple[Runtimes, ...]]) -> None:
        self._executors = dict(executors)
        self.unfit: dict[str, str] = {}
        """why an executor takes no jobs now, by its name; who watches the executors keeps it"""
        self.without_gpus, self.unconnected = {"slurm"}, set[str]()
        """executors that give jobs no GPU, or no port and no connection, whatever the host has"""
        self.kinds = tuple({id(kind): kind for kinds in executors.values() for kind in kinds}.values())

    async def ready(self, installed: InstalledTool, task: Task, executor: str | None = None) -> Runtime:
        """Build or find what the task runs in, at the executor that is chosen, or is named: a job stays where it is.

        Waits while no executor takes jobs that could run it. Raises :class:`SystemFaultError` if it cannot be had.
        """
        name = await self.executor_for(task) if executor is None else self._named(executor)
        for kind in self._executors[name]:
            if not kind.lacks(task):
                return replace(await kind.ready(installed, task), executor=name)
        raise _refused(task, {name: self.lacks(name, task)})

    async def executor_for(self, task: Task, on_wait: OnWait = lambda _: None, stays_at: str | None = None) -> str:
        """The executor that takes the task, once it takes jobs: the chosen one, or the one that the task stays at.

        Raises :class:`SystemFaultError` if none can run it, or the settings do not name that one any more.
        """
        logged = None
        while (choice := self._choice(task, stays_at)).executor in self.unfit:
            reason = self.unfit[choice.executor]
            if logged != (choice.executor, reason):
                logged = choice.executor, reason
                log.info("executor.awaited", task=task.name, executor=choice.executor, reason=reason)
                on_wait(f"executor {choice.executor} of this host: {reason}")
            await asyncio.sleep(_AGAIN_SECONDS)
        if logged:
            on_wait(None)
        if len(self._executors) > 1:
            log.info("executor.chosen", task=task.name, executor=choice.executor, reason=choice.reason)
        return choice.executor

    def _choice(self, task: Task, stays_at: str | None) -> Choice:
        if stays_at is not None:
            return Choice(self._named(stays_at), "the job was given to it before")
        return self.choose(task)

    @property
    def names(self) -> tuple[str, ...]:
        """The executors that the site's settings name."""
        return tuple(self._executors)

    def _named(self, executor: str) -> str:
        """What was begun at one executor is not begun once more at another one."""
        if executor in self._executors:
            return executor
        raise SystemFaultError(
            f"the job was given to executor {executor!r}, which this host's settings do not name any more; start the"
            " experiment again",
            code=EXECUTOR_GONE,
            at_host="what may still run there ends when the settings name it again",
        )

    def choose(self, task: Task) -> Choice:
        """The first that can run it, takes jobs now, and suits it. Raises :class:`SystemFaultError` if none can."""
        lacks = {name: self.lacks(name, task) for name in self._executors}
        able = [name for name, lack in lacks.items() if not lack]
        if not able:
            raise _refused(task, lacks)
        passed = {name: lack for name, lack in lacks.items() if lack}
        passed |= {name: self.unfit[name] for name in able if name in self.unfit}
        passed |= {name: text for name in able if name not in passed and (text := _unsuited(name, task))}
        chosen = next((name for name in able if name not in passed), None)
        chosen = chosen or next((name for name in able if name not in self.unfit), able[0])
        passed.pop(chosen, None)
        before = [f"{name} {why}" for name, why in passed.items() if _is_before(name, chosen, list(self._executors))]
        return Choice(chosen, "; ".join(before) or "the first of the site's executors")

    def lacks(self, executor: str, task: Task) -> str:
        """Why this executor cannot run the task, whatever the host has; empty if it can."""
        if executor in self.without_gpus and task.resources.gpu is not None:
            return "gives jobs no GPU"
        if executor in self.unconnected and (task.ports or task.connections):
            return "connects no jobs here (kubernetes.node)"
        reasons = [kind.lacks(task) for kind in self._executors[executor]]
        return "" if not all(reasons) else f"cannot: the task {', and '.join(reasons)}"


def _unsuited(executor: str, task: Task) -> str:
    if executor in ("slurm", "kubernetes") and (task.ports or task.connections):
        return "connects the task on one machine alone"
    return ""


def _is_before(name: str, other: str, order: list[str]) -> bool:
    return order.index(name) < order.index(other)


def _refused(task: Task, lacks: Mapping[str, str]) -> SystemFaultError:
    reasons = "; ".join(f"{name} {lack}" for name, lack in lacks.items())
    return SystemFaultError(f"task {task.name} runs in no executor of this host: {reasons}", code=NOT_OF_THIS_EXECUTOR)


def make_runtimes(settings: SiteSettings, registry: SiteRegistry | None = None) -> TaskRuntimes:
    """What makes runtimes ready for the executors that the settings name, by ``registry`` if there is one."""
    own = _own_kinds(settings, registry) if {*_WITHOUT_ENGINE} & {*settings.executors} else ()
    made = TaskRuntimes(
        {
            name: _in_order(own[-_WITHOUT_ENGINE[name] :], settings.sandbox)
            if name in _WITHOUT_ENGINE
            else _image_kinds(settings, name, registry)
            for name in settings.executors
        }
    )
    if settings.kubernetes.gpu_resource is None:
        made.without_gpus.add("kubernetes")
    if settings.kubernetes.node is None:
        made.unconnected.add("kubernetes")
    return made


def _in_order(kinds: tuple[Runtimes, ...], sandbox: SandboxSettings) -> tuple[Runtimes, ...]:
    return kinds[::-1] if sandbox.prefer_images else kinds


def _image_kinds(settings: SiteSettings, executor: str, registry: SiteRegistry | None) -> tuple[Runtimes, ...]:
    if executor != "kubernetes":
        return _engine_kinds(settings, executor, registry)
    from fedproc.site.tools.cluster_images import ClusterImages

    return (ClusterImages(settings.kubernetes),)


def _engine_kinds(settings: SiteSettings, executor: str, registry: SiteRegistry | None) -> tuple[Runtimes, ...]:
    from fedproc.site.tools.images import ImageRuntimes

    engine = settings.docker if executor == "docker" else settings.podman
    return (ImageRuntimes(engine, registry, settings.state / "images" / "used"),)


def _own_kinds(settings: SiteSettings, registry: SiteRegistry | None) -> tuple[Runtimes, ...]:
    """What sandbox, Slurm and Apptainer share: environments, and images, which are the last."""
    from fedproc.site.tools.image_roots.runtimes import ImageRoots
    from fedproc.site.tools.venvs import VenvRuntimes

    sandbox = settings.sandbox
    shared = sandbox.environments
    folder = shared or settings.state / "environments"
    return (
        VenvRuntimes(folder, sandbox.python, sandbox.pip_arguments, registry, shared=shared is not None),
        ImageRoots(settings.state / "images" / "roots", registry, sandbox.image_mb * 1_000_000),
    )
