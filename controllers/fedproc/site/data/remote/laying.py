"""What a job sees of a dataset that was fetched: links of the store's files, below the store, where none is copied."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fedproc.common.tasks import StopFlag
from fedproc.site.data.cohort import Cohort, CohortFile, files_of, keep_cohort, read_cohort
from fedproc.site.data.examining import UNSETTLED
from fedproc.site.data.layout import Layout
from fedproc.site.data.merkle import Leaf, version_of
from fedproc.site.data.remote.errors import RemoteError
from fedproc.site.data.remote.file_store import Kept, SourceStore, Store


class Laying:
    """One dataset of one job: ``frozen`` is its cohort, in which files that were never fetched have no hash. Blocks."""

    def __init__(self, store: Store | SourceStore, frozen: Path, place: Path, *, verify: bool) -> None:
        self._store = store
        self._frozen = frozen
        self._whole = frozen.with_suffix(".fetched")
        self._verify = verify
        self.place = place
        self._layout = Layout(self._source, self._whole, place, verify=verify)

    def begin(self) -> None:
        """Nothing is laid out. What was, and is not whole, may not be on the disk: power may have failed."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.place)
        self.place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    def whole(self) -> Cohort | None:
        """The cohort as it was fetched and laid out; None before all of it is."""
        try:
            return read_cohort(self._whole)
        except FileNotFoundError:
            return None

    def files(self) -> list[CohortFile]:
        """What was frozen, in the order of the paths."""
        return [*files_of(self._frozen)]

    def lay(self, files: Mapping[bytes, Kept], flag: StopFlag) -> list[CohortFile]:
        """Lay out files of the store, by their paths. Raises as :meth:`Layout.make` does."""
        return [self._layout.place(self._as_kept(path, kept), flag) for path, kept in sorted(files.items())]

    def finish(self, laid: list[CohortFile], frozen: Cohort | None = None) -> Cohort:
        """All is laid out. The version is that of its bytes.

        Raises :class:`RemoteError` where it is not the one of ``frozen``, which says what was to come.
        """
        self.place.mkdir(parents=True, exist_ok=True)  # of no file, too
        version = version_of(Leaf(file.path, "file", file.size, file.sha256) for file in laid)
        if frozen is not None and frozen.version != version:
            raise RemoteError("what came is not what was frozen: names, lengths or hashes are others")
        known = frozen or read_cohort(self._frozen)
        cohort = replace(known, version=version, files=len(laid), size=sum(file.size for file in laid))
        self._store.sync()
        keep_cohort(self._whole, cohort, laid)
        return cohort

    def check(self, flag: StopFlag) -> None:
        """Whether each file still is what it was. Raises as :meth:`Layout.check` does."""
        self._layout.check(flag)

    def _source(self, file: CohortFile) -> bytes:
        return os.fsencode(self._store.path(file.sha256.hex()))

    def _as_kept(self, path: bytes, kept: Kept) -> CohortFile:
        """Its hash was seen when it came; where all bytes are to be read, they are once more."""
        found = self._store.path(kept.sha256).stat()
        mtime = UNSETTLED if self._verify else found.st_mtime_ns
        return CohortFile(path, kept.size, mtime, found.st_ino, bytes.fromhex(kept.sha256))
