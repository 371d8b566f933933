"""Images to the registry and from there to a host, through the gateway's own configuration and Debian's registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import docker
import docker.errors
import httpx
import pytest
from tests.support.gateway import NAME, Gateway
from tests.support.registry import needs_docker, registry, site_registry

from fedproc.catalog.oci import Blobs, Image, ImageError
from fedproc.common.errors import (
    FedprocError,
    ForbiddenError,
    NotAuthenticatedError,
    NotFoundError,
    UnavailableError,
    UnreadableError,
)
from fedproc.common.tls import client_context
from fedproc.contract.tool.task import Task
from fedproc.contract.tool.tool import Manifest
from fedproc.demo.engine import MACHINES_OWN
from fedproc.site.settings import DockerSettings
from fedproc.site.tools.cache import InstalledTool
from fedproc.site.tools.images import ImageRuntimes

pytestmark = [needs_docker, pytest.mark.needs_engine]
Made = tuple[Image, Blobs]


@pytest.fixture(scope="module")
def reference(gateway: Gateway, image: Made) -> str:
    """The image in the registry, as an operator sent it there."""
    return registry(gateway, gateway.operator_token()).push("tools/small", *image)


@pytest.fixture
def forgotten(engine: docker.DockerClient, image: Made) -> Iterator[None]:
    """The engine does not have the image, before and after."""

    def forget() -> None:
        with suppress(docker.errors.ImageNotFound):
            engine.images.remove(image[0].config.digest, force=True)

    forget()
    yield
    forget()


def installed() -> InstalledTool:
    return InstalledTool(Manifest.model_construct(), Path("/nowhere"), "sha256:" + "0" * 64)


def task(image: str) -> Task:
    return Task.model_validate(
        {"name": "look", "placement": "worker", "command": ["/none"], "runtime": {"image": image}}
    )


def images(gateway: Gateway, folder: Path, token: str) -> ImageRuntimes:
    return ImageRuntimes(DockerSettings(socket=f"unix://{MACHINES_OWN}"), site_registry(gateway, folder, token))


@pytest.mark.usefixtures("forgotten")
async def test_a_host_gets_the_image_by_digest_with_its_token(
    gateway: Gateway, reference: str, image: Made, engine: docker.DockerClient, tmp_path: Path
) -> None:
    runtime = await images(gateway, tmp_path, gateway.host_token()).ready(installed(), task(reference))
    assert runtime.reference == image[0].config.digest
    container = engine.containers.create(runtime.reference)
    try:
        content = b"".join(container.get_archive("/two")[0])
    finally:
        container.remove()
    assert bytes(range(256)) * 8000 in content


@pytest.mark.usefixtures("forgotten")
async def test_what_was_fetched_needs_no_store_any_more(gateway: Gateway, reference: str, tmp_path: Path) -> None:
    first = await images(gateway, tmp_path, gateway.host_token()).ready(installed(), task(reference))
    again = await images(gateway, tmp_path, "no token at all").ready(installed(), task(reference))
    assert again == first


def test_sending_again_changes_nothing(gateway: Gateway, reference: str, image: Made) -> None:
    assert registry(gateway, gateway.operator_token()).push("tools/small", *image) == reference


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(("whose", "error"), [("nobody", NotAuthenticatedError), ("old", NotAuthenticatedError)])
def test_who_has_no_good_token_gets_nothing(gateway: Gateway, image: Made, whose: str, error: type) -> None:
    token = {"nobody": "nothing", "old": gateway.old_token()}[whose]
    with pytest.raises(error, match=r"HTTP 401.*token"):
        registry(gateway, token).image("tools/small", image[0].digest)


def test_an_expired_token_is_renewed_once(gateway: Gateway, reference: str, image: Made, tmp_path: Path) -> None:
    tokens = {False: gateway.old_token()}

    def token(fresh: bool) -> str:
        if fresh:
            tokens[False] = gateway.host_token()
        return tokens[False]

    found = registry(gateway, token).image("tools/small", image[0].digest)
    registry(gateway, token).fetch("tools/small", found, Blobs(tmp_path))
    assert reference.endswith(found.digest)


def test_a_revoked_host_is_out_at_once(gateway: Gateway, reference: str, image: Made, tmp_path: Path) -> None:
    caller = registry(gateway, gateway.host_token("FORTH"))
    found = caller.image("tools/small", image[0].digest)
    enrolment = gateway.federation.books.hosts.enrolment("FORTH").model_dump(mode="json")
    with gateway.federation.operator() as operator:
        operator.put("/hosts/FORTH", json={**enrolment, "active": False})
        try:
            with pytest.raises(ForbiddenError, match="HTTP 403"):
                caller.fetch("tools/small", found, Blobs(tmp_path))
        finally:
            operator.put("/hosts/FORTH", json={**enrolment, "active": True})
    assert reference


@pytest.mark.parametrize("repository", ["tools/small", "tools/new"])
def test_a_host_cannot_send(gateway: Gateway, image: Made, repository: str) -> None:
    with pytest.raises(ForbiddenError, match="a host reads only"):
        registry(gateway, gateway.host_token()).push(repository, *image)


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_no_method_but_reading_is_for_hosts(gateway: Gateway, method: str) -> None:
    with httpx.Client(verify=client_context(gateway.keys.ca_file), trust_env=False) as http:
        headers = {"Authorization": f"Bearer {gateway.host_token()}", "Host": NAME}
        for path in ("/v2/tools/small/blobs/uploads/", "/v2/tools/small/manifests/latest", "/simple/x/"):
            assert http.request(method, gateway.url + path, headers=headers).status_code == 403, path


def test_the_registry_is_not_led_to_by_other_names(gateway: Gateway) -> None:
    with httpx.Client(verify=client_context(gateway.keys.ca_file), trust_env=False) as http:
        headers = {"Authorization": f"Bearer {gateway.host_token()}"}
        for name in ("api.fedproc.test", "auth.fedproc.test", "other.test"):
            assert http.get(f"{gateway.url}/v2/", headers={**headers, "Host": name}).status_code == 404
        assert http.get(f"{gateway.url}/v2/", headers={**headers, "Host": NAME}).status_code == 200
        assert http.get(f"{gateway.url}/access", headers={**headers, "Host": NAME}).status_code == 404


def test_what_is_not_there_is_named(gateway: Gateway) -> None:
    with pytest.raises(NotFoundError, match="publish the tool again"):
        registry(gateway, gateway.host_token()).image("tools/small", "sha256:" + "1" * 64)


def test_a_store_that_does_not_answer_is_named(gateway: Gateway, image: Made, tmp_path: Path) -> None:
    away = Gateway.__new__(Gateway)
    away.keys, away.url = gateway.keys, "https://localhost:9"
    with pytest.raises(UnavailableError, match=r"localhost:9 does not answer.*proxy"):
        registry(away, "token").image("tools/small", image[0].digest)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between attempts do not grow."""
    monkeypatch.setattr("fedproc.catalog.registry._LONGEST_PAUSE", 0.2)


def _blob_in_store(gateway: Gateway, digest: str) -> Path:
    digits = digest.removeprefix("sha256:")
    return gateway.images / "docker/registry/v2/blobs/sha256" / digits[:2] / digits / "data"


@pytest.mark.usefixtures("forgotten", "impatient")
@pytest.mark.parametrize("part", ["manifest", "config", "layer"])
async def test_what_was_changed_in_the_store_is_refused(
    gateway: Gateway, reference: str, image: Made, engine: docker.DockerClient, tmp_path: Path, part: str
) -> None:
    made = image[0]
    digest = {"manifest": made.digest, "config": made.config.digest, "layer": made.layers[1].digest}[part]
    place = _blob_in_store(gateway, digest)
    content = place.read_bytes()
    place.write_bytes(content[:-20] + bytes(20))
    try:
        with pytest.raises(FedprocError) as error:
            await images(gateway, tmp_path, gateway.host_token()).ready(installed(), task(reference))
    finally:
        place.write_bytes(content)
    assert "was changed" in str(error.value) or "HTTP 5" in str(error.value) or "no such image" in str(error.value)
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(made.config.digest)


def test_a_download_is_gone_on_with(gateway: Gateway, reference: str, image: Made, tmp_path: Path) -> None:
    blobs, made = Blobs(tmp_path), image[0]
    layer = made.layers[0]
    with blobs.partial(layer.digest) as partial:
        partial.write_bytes(image[1].path(layer.digest).read_bytes()[: layer.size // 2])
    registry(gateway, gateway.host_token()).fetch("tools/small", made, blobs)
    assert blobs.has(layer)
    log = (gateway.folder / "access.log").read_text()
    assert f'"path":"/v2/tools/small/blobs/{layer.digest}","status":206' in log
    assert reference


def test_a_damaged_part_is_not_kept(gateway: Gateway, reference: str, image: Made, tmp_path: Path) -> None:
    blobs, made = Blobs(tmp_path), image[0]
    layer = made.layers[0]
    with blobs.partial(layer.digest) as partial:
        partial.write_bytes(b"x" * (layer.size // 2))
    with pytest.raises(UnreadableError, match="was changed"):
        registry(gateway, gateway.host_token()).fetch("tools/small", made, blobs)
    registry(gateway, gateway.host_token()).fetch("tools/small", made, blobs)
    assert blobs.has(layer)
    assert reference


async def test_an_image_from_elsewhere_is_not_fetched(gateway: Gateway, tmp_path: Path) -> None:
    other = "registry.invalid/tool@sha256:" + "0" * 64
    with pytest.raises(ImageError, match=r"docker\.registries"):
        await images(gateway, tmp_path, gateway.host_token()).ready(installed(), task(other))


@pytest.mark.usefixtures("forgotten")
async def test_image_that_nobody_uses_is_removed_and_fetched_again(
    gateway: Gateway, reference: str, image: Made, engine: docker.DockerClient, tmp_path: Path
) -> None:
    found = ImageRuntimes(
        DockerSettings(socket=f"unix://{MACHINES_OWN}"),
        site_registry(gateway, tmp_path, gateway.host_token()),
        tmp_path / "used",
    )
    runtime = await found.ready(installed(), task(reference))
    [stored] = found.stored()
    assert stored.name == reference == found.name_of(installed(), task(reference))
    assert stored.size > 0
    container = engine.containers.create(runtime.reference)
    assert not await found.discard(reference, stored.used + 1)
    container.remove()
    assert not await found.discard(reference, stored.used - 1)
    assert await found.discard(reference, stored.used + 1)
    assert found.stored() == []
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(runtime.reference)
    assert await found.ready(installed(), task(reference)) == runtime


@pytest.mark.usefixtures("forgotten")
async def test_image_that_a_daemon_before_fetched_is_removed(
    gateway: Gateway, reference: str, engine: docker.DockerClient, tmp_path: Path
) -> None:
    def daemon() -> ImageRuntimes:
        settings = DockerSettings(socket=f"unix://{MACHINES_OWN}")
        return ImageRuntimes(settings, site_registry(gateway, tmp_path, gateway.host_token()), tmp_path / "used")

    runtime = await daemon().ready(installed(), task(reference))
    later = daemon()
    [stored] = later.stored()
    assert await later.discard(reference, stored.used + 1)
    with pytest.raises(docker.errors.ImageNotFound):
        engine.images.get(runtime.reference)
