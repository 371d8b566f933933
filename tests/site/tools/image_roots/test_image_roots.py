"""Images of the registry as folders: made once, kept by digest, gone when nothing needs them; never half."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.support.oci_images import file, image_of, layer, link

from fedproc.catalog.oci import Blobs, Image, ImageError
from fedproc.common.errors import SystemFaultError
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.site.executors.image_root import image_root
from fedproc.site.settings import RegistrySettings
from fedproc.site.tools.cache import InstalledTool
from fedproc.site.tools.image_roots.runtimes import ImageRoots
from fedproc.site.tools.registry import SiteRegistry
from fedproc.site.tools.runtimes import TaskRuntimes

pytestmark = pytest.mark.slow
STORE = "store.example.org"


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


async def test_job_that_is_given_up_ends_the_unpacking_and_the_next_one_has_it(site: Site) -> None:
    image = site.image(layer(*(file(f"d/{number}", bytes(1000)) for number in range(20_000))))
    waiting = asyncio.create_task(site.roots.ready(tool(), task(image)))
    partial = site.folder / f"{image.digest.replace(':', '-')}.part" / "root" / "d"
    async with asyncio.timeout(60):
        while not partial.exists():
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
