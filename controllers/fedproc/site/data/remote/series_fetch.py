"""One series of a PACS into the store: in one answer, and what was missing when that was cut file by file.

What comes is looked at before it is kept: it must be DICOM, of the series that was asked for, and one of the files
that the dataset has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from fedproc.site.data.dicom import Reading
from fedproc.site.data.identifying import KINDS
from fedproc.site.data.remote.dicomweb import DicomWeb
from fedproc.site.data.remote.errors import RemoteError
from fedproc.site.data.remote.file_store import Incoming, Kept, SeriesMarker, Store
from fedproc.site.data.remote.multipart import Parts

_MORE = 100
"""files that nobody asked for, beyond as many as were: the series has grown"""


@dataclass(frozen=True)
class Wanted:
    """What of one series is wanted: its SOPInstanceUIDs. ``source`` is the PACS's address."""

    source: str
    study: str
    series: str
    instances: frozenset[str]

    @property
    def key(self) -> str:
        return f"{self.source} {self.study} {self.series}"


def kept_series(store: Store, wanted: Wanted) -> dict[str, Kept] | None:
    """The files, if all of them are in the store. They are claimed."""
    found = store.series(wanted.key).whole()
    if found is None:
        return None
    store.release(kept for uid, kept in found.items() if uid not in wanted.instances)
    here = {uid: kept for uid, kept in found.items() if uid in wanted.instances}
    if len(here) == len(wanted.instances):
        return here
    store.release(here.values())
    return None


class Receiver:
    """Fetches a series. ``read`` says what a file is; ``note`` is told how many of its files are there."""

    def __init__(
        self, web: DicomWeb, store: Store, wanted: Wanted, largest: int, read: Callable[[Path], Reading],
        note: Callable[[int], None],
    ) -> None:  # fmt: skip
        self._web = web
        self._store = store
        self._wanted = wanted
        self._largest = largest
        self._read = read
        self._note = note
        self._marker: SeriesMarker = store.series(wanted.key)
        self._have: dict[str, Kept] = {}

    def fetch(self) -> dict[str, Kept]:
        """All files that are wanted, in the store and claimed. Raises :class:`RemoteError`, OSError, StoppedError.

        What has come stays when it is cut, and is not fetched again by the next call.
        """
        try:
            self._have = self._marker.partial()
            if not self._have:
                self._receive(self._web.files(self._wanted.study, self._wanted.series))
            for uid in sorted(self._wanted.instances - self._have.keys()):
                self._receive_one(uid)
            self._marker.finish(self._have)
        except BaseException:
            self._store.release(self._have.values())
            raise
        others = self._have.keys() - self._wanted.instances
        self._store.release(self._have[uid] for uid in others)
        return {uid: kept for uid, kept in self._have.items() if uid not in others}

    def _receive_one(self, uid: str) -> None:
        self._receive(self._web.files(self._wanted.study, self._wanted.series, uid))
        if uid not in self._have:
            raise RemoteError(f"it was asked for {uid}, and gives something else")

    def _receive(self, answer: AbstractContextManager[Parts]) -> None:
        left = len(self._wanted.instances) + _MORE
        with answer as parts:
            for _ in parts:
                left -= self._take(parts.body())
                if left < 0:
                    raise RemoteError("it sends more files than the series has")

    def _take(self, body: Iterable[bytes]) -> int:
        """How many files came that nobody asked for: none or one."""
        with self._store.incoming(self._largest) as come:
            for piece in body:
                come.write(piece)
            uid, kinds = self._looked_at(come)
            if (known := self._have.get(uid)) is not None:
                if known.sha256 != come.digest.hexdigest():
                    raise RemoteError(f"it sends two files for one SOPInstanceUID, {uid}")
                return 1
            if uid not in self._wanted.instances:
                return 1
            kept = self._store.take(come)._replace(kinds=kinds)
        self._have[uid] = kept
        self._marker.add(uid, kept)
        self._note(len(self._have))
        return 0

    def _looked_at(self, come: Incoming) -> tuple[str, tuple[str, ...]]:
        come.file.flush()
        found = self._read(Path(come.file.name))
        got = found.instance
        if got is None or got.instance is None:
            raise RemoteError("it sends what is no DICOM file, or cannot be read as one")
        if (got.study, got.series) != (self._wanted.study, self._wanted.series):
            raise RemoteError(f"it was asked for series {self._wanted.series}, and sends a file of another one")
        return got.instance, tuple(sorted({code for code, _ in found.problems if code in KINDS}))
