"""A tool from its folder to a host that has it ready: published once, fetched by digest, or brought in an archive."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors
import pytest
from tests.support import sites
from tests.support.gateway import NAME, Gateway
from tests.support.registry import needs_docker, registry

from fedproc.catalog.building import image_name
from fedproc.catalog.folder import load_tool
from fedproc.catalog.registry import split
from fedproc.catalog.signing import tool_digest, verify_manifest
from fedproc.common.errors import FedprocError, InvalidInputError, RefusedError, UnreadableError
from fedproc.contract.tool.tool import Manifest
from fedproc.site.tools.prefetch import PrefetchResult, fetch

pytestmark = [needs_docker, pytest.mark.needs_engine]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def published(gateway: Gateway, work: Path, engine: docker.DockerClient) -> Iterator[Manifest]:
    """The tool, as an operator published it with the command line."""
    tool = sites.tiny_tool(work)
    sites.offer_wheel(gateway, work)
    name = image_name(tool_digest(load_tool(tool)), "Dockerfile", None)
    try:
        done = sites.run_cli(gateway, work, "catalog", "publish", str(tool), "--key", str(key(gateway, work)))
        assert done.returncode == 0, done.stderr
        assert "published tiny 1.0.0" in done.stdout
        with_client = sites.operator(gateway)
        signed = with_client.manifest("tiny", "1.0.0")
        with_client.close()
        public = gateway.federation.catalogue_key
        yield verify_manifest(signed, {public.thumbprint(): public})[0]
    finally:
        _forget(engine, name)


def key(gateway: Gateway, work: Path) -> Path:
    return sites.catalogue_key(gateway, work)


def _forget(engine: docker.DockerClient, name: str) -> None:
    with suppress(docker.errors.ImageNotFound):
        engine.images.remove(name, force=True)


@pytest.fixture
def no_image(engine: docker.DockerClient, published: Manifest, gateway: Gateway) -> Iterator[str]:
    """The engine has lost the tool's image, as on a host; gives its id."""
    _, repository, digest = split(_image(published))
    image = registry(gateway, gateway.operator_token()).image(repository, digest).config.digest
    _forget(engine, image)
    yield image
    _forget(engine, image)


def _image(manifest: Manifest) -> str:
    images = {task.runtime.image for task in manifest.tool.tasks}
    assert len(images) == 1
    return str(images.pop())


def fetched(
    gateway: Gateway, folder: Path, executor: str, *tools: str, archive: Path | None = None
) -> list[PrefetchResult]:
    values = sites.settings(gateway, folder, executor, reaches=archive is None)
    return fetch(values, tools, archive, lambda _: None)


# -- publishing


def test_the_signed_manifest_names_the_image(published: Manifest) -> None:
    assert _image(published).startswith(f"{NAME}/tools/tiny@sha256:")
    assert {task.runtime.dockerfile for task in published.tool.tasks} == {"Dockerfile"}


def test_publishing_again_builds_and_changes_nothing(
    gateway: Gateway, published: Manifest, work: Path, no_image: str, engine: docker.DockerClient
) -> None:
    done = sites.run_cli(gateway, work, "catalog", "publish", str(work / "tiny"), "--key", str(key(gateway, work)))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"unchanged tiny 1.0.0  {tool_digest(published)}")
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(no_image)


@pytest.mark.usefixtures("published")
def test_other_content_under_a_published_version_is_refused(gateway: Gateway, work: Path, tmp_path: Path) -> None:
    other = tmp_path / "tiny"
    shutil.copytree(work / "tiny", other)
    (other / "main.py").write_text("print('something else')\n")
    done = sites.run_cli(gateway, tmp_path, "catalog", "publish", str(other), "--key", str(key(gateway, work)))
    assert done.returncode == 1
    assert "raise its version" in done.stderr


def test_a_researcher_cannot_publish(gateway: Gateway, work: Path, tmp_path: Path) -> None:
    tool = sites.tiny_tool(tmp_path, "3.0.0")
    command = ("catalog", "publish", str(tool), "--key", str(key(gateway, work)))
    done = sites.run_cli(gateway, tmp_path, *command, operates=False)
    assert done.returncode == 1
    assert "not allowed" in done.stderr


# -- fetching


def test_a_host_with_docker_has_the_tool_ready(
    gateway: Gateway, published: Manifest, no_image: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    first = fetched(gateway, tmp_path, "docker")
    assert [(o.task, o.ready, o.changed, o.digest) for o in first] == [
        ("say", True, True, tool_digest(published)), ("say-again", True, True, tool_digest(published)),
    ]  # fmt: skip
    assert engine.images.get(no_image).id == no_image
    assert [(o.ready, o.changed) for o in fetched(gateway, tmp_path, "docker")] == [(True, False)] * 2


@pytest.mark.usefixtures("published")
def test_a_host_with_the_sandbox_builds_from_the_store_s_index(gateway: Gateway, tmp_path: Path) -> None:
    assert [o.ready for o in fetched(gateway, tmp_path, "sandbox")] == [True, True]
    python = next((tmp_path / "state" / "environments").glob("*/bin/python"))
    said = subprocess.run(
        [python, "-c", "import fedproc_tiny; print(fedproc_tiny.WORD)"], capture_output=True, check=True
    )
    assert said.stdout == b"it runs\n"
    assert f'"path":"/simple/fedproc-tiny/{sites.WHEEL}","status":200' in (gateway.folder / "access.log").read_text()


@pytest.mark.usefixtures("published")
def test_the_token_is_not_in_what_pip_says(gateway: Gateway, tmp_path: Path) -> None:
    place = gateway.packages / "simple" / "fedproc-tiny"
    place.rename(tmp_path / "away")
    try:
        outcomes = fetched(gateway, tmp_path, "sandbox")
    finally:
        (tmp_path / "away").rename(place)
    assert all(o.failed and not o.ready for o in outcomes)
    assert "fedproc-tiny" in outcomes[0].what
    assert "eyJ" not in "".join(o.what for o in outcomes)


def test_a_tool_that_the_policy_does_not_admit_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="allow-list"):
        fetched(gateway, tmp_path, "docker", "count")


def test_a_tool_that_is_nowhere_is_a_fault_if_it_was_named(gateway: Gateway, tmp_path: Path) -> None:
    values = sites.settings(gateway, tmp_path, "docker")
    (tmp_path / "policy.toml").write_text('[[tools]]\nid = "nowhere"\ndigest = "*"\n')
    (named,) = fetch(values, ("nowhere",), None, lambda _: None)
    (unnamed,) = fetch(values, (), None, lambda _: None)
    assert (named.failed, unnamed.failed) == (True, False)
    assert "no such tool" in named.what


@pytest.mark.usefixtures("published")
def test_a_manifest_of_another_key_is_refused(gateway: Gateway, tmp_path: Path) -> None:
    values = sites.settings(gateway, tmp_path, "docker")
    other = values.centre.model_copy(update={"catalogue_keys": (gateway.keys.key("other").public,)})
    outcomes = fetch(values.model_copy(update={"centre": other}), (), None, lambda _: None)
    assert [(o.ready, o.failed) for o in outcomes] == [(False, True)]


# -- an archive


@pytest.fixture(scope="module")
def archive(gateway: Gateway, published: Manifest, work: Path) -> Path:
    """An archive with the image and, added by hand as its package is nowhere else, the wheel."""
    path = work / "archive.tar"
    done = sites.run_cli(gateway, work, "catalog", "pack", published.tool.id, "--to", str(path))
    assert done.returncode == 0, done.stderr
    with tarfile.open(path, "a") as tar:
        tar.add(sites.tiny_wheel(work), f"wheels/{sites.WHEEL}")
    return path


@pytest.mark.parametrize("executor", ["docker", "sandbox"])
def test_a_host_that_reaches_nothing_takes_a_bundle(
    gateway: Gateway, archive: Path, no_image: str, engine: docker.DockerClient, tmp_path: Path, executor: str
) -> None:
    first = fetched(gateway, tmp_path, executor, archive=archive)
    assert [(o.ready, o.changed, o.failed) for o in first] == [(True, True, False)] * 2, first
    assert executor != "docker" or engine.images.get(no_image).id == no_image
    again = fetched(gateway, tmp_path, executor, archive=archive)
    assert [(o.ready, o.changed) for o in again] == [(True, False)] * 2


def _changed(archive: Path, target: Path, name: str, *, leave_out: bool = False) -> Path:
    """The archive with one member changed, or left out."""
    with tarfile.open(archive) as old, tarfile.open(target, "w") as new:
        for entry in old:
            content = old.extractfile(entry)
            assert content is not None
            if name not in entry.name:
                new.addfile(entry, content)
            elif not leave_out:
                place = target.with_name("changed")
                data = bytearray(content.read())
                data[len(data) // 2] ^= 1
                place.write_bytes(data)
                new.add(place, entry.name)
    return target


@pytest.mark.parametrize("part", ["manifest.jws", "source.tar.gz", "config", "layer", "image"])
def test_a_changed_bundle_is_refused(
    gateway: Gateway, archive: Path, published: Manifest, no_image: str, engine: docker.DockerClient, tmp_path: Path,
    part: str,
) -> None:  # fmt: skip
    _, repository, digest = split(_image(published))
    image = registry(gateway, gateway.operator_token()).image(repository, digest)
    blobs = {"config": image.config.digest, "layer": image.layers[-1].digest, "image": image.digest}
    name = blobs[part].replace(":", "-") if part in blobs else part
    changed = _changed(archive, tmp_path / "changed.tar", name)
    try:
        outcomes = fetched(gateway, tmp_path, "docker", archive=changed)
    except FedprocError as error:
        assert isinstance(error, UnreadableError)
    else:
        assert outcomes
        assert all(o.failed and not o.ready for o in outcomes), outcomes
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(no_image)


def test_what_an_archive_lacks_is_named(gateway: Gateway, archive: Path, tmp_path: Path) -> None:
    less = _changed(archive, tmp_path / "less.tar", "source.tar.gz", leave_out=True)
    outcomes = fetched(gateway, tmp_path, "docker", archive=less)
    assert all("source.tar.gz" in o.what and "not whole" in o.what for o in outcomes)


def test_what_is_no_bundle_is_said(gateway: Gateway, tmp_path: Path) -> None:
    (tmp_path / "no.tar").write_bytes(b"no tar at all" * 1000)
    with pytest.raises(InvalidInputError, match="catalog pack"):
        fetched(gateway, tmp_path, "docker", archive=tmp_path / "no.tar")


def test_two_fetches_at_once_do_not_disturb_each_other(
    gateway: Gateway, published: Manifest, no_image: str, tmp_path: Path
) -> None:
    values = sites.settings(gateway, tmp_path, "docker")

    async def both() -> list[list[PrefetchResult]]:
        one = (asyncio.to_thread(fetch, values, (), None, lambda _: None) for _ in range(2))
        return list(await asyncio.gather(*one))

    assert [[o.ready for o in outcomes] for outcomes in asyncio.run(both())] == [[True, True]] * 2
    assert published
    assert no_image
