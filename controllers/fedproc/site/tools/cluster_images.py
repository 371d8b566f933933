"""Images that a cluster's nodes pull by themselves: named by digest, from where the settings say."""

from __future__ import annotations

from fedproc.catalog.oci import ImageError
from fedproc.contract.tool.task import Task
from fedproc.site.executors.base import ENVIRONMENT
from fedproc.site.settings import KubernetesSettings
from fedproc.site.tools.cache import InstalledTool, Runtime, StoredRuntime


class ClusterImages:
    """Implements :class:`fedproc.site.tools.cache.Runtimes` for the executor ``kubernetes``.

    Nothing is kept here: nodes hold images by their own rules, and a digest gets those bytes or none.
    """

    kind = "cluster_images"

    def __init__(self, settings: KubernetesSettings) -> None:
        self._registries = settings.registries

    def lacks(self, task: Task) -> str:
        return "" if task.runtime.image else "has no 'image' that nodes could pull"

    async def ready(self, installed: InstalledTool, task: Task) -> Runtime:
        """Where nodes get the task's image. Raises :class:`ImageError` if the settings do not say."""
        if reason := self.lacks(task):
            raise ImageError(f"task {task.name} {reason}", code="system_fault.runtime")
        name = str(task.runtime.image)
        registry, _, rest = name.partition("/")
        place = self._registries.get(registry)
        if place is None:
            raise ImageError(
                f"image {name}: say in the settings where the cluster's nodes pull images of {registry} from "
                "(kubernetes.registries), the registry itself or the site's mirror"
            )
        reference = f"{place}/{rest}"
        return Runtime(reference, str(ENVIRONMENT / "bin" / "python"), f"image {reference}, of the cluster's nodes")

    def stored(self) -> list[StoredRuntime]:
        return []

    def name_of(self, installed: InstalledTool, task: Task) -> str | None:
        return None

    async def discard(self, name: str, before: float) -> bool:
        return True
