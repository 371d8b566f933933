"""Keeps the indexes of a host's datasets up to date: one pass over each at a time, for all who wait for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sqlite3
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from fedproc.common.tasks import StopFlag, stoppable_alone
from fedproc.site.data.imaging import Images, images_in
from fedproc.site.data.index import DatasetIndex, Known
from fedproc.site.data.persons import of_images
from fedproc.site.data.walking import FolderState, folder_state

OnProgress = Callable[[int, int], None]
"""is told how many files of how many were looked at"""

_OWN_PROCESS_FILES = 500
_OWN_PROCESS_BYTES = 1 << 20
"""from as many on, a pass has a process of its own, whose memory has a limit"""
_TELL_SECONDS = 0.5


class IndexingError(OSError):
    """The index itself cannot be written."""


class Indexer:
    """The indexes below ``folder``, one a dataset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """held by a pass, and by whoever wants none"""
        self._seen: dict[str, tuple[float, float, Known]] = {}
        """when the last look began and ended, and what it found"""
        self._progress: dict[str, tuple[int, int]] = {}

    def index(self, dataset: str) -> DatasetIndex:
        """The index of one dataset."""
        return DatasetIndex(self._folder / f"{dataset}.sqlite")

    def images(self, dataset: str) -> Images | None:
        """What its images are, in exact numbers; None if there are none. Blocks. Raises :class:`IndexingError`."""
        index = self.index(dataset)
        try:
            with index.readonly() as db:
                return images_in(db)
        except sqlite3.Error as error:
            raise IndexingError(None, f"{index.path}: {error}") from error

    def patients(self, dataset: str) -> Mapping[str, frozenset[str]]:
        """Whose its images are (:func:`of_images`). Blocks. Raises :class:`IndexingError`."""
        index = self.index(dataset)
        try:
            with index.readonly() as db:
                return of_images(db)
        except sqlite3.Error as error:
            raise IndexingError(None, f"{index.path}: {error}") from error

    @contextlib.asynccontextmanager
    async def held(self, dataset: str, known: Known) -> AsyncIterator[bool]:
        """While the block runs no pass changes the index; False if one did since ``known`` was found."""
        async with self._locks[dataset]:
            now = await asyncio.to_thread(self.index(dataset).known)
            yield now is not None and now.version == known.version

    def seen(self, dataset: str, longer_than: float) -> Known | None:
        """What the last look found, if it took so many seconds; None before the first one, or if it failed."""
        began, ended, known = self._seen.get(dataset, (0.0, 0.0, None))
        return known if ended - began >= longer_than else None

    def progress(self, dataset: str) -> tuple[int, int] | None:
        """How many files of how many the pass that goes on has looked at; None while none does."""
        return self._progress.get(dataset)

    async def current(
        self, dataset: str, path: Path, on_progress: OnProgress = lambda *_: None, *, older_than: float = 0.0
    ) -> Known:
        """What the dataset in ``path`` is now: files that were read before ``older_than`` (since 1970) are read again.

        Who asks while a look goes on waits for the next one, which is one for all of them.
        Raises OSError where folder, disk or share fail, or the index cannot be written.
        """
        work = asyncio.create_task(self._current(dataset, path, older_than, time.monotonic()))
        try:
            while not (await asyncio.wait({work}, timeout=_TELL_SECONDS))[0]:
                if (progress := self._progress.get(dataset)) is not None:
                    on_progress(*progress)
            return work.result()
        finally:
            work.cancel()

    async def _current(self, dataset: str, path: Path, older_than: float, asked: float) -> Known:
        async with self._looks[dataset]:
            began, _, seen = self._seen.get(dataset, (-math.inf, 0.0, None))
            if seen is not None and began >= asked and not seen.is_due(older_than):
                return seen
            began = time.monotonic()
            try:
                seen = await self._looked_at(dataset, path, older_than)
            except OSError:
                self._seen.pop(dataset, None)
                raise
            self._seen[dataset] = began, time.monotonic(), seen
            return seen

    async def _looked_at(self, dataset: str, path: Path, older_than: float) -> Known:
        stands = await stoppable_alone(folder_state, path)
        async with self._locks[dataset]:
            known = await asyncio.to_thread(self.index(dataset).known)
            if known is not None and known.fingerprint == stands.fingerprint and not known.is_due(older_than):
                return known
            return await self._pass(dataset, path, stands, older_than)

    async def _pass(self, dataset: str, path: Path, stands: FolderState, older_than: float) -> Known:
        index = self.index(dataset)
        self._progress[dataset] = (0, stands.files)

        def note(looked_at: int) -> None:
            self._progress[dataset] = (min(looked_at, stands.files), stands.files)

        try:
            if stands.files < _OWN_PROCESS_FILES and stands.size < _OWN_PROCESS_BYTES:
                return await stoppable_alone(_update, index, path, note, older_than)
            await _in_process(index, path, note, older_than)
        finally:
            self._progress.pop(dataset, None)
        known = await asyncio.to_thread(index.known)
        if known is None:
            raise IndexingError(None, f"{index.path} cannot be read")
        return known


def _update(index: DatasetIndex, path: Path, note: Callable[[int], None], older_than: float, flag: StopFlag) -> Known:
    try:
        return index.update(path, flag, note, older_than=older_than)
    except sqlite3.Error as error:
        raise IndexingError(None, f"{index.path}: {error}") from error


async def _in_process(index: DatasetIndex, path: Path, note: Callable[[int], None], older_than: float) -> None:
    arguments = ["--folder", str(path), "--index", str(index.path), "--older-than", str(older_than)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fedproc.site.data.index_process", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    last: dict[str, Any] | None = None
    try:
        async for line in process.stdout:
            last = json.loads(line)
            note(int(last.get("looked_at", 0)) if last else 0)
        code = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    _raise_if_failed(last, code, index)


def _raise_if_failed(last: dict[str, Any] | None, code: int, index: DatasetIndex) -> None:
    if last == {} and code == 0:
        return
    number, text = (last or {}).get("error", (None, f"the look at its files ended with exit code {code}"))
    if number is None:
        raise IndexingError(None, f"{index.path}: {text}")
    raise OSError(number, text)
