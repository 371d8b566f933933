"""Images as files: taken from an engine, checked, written for one; and which image belongs to a tool."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

import pytest

from fedproc.catalog.folder import load_tool
from fedproc.catalog.naming import is_published_as, to_build, with_images
from fedproc.catalog.oci import Blobs, Image, digest_of, for_engine, read_image, take_saved
from fedproc.catalog.wheels import project
from fedproc.common.errors import UnreadableError
from fedproc.contract.tool.tool import Manifest

CATALOGUE = Path(__file__).parents[2] / "tool_catalog"
IMAGE = "store.fedproc.test/tools/x@sha256:" + "a" * 64
CONFIG = b'{"architecture":"amd64","os":"linux"}'
LAYERS = (b"one layer" * 500, b"another" * 700)


def saved(path: Path, layers: tuple[bytes, ...] = LAYERS, linked: int | None = None) -> Path:
    """An archive as an engine saves it; the layer with the number ``linked`` is a link to the first."""
    names = [f"{number}/layer.tar" for number in range(len(layers))]
    listed = [{"Config": "config.json", "RepoTags": ["x:1"], "Layers": names}]
    with tarfile.open(path, "w") as tar:
        for name, content in (("config.json", CONFIG), ("manifest.json", json.dumps(listed).encode())):
            _add(tar, name, content)
        for number, (name, content) in enumerate(zip(names, layers, strict=True)):
            if number == linked:
                entry = tarfile.TarInfo(name)
                entry.type, entry.linkname = tarfile.SYMTYPE, "../0/layer.tar"
                tar.addfile(entry)
            else:
                _add(tar, name, content)
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Image, Blobs]:
    blobs = Blobs(tmp_path / "blobs")
    return take_saved(saved(tmp_path / "image.tar"), blobs), blobs


def test_a_saved_image_becomes_blobs_of_compressed_layers(made: tuple[Image, Blobs]) -> None:
    image, blobs = made
    assert image.config.digest == digest_of(CONFIG)
    assert [gzip.decompress(blobs.path(layer.digest).read_bytes()) for layer in image.layers] == list(LAYERS)
    assert all(blobs.path(blob.digest).stat().st_size == blob.size for blob in image.blobs)
    assert read_image(image.content) == image


def test_the_same_image_has_the_same_digest(made: tuple[Image, Blobs], tmp_path: Path) -> None:
    assert take_saved(saved(tmp_path / "again.tar"), Blobs(tmp_path / "others")).digest == made[0].digest


def test_a_layer_that_is_a_link_and_one_that_is_compressed_are_taken(tmp_path: Path) -> None:
    packed = gzip.compress(LAYERS[0])
    blobs = Blobs(tmp_path / "blobs")
    image = take_saved(saved(tmp_path / "image.tar", (packed, b""), linked=1), blobs)
    assert [layer.digest for layer in image.layers] == [digest_of(packed)] * 2


def test_what_is_written_for_an_engine_is_the_image(made: tuple[Image, Blobs], tmp_path: Path) -> None:
    image, blobs = made
    written = tmp_path / "for-engine.tar"
    written.write_bytes(b"".join(for_engine(image, blobs, "store.test/tools/x:1")))
    with tarfile.open(written) as tar:
        index = json.loads(tar.extractfile("index.json").read())
        manifest = tar.extractfile("blobs/" + image.digest.replace(":", "/")).read()
    assert index["manifests"][0]["digest"] == image.digest
    assert manifest == image.content
    assert take_saved(written, Blobs(tmp_path / "others")).blobs == image.blobs


@pytest.mark.parametrize("content", [
    b"", b"[]", b"{}", b'{"config": 1, "layers": []}',
    json.dumps({"config": {"digest": "sha256:../../etc/passwd", "size": 1, "mediaType": "x"}, "layers": []}).encode(),
    json.dumps({"config": {"digest": "md5:" + "a" * 32, "size": 1, "mediaType": "x"}, "layers": []}).encode(),
])  # fmt: skip
def test_what_is_no_manifest_is_not_read(content: bytes) -> None:
    with pytest.raises(UnreadableError):
        read_image(content)


def test_only_what_has_its_digest_gets_in(tmp_path: Path) -> None:
    blobs, digest = Blobs(tmp_path), digest_of(b"right")
    with blobs.partial(digest) as partial:
        partial.write_bytes(b"wrong")
        with pytest.raises(UnreadableError, match="was changed"):
            blobs.finish(digest, partial)
        assert not partial.exists()
    assert blobs.read(digest) is None
    blobs.add(b"right")
    blobs.path(digest).write_bytes(b"later")
    with pytest.raises(UnreadableError, match="was changed"):
        blobs.read(digest)


def test_what_was_longest_not_used_goes_first(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    digests = [blobs.add(bytes([number]) * 100) for number in range(4)]
    for age, digest in enumerate(digests):
        os.utime(blobs.path(digest), (1_000_000 - age, 1_000_000 - age))
    blobs.trim(250)
    assert [blobs.path(digest).exists() for digest in digests] == [True, True, False, False]


@pytest.mark.parametrize(
    ("wheel", "name"),
    [("numpy-2.0-cp313-cp313-manylinux.whl", "numpy"), ("typing_extensions-4-py3-none-any.whl", "typing-extensions"),
     ("Zope.Interface-1-py3-none-any.whl", "zope-interface")],
)  # fmt: skip
def test_packages_lie_under_their_normalised_name(wheel: str, name: str) -> None:
    assert project(wheel) == name


@pytest.fixture(scope="module")
def tool() -> Manifest:
    return load_tool(CATALOGUE / "flower_logistic")


@pytest.mark.slow
def test_a_tool_is_recognised_with_its_images(tool: Manifest) -> None:
    assert to_build(tool) == ("Dockerfile",)
    built = with_images(tool, {"Dockerfile": IMAGE})
    assert to_build(built) == ()
    assert {task.runtime.image for task in built.tool.tasks} == {IMAGE}
    assert is_published_as(tool, built)
    assert is_published_as(tool, tool)


def test_another_tool_is_not(tool: Manifest) -> None:
    built = with_images(tool, {"Dockerfile": IMAGE})
    changed = tool.files[0].model_copy(update={"sha256": hashlib.sha256(b"changed").hexdigest()})
    assert not is_published_as(tool.model_copy(update={"files": (changed, *tool.files[1:])}), built)
    described = tool.tool.model_copy(update={"version": "9.9.9"})
    assert not is_published_as(tool.model_copy(update={"tool": described}), built)


def test_an_image_that_the_author_names_is_the_author_s(tool: Manifest) -> None:
    own = with_images(tool, {"Dockerfile": IMAGE})
    other = with_images(tool, {"Dockerfile": IMAGE.replace("aaaa", "bbbb")})
    assert not is_published_as(own, other)
