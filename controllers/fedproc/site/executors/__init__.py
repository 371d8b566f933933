"""Executors: how a host runs jobs (docs/executors.md)."""

from __future__ import annotations

from fedproc.site.executors.base import Executor
from fedproc.site.settings import SiteSettings
from fedproc.site.toolbox import Runtimes


def make_executor(settings: SiteSettings) -> tuple[Executor, Runtimes]:
    """The executor that the settings name, with what makes its runtimes ready."""
    if settings.executor == "docker":
        from fedproc.site.executors.docker import DockerExecutor
        from fedproc.site.images import Images

        return DockerExecutor(settings.state / "containers", settings.docker.socket), Images(settings.docker)

    from fedproc.site.environments import Environments
    from fedproc.site.executors.sandbox import SandboxExecutor

    folder = settings.sandbox.environments or settings.state / "environments"
    environments = Environments(folder, settings.sandbox.python, settings.sandbox.pip_arguments)
    return SandboxExecutor(settings.runner_folder), environments
