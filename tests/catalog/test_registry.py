"""What a registry, or something in its place, answers is told with what to do."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedproc.catalog.oci import OCI_MANIFEST, Blobs, Descriptor, Image
from fedproc.catalog.registry import Registry
from fedproc.common.errors import NotFoundError, SystemFaultError

LAYER = b"layer"
DIGEST = f"sha256:{hashlib.sha256(LAYER).hexdigest()}"
OF_THE_API = {"content-type": "application/problem+json"}
OF_NGINX = {"content-type": "text/html"}
OF_A_REGISTRY = {"content-type": "application/json", "Docker-Distribution-Api-Version": "registry/2.0"}


def registry(*answers: httpx.Response) -> Registry:
    left = list(answers)
    http = httpx.Client(transport=httpx.MockTransport(lambda _: left.pop(0)))
    return Registry("store.example", "https://gateway.example", lambda _: "t", http, attempts=1)


@pytest.mark.parametrize("headers", [OF_THE_API, OF_NGINX])
def test_name_that_the_gateway_does_not_know_is_told_and_is_no_missing_image(headers: dict[str, str]) -> None:
    with pytest.raises(SystemFaultError, match=r"'store\.example' the name that the gateway has for its store"):
        registry(httpx.Response(404, headers=headers)).image("tool", DIGEST)


def test_name_that_the_gateway_does_not_know_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(SystemFaultError, match="what answers there is no registry"):
        registry(httpx.Response(404, headers=OF_THE_API)).push("tool", *image(tmp_path))


def test_image_that_a_registry_does_not_have_is_missed() -> None:
    with pytest.raises(NotFoundError, match="publish the tool again"):
        registry(httpx.Response(404, headers=OF_A_REGISTRY)).image("tool", DIGEST)


def test_file_that_the_gateway_lets_not_through_is_told_with_its_size(tmp_path: Path) -> None:
    place = httpx.Response(202, headers={"Location": "/v2/tool/blobs/uploads/1"})
    too_large = httpx.Response(413, headers=OF_NGINX, text="<html>Request Entity Too Large</html>")
    with pytest.raises(SystemFaultError, match=r"no body of 5 bytes through; .*client_max_body_size 0") as told:
        registry(httpx.Response(404, headers=OF_A_REGISTRY), place, too_large).push("tool", *image(tmp_path))
    assert "<html>" not in told.value.message


def image(folder: Path) -> tuple[Any, Blobs]:
    blobs = Blobs(folder)
    blobs.add(LAYER)
    return Image(b"{}", OCI_MANIFEST, Descriptor(DIGEST, len(LAYER), "application/json"), ()), blobs
