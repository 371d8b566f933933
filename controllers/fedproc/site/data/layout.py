"""A cohort as a folder that one job sees: hard links where the store lets them, else clones of the blocks, copies last.

A hard link has the store's inode: the job sees it through a read-only mount, and what others may write is not linked.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fedproc.common.tasks import StopFlag
from fedproc.site.data.cohort import CohortFile, files_of
from fedproc.site.data.examining import UNSETTLED

OnProgress = Callable[[int, str], None]
"""is told how many files are there, and how the last came: ``link``, ``clone`` or ``copy``"""

_FICLONE = 0x40049409
_PROGRESS = 200
_CHUNK = 1 << 20
_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP,
                      errno.ENOSYS, errno.EROFS})  # fmt: skip


Source = Callable[[CohortFile], bytes]
"""where the file of a cohort is kept"""


def below(folder: Path) -> Source:
    """The files of a dataset that is a folder."""
    root = os.fsencode(folder) + b"/"
    return lambda file: root + file.path


class ChangedError(Exception):
    """A file of the cohort is not what it was when the cohort was frozen."""


class Layout:
    """The folder ``target`` of a cohort, whose files ``source`` finds; ``verify``: read all bytes, whatever their
    times say."""

    def __init__(self, source: Source, cohort: Path, target: Path, *, verify: bool = False) -> None:
        self._source = source
        self._cohort = cohort
        self._target = os.fsencode(target)
        self._verify = verify
        self._how = "link"
        self._made: set[bytes] = set()

    def make(self, on_progress: OnProgress, flag: StopFlag) -> str:
        """Lay out every file that is not there yet; returns how the last came. May be repeated after it was cut.

        Raises :class:`ChangedError`, OSError, StoppedError.
        """
        os.makedirs(self._target, mode=0o755, exist_ok=True)  # noqa: PTH103
        for number, file in enumerate(files_of(self._cohort), 1):
            flag.check()
            self.place(file, flag)
            if number % _PROGRESS == 0:
                on_progress(number, self._how)
        return self._how

    def check(self, flag: StopFlag) -> None:
        """Whether each file still is what it was. Raises as :meth:`make` does."""
        for file in files_of(self._cohort):
            flag.check()
            self._check(file, self._target + b"/" + file.path, flag)

    def place(self, file: CohortFile, flag: StopFlag) -> CohortFile:
        """Lay out one file of it; gives it as it stands there. Raises as :meth:`make` does."""
        source, target = self._source(file), self._target + b"/" + file.path
        folder = os.path.dirname(target)  # noqa: PTH120
        if folder not in self._made:
            os.makedirs(folder, mode=0o755, exist_ok=True)  # noqa: PTH103
            self._made.add(folder)
        try:
            self._bring(file, source, target, flag)
            found = os.stat(target, follow_symlinks=False)  # noqa: PTH116
        except FileNotFoundError as error:
            raise ChangedError from error
        return file._replace(mtime=found.st_mtime_ns, inode=found.st_ino)

    def _bring(self, file: CohortFile, source: bytes, target: bytes, flag: StopFlag) -> None:
        if self._how == "link" and self._linked(source, target):
            return self._check(file, target, flag)
        if not os.path.lexists(target):
            self._copied(file, source, target, flag)

    def _linked(self, source: bytes, target: bytes) -> bool:
        """Whether ``target`` is a link of the store's file; if that cannot be, no other is tried."""
        try:
            if stat.S_IMODE(os.stat(source, follow_symlinks=False).st_mode) & 0o002:  # noqa: PTH116
                return False
            with suppress(FileExistsError):
                os.link(source, target, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            self._how = "clone"
            return False
        return True

    def _copied(self, file: CohortFile, source: bytes, target: bytes, flag: StopFlag) -> None:
        """What is written is checked by its hash: of a clone the store's file, which has the same blocks."""
        partial = os.path.dirname(target) + b"/." + hashlib.sha256(target).hexdigest().encode() + b".part"  # noqa: PTH120
        with suppress(FileNotFoundError):
            os.unlink(partial)  # noqa: PTH108
        with os.fdopen(os.open(source, _OPEN), "rb") as given, open(partial, "xb") as made:  # noqa: PTH123
            if not _cloned(made.fileno(), given.fileno()):
                self._how = "copy"
                shutil.copyfileobj(given, made, _CHUNK)
        if _hash_of(partial, flag) != file.sha256:
            raise ChangedError
        os.chmod(partial, 0o644)  # noqa: PTH101
        os.rename(partial, target)  # noqa: PTH104

    def _check(self, file: CohortFile, path: bytes, flag: StopFlag) -> None:
        try:
            found = os.stat(path, follow_symlinks=False)  # noqa: PTH116
        except FileNotFoundError as error:
            raise ChangedError from error
        stands = found.st_size, found.st_mtime_ns, found.st_ino
        if not self._verify and file.mtime != UNSETTLED and stands == (file.size, file.mtime, file.inode):
            return
        if found.st_size != file.size or _hash_of(path, flag) != file.sha256:
            raise ChangedError


def _cloned(target: int, source: int) -> bool:
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:
        return False
    return True


def _hash_of(path: bytes, flag: StopFlag) -> bytes:
    digest = hashlib.sha256()
    with os.fdopen(os.open(path, _OPEN), "rb") as content:
        while chunk := content.read(_CHUNK):
            flag.check()
            digest.update(chunk)
    return digest.digest()
