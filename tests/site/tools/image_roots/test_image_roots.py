"""Images of the registry as folders: made once, kept by digest, gone when nothing needs them; never half."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.nested import nested_folders
from tests.support.oci_images import file, image_of, layer, link

from fedproc.catalog.oci import Blobs, Image, ImageError
from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.site.executors.image_root import image_root
from fedproc.site.settings import RegistrySettings
from fedproc.site.tools.cache import InstalledTool
from fedproc.site.tools.choosing import TaskRuntimes
from fedproc.site.tools.image_roots import runtimes
from fedproc.site.tools.image_roots.runtimes import ImageRoots
from fedproc.site.tools.image_roots.tree import remove_tree
from fedproc.site.tools.registry import SiteRegistry

pytestmark = pytest.mark.slow
STORE = "store.example.org"
LOST = """
import asyncio, os, sys
from pathlib import Path
from fedproc.site.tools.image_roots.runtimes import ImageRoots
from tests.site.tools.image_roots.test_image_roots import STORE, Site, task, tool

start = asyncio.create_subprocess_exec

async def told(*program, **options):
    child = await start(*program, **options)
    print(child.pid, flush=True)
    return child

async def main():
    site = Site(Path(sys.argv[1]))
    asyncio.create_subprocess_exec = told
    await site.roots.ready(tool(), task(f"{STORE}/tools/small@{sys.argv[2]}"))

asyncio.run(main())
"""


class Site:
    """A host that has fetched what it unpacks."""

    def __init__(self, folder: Path, keep_mb: int = 1000) -> None:
        settings = RegistrySettings(name=STORE, url="http://127.0.0.1:9", keep_mb=keep_mb)
        self.registry = SiteRegistry(settings, None, folder / "images", "host-UB", lambda _: "none")
        self.folder = folder / "images" / "roots"
        self.roots = ImageRoots(self.folder, self.registry, 50_000_000)

    def image(self, *layers: bytes, **config: Any) -> Image:
        made = image_of(self.registry.blobs, layers, **config)
        self.registry.manifests.add(made.content)
        return made

    def left(self) -> set[str]:
        return {path.name for path in self.folder.iterdir() if path.suffix != ".lock"}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def task(image: Image | str, **more: Any) -> Task:
    named = image if isinstance(image, str) else f"{STORE}/tools/small@{image.digest}"
    values = {"name": "look", "placement": "worker", "command": ["/none"], "runtime": {"image": named}, **more}
    return Task.model_validate(values)


def tool() -> InstalledTool:
    return InstalledTool(Manifest.model_construct(), Path("/nowhere"), "sha256:" + "0" * 64)


async def test_image_is_unpacked_once_for_all_who_ask(site: Site) -> None:
    image = site.image(layer(file("tool", b"works", 0o755)), config={"Env": ["A=1"]})
    with capture_logs() as logs:
        found = await asyncio.gather(*(site.roots.ready(tool(), task(image)) for _ in range(5)))
        again = await Site(site.folder.parents[1]).roots.ready(tool(), task(image))
    assert [line["event"] for line in logs].count("image.unpacked") == 1
    assert {one.reference for one in (*found, again)} == {str(site.folder / image.digest.replace(":", "-"))}
    root = image_root(again.reference)
    assert root is not None
    assert (root.root / "tool").read_bytes() == b"works"
    assert root.environment == {"A": "1"}
    assert image.digest in again.label
    assert site.left() == {Path(again.reference).name}


def begun(folder: Path, image: Image) -> list[Path]:
    """What is half of this image, and has files already."""
    return list(folder.glob(f"{image.digest.replace(':', '-')}*.part/root/d"))


def runs(process: int) -> bool:
    """Whether it does anything still: of one that only its parent has not heard of, nothing can be read."""
    return Path(f"/proc/{process}/exe").exists()


async def test_what_cannot_be_unpacked_leaves_nothing_and_says_why(site: Site) -> None:
    image = site.image(layer(file("a")), layer(link("b", "../../etc/shadow", hard=True)))
    with pytest.raises(ImageError, match="out of the image's root"):
        await site.roots.ready(tool(), task(image))
    assert site.left() == set()


async def test_image_larger_than_the_site_gives_is_refused(site: Site) -> None:
    image = site.image(layer(file("a", bytes(60_000_000))))
    with pytest.raises(ImageError, match=r"47 MB, which is what this host has or gives \(sandbox.image_mb\)"):
        await site.roots.ready(tool(), task(image))
    assert site.left() == set()


async def test_what_a_lost_program_left_half_does_not_matter(site: Site) -> None:
    image = site.image(layer(file("a")))
    half = site.folder / f"{image.digest.replace(':', '-')}.part" / "root"
    half.mkdir(parents=True)
    (half / "rubbish").write_text("x")
    made = await site.roots.ready(tool(), task(image))
    assert not (Path(made.reference) / "root" / "rubbish").exists()
    assert site.left() == {Path(made.reference).name}


async def test_orchestrator_that_is_lost_takes_its_unpacking_along(site: Site) -> None:
    """Held where it is, so that it does not come to its end by itself."""
    image = site.image(
        layer(*(file(f"d/{number}", b"old") for number in range(8000)), file("d/gone")),
        layer(file("d/.wh.gone"), file("d/0", b"new")),
    )
    program = [sys.executable, "-c", LOST, str(site.folder.parents[1]), image.digest]
    lost = await asyncio.create_subprocess_exec(*program, stdout=PIPE)
    async with asyncio.timeout(60):
        assert lost.stdout is not None
        unpacker = int(await lost.stdout.readline())
        while not begun(site.folder, image):
            await asyncio.sleep(0.001)
        os.kill(unpacker, signal.SIGSTOP)
        lost.kill()
        await lost.wait()
    try:
        async with asyncio.timeout(20):
            while runs(unpacker):
                await asyncio.sleep(0.01)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(unpacker, signal.SIGKILL)
    made = await site.roots.ready(tool(), task(image))
    folder = Path(made.reference) / "root" / "d"
    assert (folder / "0").read_bytes() == b"new"
    assert not (folder / "gone").exists()
    assert site.left() == {Path(made.reference).name}


async def test_attempts_write_into_folders_of_their_own(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    image, targets = site.image(layer(file("a"))), []

    async def recorded(name: str, image: Image, registry: SiteRegistry, partial: Path) -> int:
        targets.append(partial)
        raise ImageError("not today")

    monkeypatch.setattr(site.roots, "_unpacked", recorded)
    for _ in range(2):
        with pytest.raises(ImageError):
            await site.roots.ready(tool(), task(image))
    assert len(set(targets)) == 2


async def test_what_is_left_of_one_image_ends_no_other(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by its depth, nor because it cannot be removed."""
    stays, deep = (site.folder / f"sha256-{digit * 64}.part" for digit in "ab")
    stays.mkdir(parents=True)
    nested_folders(deep, 1200)
    for place in (stays, deep):
        os.utime(place, (0, 0))

    def removed(place: Path) -> None:
        if place == stays:
            raise PermissionError(1, "no", str(place))
        remove_tree(place)

    monkeypatch.setattr(runtimes, "remove_tree", removed)
    with capture_logs() as logs:
        made = await site.roots.ready(tool(), task(site.image(layer(file("a")))))
    assert site.left() == {Path(made.reference).name, stays.name}
    assert [line["folder"] for line in logs if line["event"] == "image.leftover_stays"] == [str(stays)]


async def test_job_that_is_given_up_ends_the_unpacking_and_the_next_one_has_it(site: Site) -> None:
    image = site.image(layer(*(file(f"d/{number}", bytes(1000)) for number in range(20_000))))
    waiting = asyncio.create_task(site.roots.ready(tool(), task(image)))
    async with asyncio.timeout(60):
        while not begun(site.folder, image):
            await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    made = await site.roots.ready(tool(), task(image))
    assert len(list((Path(made.reference) / "root" / "d").iterdir())) == 20_000


async def test_other_image_that_comes_meanwhile_takes_no_layer_away(tmp_path: Path) -> None:
    """Where nothing fetched is kept, what is kept is trimmed as soon as an image is there."""
    site = Site(tmp_path, keep_mb=0)
    images = [site.image(layer(file(f"only-{number}", bytes(100_000)))) for number in range(3)]
    made = await asyncio.gather(*(site.roots.ready(tool(), task(image)) for image in images[:1]))
    assert len(made) == 1
    assert list(site.registry.blobs.folder.glob("sha256-" + "?" * 64)) == []


async def test_image_that_nothing_used_since_goes_and_comes_again(site: Site) -> None:
    image = site.image(layer(file("a")))
    made = await site.roots.ready(tool(), task(image))
    (kept,) = site.roots.stored()
    assert kept.name == site.roots.name_of(tool(), task(image))
    assert kept.place == Path(made.reference)
    assert not await site.roots.discard(kept.name, kept.used - 1)
    assert await site.roots.discard(kept.name, time.time() + 1)
    assert site.left() == set()
    assert site.roots.stored() == []
    assert await site.roots.ready(tool(), task(image)) == made


@pytest.mark.parametrize(
    ("more", "image", "reason"),
    [
        ({}, "docker.io/library/python@sha256:" + "0" * 64, "not of the federation's registry"),
        ({"resources": {"gpu": {"count": 1}}}, f"{STORE}/a@sha256:" + "0" * 64, "needs a GPU"),
    ],
)
async def test_what_cannot_run_in_an_unpacked_image_is_said(
    site: Site, more: dict[str, Any], image: str, reason: str
) -> None:
    asked = task(image, **more)
    assert reason in site.roots.lacks(asked)
    assert site.roots.name_of(tool(), asked) is None
    with pytest.raises(SystemFaultError, match=reason) as refused:
        await TaskRuntimes({"sandbox": (site.roots,)}).ready(tool(), asked)
    assert refused.value.code == "system_fault.runtime"
    assert "sandbox cannot: the task" in refused.value.message


async def test_blobs_that_went_before_they_were_unpacked_are_named(site: Site) -> None:
    image = site.image(layer(file("a")))
    Blobs(site.registry.blobs.folder).path(image.config.digest).write_bytes(b"{}")
    with pytest.raises(ImageError, match="was changed: remove it"):
        await site.roots.ready(tool(), task(image))
