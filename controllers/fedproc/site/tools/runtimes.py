"""Which runtimes a host makes ready: those of its executor."""

from __future__ import annotations

from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import Runtimes
from fedproc.site.tools.registry import SiteRegistry


def make_runtimes(settings: SiteSettings, registry: SiteRegistry | None = None) -> Runtimes:
    """What makes runtimes ready for the executor that the settings name, by ``registry`` if there is one."""
    if settings.executor in ("docker", "podman"):
        from fedproc.site.tools.images import ImageRuntimes

        engine = settings.docker if settings.executor == "docker" else settings.podman
        return ImageRuntimes(engine, registry, settings.state / "images" / "used")

    from fedproc.site.tools.venvs import VenvRuntimes

    shared = settings.sandbox.environments
    folder = shared or settings.state / "environments"
    python, pip_arguments = settings.sandbox.python, settings.sandbox.pip_arguments
    return VenvRuntimes(folder, python, pip_arguments, registry, shared=shared is not None)
