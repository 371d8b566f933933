"""``python -m fedproc.site.tools.image_roots.unpacking``: unpacks one image whose blobs are here, and says how it went.

A program of its own: a layer that is hostile or huge takes neither the orchestrator's memory nor its time.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.catalog.oci import Blobs, Image, ImageError, read_image
from fedproc.common.errors import UnreadableError
from fedproc.site.executors.confinement.etc import write_etc
from fedproc.site.executors.image_root import OWN_PLACES, ROOT, describe
from fedproc.site.tools.image_roots.layers import Room, entries_of
from fedproc.site.tools.image_roots.tree import Tree, remove_tree

MOST_ENTRIES = 1_000_000
_MOST_AT_THE_TOP = 64
_MOST_LAYERS = 256
_MOST_VARIABLES = 1 << 16
"""bytes of all variables: they go to a job by its runner's socket, and by the kernel's arguments"""
_MEMORY = 2 << 30
"""bytes of this program: names of one layer's entries, and zstd's window is another program's"""
_PR_SET_PDEATHSIG = 1
_NICE = 10
_LONGEST_FAULT = 1000
"""letters: names of an image may be as long as a header"""
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}


@dataclass(frozen=True)
class Order:
    """What is unpacked, and where; ``room`` is in bytes. ``parent`` is the process for which it is done."""

    manifest: str
    blobs: str
    target: str
    room: int
    parent: int = 0


def unpack(order: Order) -> int:
    """Unpack; ``target`` is made here, and holds the whole image when this returns. Returns bytes of files.

    Raises :class:`ImageError` or OSError; then ``target`` is half of something.
    """
    image, blobs, target = read_image(order.manifest.encode()), Blobs(Path(order.blobs)), Path(order.target)
    environment = _environment(image, blobs)
    if len(image.layers) > _MOST_LAYERS:
        raise ImageError(f"the image has {len(image.layers)} layers, more than {_MOST_LAYERS}")
    root = target / ROOT
    root.mkdir(parents=True, mode=0o755)
    room = Room(order.room, MOST_ENTRIES)
    tree = Tree(str(root), room)
    for layer in image.layers:
        tree.begin_layer()
        with entries_of(blobs.path(layer.digest), layer, room) as entries:
            for entry, content in entries:
                tree.apply(entry, content)
    _furnish(root, tree)
    tree.close()
    describe(target, environment, room.used)
    _on_the_disk(target)
    return room.used


def _environment(image: Image, blobs: Blobs) -> dict[str, str]:
    """The variables of the image's configuration. Raises :class:`ImageError` if it is for other machines."""
    content = blobs.read(image.config.digest)
    try:
        config: dict[str, Any] = json.loads(content or b"")
        machine, variables = config.get("architecture"), (config.get("config") or {}).get("Env") or []
        found = dict(str(text).partition("=")[::2] for text in variables)
    except (ValueError, AttributeError, TypeError) as error:
        raise ImageError(f"the image's configuration cannot be read: {error!r}") from error
    if machine not in (None, "", _MACHINES.get(platform.machine())):
        raise ImageError(f"the image is for machines of the kind {machine}, and this is {platform.machine()}")
    _check_variables(found)
    return found


def _check_variables(found: dict[str, str]) -> None:
    try:
        size = sum(len(text.encode(errors="surrogateescape")) + 1 for text in (*found, *found.values()))
    except UnicodeEncodeError:
        size = None
    if size is None or "\0" in "".join((*found, *found.values())) or "" in found:
        raise ImageError("the image's configuration has variables that no program can have")
    if size > _MOST_VARIABLES:
        raise ImageError(f"the image's configuration has variables of {size} bytes, more than {_MOST_VARIABLES}")


def _furnish(root: Path, tree: Tree) -> None:
    """What a job needs to find, and an image has in its own way or not at all."""
    etc = Path(tree.resolve("etc"))
    if etc != root / "etc":
        raise ImageError("the image's /etc is a link, which is not supported")
    if (root / "fedproc").is_symlink():  # out of the host's own folder the sandbox shows what lies in it
        raise ImageError("the image's /fedproc is a link, which is not supported")
    write_etc(etc)
    names = {path.name for path in root.iterdir()} - OWN_PLACES
    if len(names) > _MOST_AT_THE_TOP:
        raise ImageError(f"the image has {len(names)} files and folders at its top, more than {_MOST_AT_THE_TOP}")


def _on_the_disk(target: Path) -> None:
    """After a crash of the machine an image is whole or not there."""
    descriptor = os.open(target, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(target))
    finally:
        os.close(descriptor)


def main() -> None:
    """An :class:`Order` comes as JSON; out goes ``{"bytes": …}`` or ``{"fault": …}``."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.nice(_NICE)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o022)
    order = Order(**json.load(sys.stdin))
    if order.parent and os.getppid() != order.parent:  # lost before its death was a signal; nobody holds the lock
        return
    try:
        answer: dict[str, Any] = {"bytes": unpack(order)}
    except (ImageError, UnreadableError) as error:
        answer = {"fault": error.message[:_LONGEST_FAULT]}
    except OSError as error:
        answer = {"fault": f"{error.strerror or error} ({error.filename or order.target})"}
    except (MemoryError, RecursionError):
        answer = {"fault": "unpacking takes more memory than an image may need"}
    print(json.dumps(answer), flush=True)
    if "fault" in answer:
        remove_tree(Path(order.target))


if __name__ == "__main__":
    main()
