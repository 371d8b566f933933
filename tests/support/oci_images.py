"""Images of tar layers, made here: as an engine would have saved them, or as none would."""

from __future__ import annotations

import gzip
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fedproc.catalog.oci import CONFIG, OCI_MANIFEST, Blobs, Descriptor, Image, digest_of, read_image
from fedproc.common.files import sha256_of

LAYER = "application/vnd.oci.image.layer.v1.tar"
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
Entry = tuple[str, Any]


def layer(*entries: tarfile.TarInfo | tuple[tarfile.TarInfo, bytes]) -> bytes:
    """A plain tar of these entries, as they are."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as archive:
        for entry in entries:
            info, content = entry if isinstance(entry, tuple) else (entry, b"")
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def file(name: str, content: bytes = b"x", mode: int = 0o644) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    return info, content


def folder(name: str, mode: int = 0o755) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def link(name: str, target: str, *, hard: bool = False) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.LNKTYPE if hard else tarfile.SYMTYPE, target
    return info


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.devmajor, info.devminor = kind, 0o666, 1, 3
    return info


def image_of(blobs: Blobs, layers: Iterable[bytes], **config: Any) -> Image:
    """Put an image of these layers into ``blobs``, packed by gzip unless they are packed already."""
    described = {"architecture": MACHINE, "os": "linux", "config": {"Env": []}, **config}
    content = json.dumps(described).encode()
    blobs.add(content)
    placed = []
    for each in layers:
        packed = gzip.compress(each, 1, mtime=0) if each[:2] not in (b"\x1f\x8b", b"\x28\xb5") else each
        blobs.add(packed)
        placed.append(Descriptor(digest_of(packed), len(packed), f"{LAYER}+gzip"))
    return _image(Descriptor(digest_of(content), len(content), CONFIG), placed)


def image_of_tar(blobs: Blobs, tar: Path) -> Image:
    """The same of one large layer, a file that stays as it is."""
    content = json.dumps({"architecture": MACHINE, "os": "linux", "config": {"Env": ["LANG=C.UTF-8"]}}).encode()
    digest = f"sha256:{sha256_of(tar)}"
    blobs.add(content)
    shutil.copyfile(tar, blobs.path(digest))
    return _image(Descriptor(digest_of(content), len(content), CONFIG), [Descriptor(digest, tar.stat().st_size, LAYER)])


def _image(config: Descriptor, layers: list[Descriptor]) -> Image:
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.as_json(),
        "layers": [one.as_json() for one in layers],
    }
    return read_image(json.dumps(manifest).encode())
