"""Executors: how a host runs jobs (docs/executors.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedproc.site.executors.base import Executor
from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import Runtimes

if TYPE_CHECKING:
    from fedproc.site.tools.registry import Store


def make_executor(settings: SiteSettings, store: Store | None = None) -> tuple[Executor, Runtimes]:
    """The executor that the settings name, with what makes its runtimes ready."""
    if settings.executor == "docker":
        from fedproc.site.executors.docker.executor import DockerExecutor

        executor: Executor = DockerExecutor(settings.state / "containers", settings.docker.socket)
    else:
        from fedproc.site.executors.sandbox import SandboxExecutor

        executor = SandboxExecutor(settings.runner_folder)
    return executor, make_runtimes(settings, store)


def make_runtimes(settings: SiteSettings, store: Store | None = None) -> Runtimes:
    """What makes runtimes ready for the executor that the settings name, by ``store`` if there is one."""
    if settings.executor == "docker":
        from fedproc.site.tools.images import Images

        return Images(settings.docker, store)

    from fedproc.site.tools.venvs import Environments

    folder = settings.sandbox.environments or settings.state / "environments"
    return Environments(folder, settings.sandbox.python, settings.sandbox.pip_arguments, store)
