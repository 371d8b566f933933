"""The root of an image while its layers are laid over each other, by an ordinary user, in a folder of his own.

Nothing leaves the root: links are followed inside it alone, as a job will see them. Devices and pipes are left out, a
job has its own. Of owners and modes that is kept what they let a job do: what it may not read in an engine's container
it may not read here, whoever owns the files outside.
"""

from __future__ import annotations

import os
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from fedproc.catalog.oci import ImageError
from fedproc.site.executors.confinement.disk import MAX_DEPTH
from fedproc.site.executors.confinement.etc import UID
from fedproc.site.tools.image_roots.layers import Room

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OTHERS = ".wh..wh."
"""what a file system of old kept for itself"""
_LIST, _PASS = 4, 1
_MOST_LINKS = 40
_PIECE = 1 << 20
_SHOWN = 60
"""letters of a name in a message"""


def remove_tree(place: Path) -> None:
    """Remove an image's folder, closed ones in it included, however deep. Blocks; does nothing where there is none."""
    _remove(str(place))


class Tree:
    """Below ``root``, an empty folder that nobody else writes.

    Folders that entries only imply are taken from ``room``; of an entry itself the reader of the layer has taken.
    """

    def __init__(self, root: str, room: Room) -> None:
        self._root = root.rstrip("/")
        self._room = room
        self._made: set[str] = set()
        self._closed: dict[str, int] = {}
        """folders that a job may not list or pass, by their place: closed when all is laid out"""

    def begin_layer(self) -> None:
        """What comes now is the next layer's, whose whiteouts hide what lies below it, and nothing of its own."""
        self._made.clear()

    def apply(self, entry: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        """Lay out one entry of a layer. Raises :class:`ImageError` for what no image may hold."""
        parts = _parts(entry.name)
        if not parts:
            return
        folder, name = self._folder(parts[:-1], entry.name), parts[-1]
        place = f"{folder}/{name}"
        if name.startswith(_WHITEOUT):
            self._whiteout(folder, name)
        elif entry.isdir():
            self._make_folder(place, _allowed(entry))
        elif entry.isreg() and content is not None:
            self._write(place, content, entry)
        elif entry.issym():
            self._fresh(place)
            os.symlink(entry.linkname, place)  # noqa: PTH211
        elif entry.islnk():
            self._link(place, entry)
        elif not (entry.isdev() or entry.isfifo()):
            raise ImageError(f"{entry.name!r} is of a kind {entry.type!r} that no image may hold")

    def resolve(self, path: str) -> str:
        """Where a folder of the image lies here. Raises :class:`ImageError` if it is none."""
        return self._folder(_parts(path), path)

    def close(self) -> None:
        """All layers are there."""
        for place in sorted(self._closed, reverse=True):  # what lies inside first
            if os.path.isdir(place) and not os.path.islink(place):  # noqa: PTH112, PTH114
                os.chmod(place, self._closed[place] * 0o111)  # noqa: PTH101

    # -- kinds of entries ------------------------------------------------------------------------

    def _make_folder(self, place: str, allowed: int) -> None:
        if os.path.islink(place) or not os.path.isdir(place):  # noqa: PTH112, PTH114 (text: of a million entries)
            self._fresh(place)
            self._new_folder(place)
        self._made.add(place)
        self._closed.pop(place, None)
        if allowed != _LIST | _PASS:
            self._closed[place] = allowed

    def _new_folder(self, place: str) -> None:
        inside = place[len(self._root) :]
        if inside.count("/") > MAX_DEPTH:
            raise ImageError(f"the image nests folders deeper than {MAX_DEPTH} ({inside[:_SHOWN]}…)")
        os.mkdir(place, 0o755)  # noqa: PTH102

    def _write(self, place: str, content: IO[bytes], entry: tarfile.TarInfo) -> None:
        self._fresh(place)
        allowed = _allowed(entry)
        mode = allowed * 0o111 | (0o200 if allowed & _LIST else 0)
        descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        with open(descriptor, "wb") as target:  # noqa: PTH123
            _copy(content, target, entry)
            os.fchmod(descriptor, mode)

    def _link(self, place: str, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.linkname)
        if not parts:
            raise ImageError(f"{entry.name!r} is a hard link to nothing")
        source = f"{self._folder(parts[:-1], entry.name, make=False)}/{parts[-1]}"
        if not os.path.lexists(source) or (os.path.isdir(source) and not os.path.islink(source)):  # noqa: PTH112, PTH114
            raise ImageError(f"{entry.name!r} is a hard link to {entry.linkname!r}, which is no file of the image")
        if source == place:
            return
        self._fresh(place)
        os.link(source, place, follow_symlinks=False)

    def _whiteout(self, folder: str, name: str) -> None:
        if name == _OPAQUE:
            self._hide_below(folder)
            return
        if name.startswith(_OTHERS):
            return
        hidden_name = name.removeprefix(_WHITEOUT)
        if hidden_name in ("", ".", ".."):
            raise ImageError(f"{name!r} is a whiteout of nothing")
        place = f"{folder}/{hidden_name}"
        if place not in self._made:
            _remove(place)

    def _hide_below(self, folder: str) -> None:
        """All that this layer did not bring itself."""
        with os.scandir(folder) as found:
            below = [(one.path, one.is_dir(follow_symlinks=False)) for one in found]
        for place, is_folder in below:
            if place not in self._made:
                _remove(place)
            elif is_folder:
                self._hide_below(place)

    # -- places ----------------------------------------------------------------------------------

    def _fresh(self, place: str) -> None:
        """Nothing is at this place any more; what will be is this layer's."""
        _remove(place)
        self._made.add(place)

    def _folder(self, parts: list[str], name: str, *, make: bool = True) -> str:
        """The folder at this path of the image, made where it is missing; links are followed inside the root."""
        place, left, links = self._root, parts[::-1], 0
        while left:
            part = left.pop()
            if part == "..":
                place = place if place == self._root else place.rpartition("/")[0]
                continue
            inner = f"{place}/{part}"
            try:
                target = os.readlink(inner)  # noqa: PTH115
            except OSError:
                place = self._inner(inner, name, make=make)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise ImageError(f"{name!r} leads over links without end")
            if target.startswith("/"):
                place = self._root
            left += _split(target)[::-1]
        return place

    def _inner(self, inner: str, name: str, *, make: bool) -> str:
        if os.path.isdir(inner):  # noqa: PTH112
            return inner
        if not make:
            raise ImageError(f"{name!r} is a hard link into a folder that is not there")
        if os.path.lexists(inner):
            raise ImageError(f"{name!r} lies below what is no folder")
        self._room.take(0)
        self._new_folder(inner)
        self._made.add(inner)
        self._closed.pop(inner, None)
        return inner


def _allowed(entry: tarfile.TarInfo) -> int:
    """What a job may do with it, as three bits of a mode without the one for writing."""
    shift = 6 if entry.uid == UID else 3 if entry.gid == UID else 0
    return entry.mode >> shift & (_LIST | _PASS)


def _parts(name: str) -> list[str]:
    parts = _split(name)
    if ".." in parts:
        raise ImageError(f"{name!r} leads out of the image's root")
    return parts


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _copy(content: IO[bytes], target: IO[bytes], entry: tarfile.TarInfo) -> None:
    """No byte more than the entry was taken from the room for, whatever its header makes of its content."""
    left = entry.size
    while piece := content.read(_PIECE):
        left -= len(piece)
        if left < 0:
            raise ImageError(f"{entry.name[:_SHOWN]!r} has more than the {entry.size} bytes that it says")
        target.write(piece)


def _remove(place: str) -> None:
    """What is here, however deep; the interpreter's recursion has an end, and shutil's removal recurses."""
    if not _is_folder(place):
        with suppress(FileNotFoundError):
            os.unlink(place)  # noqa: PTH108
        return
    open_folders = [place]
    while open_folders:
        inner = _emptied(open_folders[-1])
        if not inner:
            os.rmdir(open_folders.pop())  # noqa: PTH106
        open_folders += inner


def _emptied(place: str) -> list[str]:
    """Remove what is no folder; returns the folders that are left."""
    os.chmod(place, 0o700)  # noqa: PTH101
    with os.scandir(place) as found:
        entries = [(entry.path, entry.is_dir(follow_symlinks=False)) for entry in found]
    for path, is_folder in entries:
        if not is_folder:
            os.unlink(path)  # noqa: PTH108
    return [path for path, is_folder in entries if is_folder]


def _is_folder(place: str) -> bool:
    return os.path.isdir(place) and not os.path.islink(place)  # noqa: PTH112, PTH114
