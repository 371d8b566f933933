"""Which images a host has its engine keep, by its own notes; the engine itself is asked in test_images."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool
from fedproc.site.tools.images import ImageRuntimes

DIGEST = "sha256:" + "0" * 64


class Images(ImageRuntimes):
    """With an engine that has and removes what it is asked for, unless it is ``busy``."""

    busy = False

    def _made(self, name: str, source: Path, dockerfile: str | None) -> str:
        self._sizes[name] = 1234
        return f"id of {name}"

    def _removed(self, reference: str) -> bool:
        return not self.busy


@pytest.fixture
def images(tmp_path: Path) -> Images:
    return Images(DockerSettings(), None, tmp_path / "images" / "used")


def task(**runtime: str) -> Task:
    values = {"name": "look", "placement": "worker", "command": ["/none"], "runtime": runtime}
    return Task.model_validate(values)


INSTALLED = InstalledTool(Manifest.model_construct(), Path("/nowhere"), DIGEST)


async def test_image_is_noted_when_it_is_used_and_forgotten_when_it_is_removed(images: Images, tmp_path: Path) -> None:
    built = task(dockerfile="Dockerfile")
    await images.ready(INSTALLED, built)
    [stored] = images.stored()
    assert (stored.name, stored.size) == (images.name_of(INSTALLED, built), 1234)
    assert not await images.discard(stored.name, stored.used)
    images.busy = True
    assert not await images.discard(stored.name, stored.used + 1)
    assert images.stored() == [stored]
    images.busy = False
    assert await images.discard(stored.name, stored.used + 1)
    assert images.stored() == []


async def test_note_that_cannot_be_written_keeps_no_job_from_its_image(tmp_path: Path) -> None:
    (tmp_path / "images").write_text("in the way")
    images, built = Images(DockerSettings(), None, tmp_path / "images" / "used"), task(dockerfile="Dockerfile")
    with capture_logs() as logs:
        runtime = await images.ready(INSTALLED, built)
    assert runtime.reference.startswith("id of ")
    assert [line["image"] for line in logs if line["event"] == "image.not_noted"] == [images.name_of(INSTALLED, built)]


async def test_note_that_is_half_written_names_no_image_and_is_written_again(images: Images, tmp_path: Path) -> None:
    used, built = tmp_path / "images" / "used", task(dockerfile="Dockerfile")
    await images.ready(INSTALLED, built)
    [note] = used.iterdir()
    (used / f"{note.name}.part").write_bytes(note.read_bytes()[:10])
    note.write_bytes(b"")
    assert images.stored() == []
    await images.ready(INSTALLED, built)
    assert [stored.name for stored in images.stored()] == [images.name_of(INSTALLED, built)]


async def test_task_of_another_executor_has_no_image(images: Images) -> None:
    assert images.name_of(INSTALLED, task(requirements="r.lock")) is None
