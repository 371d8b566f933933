"""A federation's registry, and an engine with one image to send there."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import docker
import httpx
import pytest
from tests.support.central_api import Federation
from tests.support.gateway import NAME, Gateway
from tests.support.needs import needs
from tests.support.sites import HostIssuer

from fedproc.catalog.oci import Blobs, Image, take_saved
from fedproc.catalog.registry import Registry, Token
from fedproc.demo.engine import MACHINES_OWN, answers
from fedproc.site.centre.identity import tls_context
from fedproc.site.settings import RegistrySettings
from fedproc.site.tools.registry import SiteRegistry

needs_docker = pytest.mark.skipif(not answers(MACHINES_OWN), reason="no Docker engine runs on this machine")


@pytest.fixture(scope="session")
@needs("server")
def issuer() -> Iterator[HostIssuer]:
    with HostIssuer() as running:
        yield running


@pytest.fixture(scope="module")
@needs("process")
def gateway(tmp_path_factory: pytest.TempPathFactory, issuer: HostIssuer) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("store")
    (folder / "centre").mkdir()
    with Federation(f"sqlite:///{folder}/central.db", folder / "centre", issuer) as federation:
        federation.enrol_everyone()
        with Gateway(folder, federation) as running:
            yield running


@pytest.fixture(scope="module")
@needs("needs_engine")
def engine() -> Iterator[docker.DockerClient]:
    client = docker.DockerClient(f"unix://{MACHINES_OWN}", version="auto", timeout=120)
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Image, Blobs]]:
    """A small image of two layers, which the engine does not have any more."""
    folder = tmp_path_factory.mktemp("image")
    for number in (1, 2):
        (folder / f"file-{number}").write_bytes(bytes(range(256)) * 4000 * number)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY file-1 /one\nCOPY file-2 /two\nCMD ["/none"]\n')
    name = f"fedproc/test-store:{folder.name}"
    engine.images.build(path=str(folder), tag=name, rm=True, nocache=True)
    subprocess.run(["docker", "save", "-o", str(folder / "image.tar"), name], check=True)
    engine.images.remove(name)
    blobs = Blobs(folder / "blobs")
    yield take_saved(folder / "image.tar", blobs), blobs


def registry(gateway: Gateway, token: str | Token) -> Registry:
    http = httpx.Client(verify=tls_context(gateway.keys.ca_file), trust_env=False, timeout=30)
    return Registry(NAME, gateway.url, token if callable(token) else lambda _: token, http, attempts=2)


def site_registry(gateway: Gateway, folder: Path, token: str | Token) -> SiteRegistry:
    settings = RegistrySettings(name=NAME, url=gateway.url)
    return SiteRegistry(
        settings, gateway.keys.ca_file, folder, "host-UB", token if callable(token) else lambda _: token
    )
