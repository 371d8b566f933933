"""Which image belongs to a task: named by digest in the signed manifest, beside the Dockerfile that it was built from.

docs/decisions/0005-images-built-once.md says why.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedproc.catalog.signing import tool_digest
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest


def to_build(manifest: Manifest) -> tuple[str, ...]:
    """The Dockerfiles of tasks that name no image."""
    return tuple(sorted({str(task.runtime.dockerfile) for task in manifest.tool.tasks if _is_built(task)}))


def with_images(manifest: Manifest, images: Mapping[str, str]) -> Manifest:
    """The manifest in which each task that is built from a Dockerfile names its image, by ``images``."""
    tasks = tuple(_with_image(task, images) for task in manifest.tool.tasks)
    return manifest.model_copy(update={"tool": manifest.tool.model_copy(update={"tasks": tasks})})


def _with_image(task: Task, images: Mapping[str, str]) -> Task:
    image = images.get(str(task.runtime.dockerfile)) if _is_built(task) else None
    if image is None:
        return task
    return task.model_copy(update={"runtime": task.runtime.model_copy(update={"image": image})})


def is_published_as(manifest: Manifest, published: Manifest) -> bool:
    """Whether ``published`` is this tool, and at most images were added to it."""
    images = {task.runtime.dockerfile: task.runtime.image for task in published.tool.tasks if task.runtime.image}
    known = {str(dockerfile): image for dockerfile, image in images.items() if dockerfile and image}
    return tool_digest(with_images(manifest, known)) == tool_digest(published)


def _is_built(task: Task) -> bool:
    return task.runtime.dockerfile is not None and task.runtime.image is None
