"""Which runtimes a host makes ready: those of its executor, the first that a task has."""

from __future__ import annotations

from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import InstalledTool, Runtime, Runtimes
from fedproc.site.tools.registry import SiteRegistry

NOT_OF_THIS_EXECUTOR = "system_fault.runtime"


class TaskRuntimes:
    """What tasks run in at a host; ``kinds`` in the order in which the host takes them."""

    def __init__(self, executor: str, kinds: tuple[Runtimes, ...]) -> None:
        self._executor = executor
        self.kinds = kinds

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """Build or find what the task runs in. Raises :class:`SystemFaultError` if it cannot be had."""
        for kind in self.kinds:
            if not kind.lacks(task):
                return await kind.ready(installed, task)
        raise SystemFaultError(f"task {task.name} {self.lacks(task)}", code=NOT_OF_THIS_EXECUTOR)

    def lacks(self, task: Task) -> str:
        """Why this executor cannot run the task, whatever it is given to; empty if it can."""
        reasons = [kind.lacks(task) for kind in self.kinds]
        if not all(reasons):
            return ""
        return f"cannot run in this host's executor, {self._executor}: it {', and '.join(reasons)}"


def make_runtimes(settings: SiteSettings, registry: SiteRegistry | None = None) -> TaskRuntimes:
    """What makes runtimes ready for the executor that the settings name, by ``registry`` if there is one."""
    return TaskRuntimes(settings.executor, _kinds(settings, settings.executor, registry))


def _kinds(settings: SiteSettings, executor: str, registry: SiteRegistry | None) -> tuple[Runtimes, ...]:
    if executor in ("docker", "podman"):
        from fedproc.site.tools.images import ImageRuntimes

        engine = settings.docker if executor == "docker" else settings.podman
        return (ImageRuntimes(engine, registry, settings.state / "images" / "used"),)

    from fedproc.site.tools.image_roots.runtimes import ImageRoots
    from fedproc.site.tools.venvs import VenvRuntimes

    sandbox = settings.sandbox
    shared = sandbox.environments
    folder = shared or settings.state / "environments"
    return (
        VenvRuntimes(folder, sandbox.python, sandbox.pip_arguments, registry, shared=shared is not None),
        ImageRoots(settings.state / "images" / "roots", registry, sandbox.image_mb * 1_000_000),
    )
