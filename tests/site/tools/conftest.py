"""A federation's registry, and an engine with one image to send there."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import docker
import pytest
from tests.support.central_api import Federation
from tests.support.gateway import Gateway
from tests.support.needs import needs
from tests.support.sites import HostIssuer

from fedproc.catalog.oci import Blobs, Image, take_saved
from fedproc.demo.engine import MACHINES_OWN


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
    name = f"fedproc/test-store:{uuid.uuid4().hex}"  # another run may use the same engine
    engine.images.build(path=str(folder), tag=name, rm=True, nocache=True)
    subprocess.run(["docker", "save", "-o", str(folder / "image.tar"), name], check=True)
    engine.images.remove(name)
    blobs = Blobs(folder / "blobs")
    yield take_saved(folder / "image.tar", blobs), blobs
