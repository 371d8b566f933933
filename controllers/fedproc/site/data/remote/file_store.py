"""What was fetched from a PACS or a Data API, kept at the host by its sha256: the same bytes are there once.

A file that a job sees is linked from here, and so has a second name: what has one name only may go. A series has a
marker, written when all of its files are there; while it is fetched, a line for each file that has come. Methods block.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple

from fedproc.common.files import replacing, sha256_of
from fedproc.site.data.remote.errors import RemoteError


class Kept(NamedTuple):
    """One file: the sha256 of its bytes as hex, its size in bytes, and what in it may tell who a person is."""

    sha256: str
    size: int
    kinds: tuple[str, ...] = ()


@dataclass
class Incoming:
    """A file that comes; :meth:`write` takes what the store has room for."""

    file: BinaryIO
    largest: int
    store: Store
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def write(self, chunk: bytes) -> None:
        """Raises :class:`RemoteError` for more than one file may have, or the store has room for; OSError."""
        if self.size + len(chunk) > self.largest:
            raise RemoteError(f"one file has more than {self.largest >> 20} MB (fetching.largest_mb)")
        self.store.make_room(len(chunk))
        self.size += len(chunk)
        self.digest.update(chunk)
        self.file.write(chunk)


class Store:
    """The files in ``folder``, not more than ``limit`` bytes of them; what one process keeps there, no other does."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._lock = threading.RLock()
        self._size: int | None = None
        self._claimed: Counter[str] = Counter()
        """fetched, and not yet linked to where its job sees it"""
        self._seen: dict[str, tuple[int, int]] = {}
        """inode and time of what this process wrote, or has hashed"""

    @property
    def size(self) -> int:
        """Bytes that are there, or come."""
        with self._lock:
            self._open()
            return self._size or 0

    def path(self, sha256: str) -> Path:
        """Where the file of this hash is, if it is."""
        return self.folder / "files" / sha256[:2] / sha256

    def has(self, kept: Kept, name: str | None = None) -> bool:
        """Whether the file is there, by ``name`` if it is kept by another than its hash; it was used now.

        One that this process has not seen is read: power may have failed, or somebody changed it.
        """
        path = self.path(name or kept.sha256)
        try:
            found = path.stat()
            is_good = self._was_seen(path.name, found) or sha256_of(path) == kept.sha256
        except FileNotFoundError:
            return False
        if not is_good:
            self._forget(path, found.st_size)
            return False
        self._seen[path.name] = (found.st_ino, found.st_mtime_ns)
        os.utime(path, ns=(time.time_ns(), found.st_mtime_ns))  # the time of its change is a part of frozen cohorts
        return found.st_size == kept.size

    def _was_seen(self, name: str, found: os.stat_result) -> bool:
        return self._seen.get(name) == (found.st_ino, found.st_mtime_ns)

    def of(self, source: str) -> SourceStore:
        """What of it came from one source."""
        return SourceStore(self, source)

    @contextmanager
    def incoming(self, largest: int) -> Iterator[Incoming]:
        """A file that comes; what the block has not taken with :meth:`take` goes away."""
        self._open()
        partial = self.folder / "incoming" / f"{os.getpid()}-{threading.get_ident()}-{time.monotonic_ns()}"
        come = None
        try:
            with partial.open("x+b") as file:
                come = Incoming(file, largest, self)
                yield come
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()
                self._count(-(come.size if come else 0))

    def take(self, come: Incoming, name: str | None = None) -> Kept:
        """Keep a file that has come whole, by its hash or ``name``; it is claimed until :meth:`release`."""
        come.file.flush()
        kept = Kept(come.digest.hexdigest(), come.size)
        with self._lock:
            self.claim([kept._replace(sha256=name or kept.sha256)])
            self._put(come, self.path(name or kept.sha256))
        return kept

    def _put(self, come: Incoming, target: Path) -> None:
        """One that is there and was not seen is replaced: what has come is known."""
        with suppress(FileNotFoundError):
            found = target.stat()
            if self._was_seen(target.name, found):
                return
            self._forget(target, found.st_size)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.fchmod(come.file.fileno(), 0o644)
        Path(come.file.name).rename(target)
        stands = os.fstat(come.file.fileno())
        self._seen[target.name] = (stands.st_ino, stands.st_mtime_ns)

    def claim(self, files: Iterable[Kept]) -> None:
        """They do not go before :meth:`release`."""
        with self._lock:
            self._claimed.update(kept.sha256 for kept in files)

    def release(self, files: Iterable[Kept]) -> None:
        """Of those claimed: jobs see what they need by links of their own."""
        with self._lock:
            self._claimed.subtract(kept.sha256 for kept in files)
            self._claimed = +self._claimed

    def make_room(self, wanted: int) -> None:
        """Count ``wanted`` bytes more; what was used longest ago goes for them. Raises :class:`RemoteError`."""
        with self._lock:
            self._count(wanted)
            assert self._size is not None
            if self._size > self.limit:
                self._evict(self._size - self.limit * 9 // 10)
                if self._size > self.limit:
                    self._count(-wanted)
                    raise RemoteError(
                        f"{self.folder} is full of what jobs use: {self.limit // 10**6:,} MB; raise fetching.store_mb, "
                        "or select less"
                    )

    def expire(self, days: float) -> None:
        """What no job has used for as many days goes."""
        self._open()
        with self._lock:
            self._evict(None, time.time() - days * 86_400)
            for marker in (self.folder / "series").iterdir():
                if marker.stat().st_mtime < time.time() - days * 86_400:
                    marker.unlink()

    def series(self, key: str) -> SeriesMarker:
        """What is known of a series, by a name that is its own in all the world."""
        self._open()
        return SeriesMarker(self, self.folder / "series" / hashlib.sha256(key.encode()).hexdigest())

    def _open(self) -> None:
        with self._lock:
            if self._size is not None:
                return
            for name in ("files", "incoming", "series"):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
                (self.folder / name).chmod(0o700)  # other accounts of the machine see nothing of it
            for left in (self.folder / "incoming").iterdir():
                left.unlink()
            self._size = sum(found.stat().st_size for found in self._files())

    def _files(self) -> Iterator[os.DirEntry[str]]:
        for group in os.scandir(self.folder / "files"):
            yield from os.scandir(group.path)

    def _count(self, size: int) -> None:
        with self._lock:
            self._open()
            assert self._size is not None
            self._size += size

    def _evict(self, size: int | None, before: float | None = None) -> None:
        """Of what has no second name: ``size`` bytes, or what was used before a moment (since 1970)."""
        found = ((entry.stat(), Path(entry.path)) for entry in self._files() if entry.name not in self._claimed)
        unused = sorted((stat.st_atime, stat.st_size, path) for stat, path in found if stat.st_nlink == 1)
        for used, bytes_, path in unused:
            if (size is not None and size <= 0) or (before is not None and used >= before):
                return
            self._forget(path, bytes_)
            size = None if size is None else size - bytes_

    def _forget(self, path: Path, size: int) -> None:
        with suppress(FileNotFoundError):
            path.unlink()
            self._seen.pop(path.name, None)
            self._count(-size)

    def sync(self) -> None:
        """All that is there is on the disk."""
        _sync(self.folder)


class SourceStore:
    """Of a store what came from one source alone: who knows a hash gets no other's file by it."""

    def __init__(self, store: Store, source: str) -> None:
        self._store = store
        self._source = source
        self.folder = store.folder
        self.incoming = store.incoming
        self.sync = store.sync

    def _name(self, sha256: str) -> str:
        return hashlib.sha256(f"{self._source}\0{sha256}".encode()).hexdigest()

    def path(self, sha256: str) -> Path:
        """Where the file of this hash is, if it is."""
        return self._store.path(self._name(sha256))

    def has(self, kept: Kept) -> bool:
        """As :meth:`Store.has`."""
        return self._store.has(kept, self._name(kept.sha256))

    def take(self, come: Incoming) -> Kept:
        """As :meth:`Store.take`."""
        return self._store.take(come, self._name(come.digest.hexdigest()))

    def claim(self, files: Iterable[Kept]) -> None:
        """As :meth:`Store.claim`."""
        self._store.claim(kept._replace(sha256=self._name(kept.sha256)) for kept in files)

    def release(self, files: Iterable[Kept]) -> None:
        """As :meth:`Store.release`."""
        self._store.release(kept._replace(sha256=self._name(kept.sha256)) for kept in files)


class SeriesMarker:
    """What of one series is in the store, by SOPInstanceUID."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._whole = path.with_suffix(".json")
        self._partial = path.with_suffix(".part")

    def whole(self) -> dict[str, Kept] | None:
        """All of its files, if it is whole and all are there; they are claimed."""
        try:
            found = _read(json.loads(self._whole.read_bytes()))
        except (OSError, ValueError, TypeError, AttributeError):
            return None
        self._store.claim(found.values())
        if all(self._store.has(kept) for kept in found.values()):
            os.utime(self._whole)
            return found
        self._store.release(found.values())
        return None

    def partial(self) -> dict[str, Kept]:
        """What had come when its fetching was cut; they are claimed."""
        found = dict[str, Kept]()
        with suppress(FileNotFoundError):
            for line in self._partial.read_text(errors="replace").splitlines():
                with suppress(ValueError, TypeError, AttributeError):
                    found |= _read(json.loads(line))
        found = {uid: kept for uid, kept in found.items() if self._store.has(kept)}
        self._store.claim(found.values())
        return found

    def add(self, uid: str, kept: Kept) -> None:
        """A file that has come."""
        with self._partial.open("a") as lines:
            lines.write(json.dumps({uid: kept}) + "\n")

    def finish(self, files: Mapping[str, Kept]) -> None:
        """All have come: they are on the disk before the marker says so."""
        self._store.sync()
        with replacing(self._whole) as partial, partial.open("w") as marker:
            json.dump(files, marker)
            marker.flush()
            os.fsync(marker.fileno())
        self._partial.unlink(missing_ok=True)


def _read(given: dict[str, list[object]]) -> dict[str, Kept]:
    found = {}
    for uid, (sha256, size, kinds) in given.items():
        if not isinstance(sha256, str) or not isinstance(size, int) or not isinstance(kinds, list):
            raise TypeError
        found[uid] = Kept(sha256, size, tuple(map(str, kinds)))
    return found


def _sync(folder: Path) -> None:
    """One call for all files: one after the other, a disk that turns would need seconds for a series."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    finally:
        os.close(descriptor)
