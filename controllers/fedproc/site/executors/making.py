"""The executors that a host's settings name."""

from __future__ import annotations

from fedproc.site.executors.base import Executor
from fedproc.site.executors.several import SeveralExecutors
from fedproc.site.settings import ExecutorName, SiteSettings


def make_executor(settings: SiteSettings) -> Executor:
    """One over those of the host, also where it has one alone: each handle says whose it is."""
    return SeveralExecutors({name: _made(settings, name) for name in settings.executors})


def _made(settings: SiteSettings, name: ExecutorName) -> Executor:
    if name == "slurm":
        from fedproc.site.executors.slurm.executor import SlurmExecutor

        return SlurmExecutor(settings.slurm.folder or settings.state / "slurm", settings.slurm)

    if name == "kubernetes":
        from fedproc.site.executors.kubernetes.executor import KubernetesExecutor
        from fedproc.site.executors.kubernetes.pod import label_of

        cluster = settings.kubernetes
        return KubernetesExecutor(cluster.folder or settings.state / "kubernetes", cluster, label_of(settings.host))

    if name in ("docker", "podman"):
        from fedproc.site.executors.docker.executor import DockerExecutor

        engine = settings.docker if name == "docker" else settings.podman
        return DockerExecutor(settings.state / "containers", engine.socket, name)

    if name == "apptainer":
        from fedproc.site.executors.apptainer import ApptainerExecutor

        return ApptainerExecutor(settings.runner_folder)

    from fedproc.site.executors.sandbox import SandboxExecutor

    return SandboxExecutor(settings.runner_folder)
