"""Executors: how a host runs jobs (docs/executors.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedproc.site.executors.base import Executor
from fedproc.site.settings import SiteSettings
from fedproc.site.toolbox import Runtimes

if TYPE_CHECKING:
    from fedproc.site.store import Store


def make_executor(settings: SiteSettings, store: Store | None = None) -> tuple[Executor, Runtimes]:
    """The executor that the settings name, with what makes its runtimes ready, by ``store`` if there is one."""
    if settings.executor == "docker":
        from fedproc.site.executors.docker import DockerExecutor
        from fedproc.site.images import Images

        executor = DockerExecutor(settings.state / "containers", settings.docker.socket)
        return executor, Images(settings.docker, store)

    from fedproc.site.environments import Environments
    from fedproc.site.executors.sandbox import SandboxExecutor

    folder = settings.sandbox.environments or settings.state / "environments"
    environments = Environments(folder, settings.sandbox.python, settings.sandbox.pip_arguments, store)
    return SandboxExecutor(settings.runner_folder), environments
