"""Which runtimes a host makes ready: those of its executor."""

from __future__ import annotations

from fedproc.site.settings import SiteSettings
from fedproc.site.tools.cache import Runtimes
from fedproc.site.tools.registry import Store


def make_runtimes(settings: SiteSettings, store: Store | None = None) -> Runtimes:
    """What makes runtimes ready for the executor that the settings name, by ``store`` if there is one."""
    if settings.executor == "docker":
        from fedproc.site.tools.images import Images

        return Images(settings.docker, store)

    from fedproc.site.tools.venvs import Environments

    folder = settings.sandbox.environments or settings.state / "environments"
    return Environments(folder, settings.sandbox.python, settings.sandbox.pip_arguments, store)
