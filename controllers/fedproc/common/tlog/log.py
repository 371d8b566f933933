"""The log itself: appending, so that it is on the disk before the act, and what can be proved of it.

Any number of threads and programs of one machine may append: who does holds the folder's lock, and reads first what
others have appended meanwhile.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fedproc.common.files import write_atomically
from fedproc.common.log import get_logger
from fedproc.common.tlog import hashes
from fedproc.common.tlog.checkpoints import Checkpoint, opened
from fedproc.common.tlog.entries import LONGEST_LINE, Entry, EntryError, beginning, following, link, moment_text, parse
from fedproc.common.tlog.errors import LogDamagedError, LogError
from fedproc.common.tlog.folder import CHECKPOINT, ENTRIES, HASHES, LOCK, give_to_owner, open_own, signer_in
from fedproc.common.tlog.hashes import HashFile
from fedproc.common.tlog.merkle import (
    Frontier,
    leaf_hash,
    position,
    sound_consistency,
    sound_inclusion,
    tree_root,
)
from fedproc.common.tlog.notes import NoteError

log = get_logger(__name__)

NewEntry = tuple[str, Mapping[str, Any]]
"""kind, and what is to be known of the act"""
RECOVERED = "log.recovered"
_CHUNK = 1 << 16


class Log:
    """One log. Opened by the constructor, which makes a new one where there is none; methods block.

    ``origin`` names a new log; one that is there keeps its own. Raises :class:`LogError`.
    """

    def __init__(self, folder: Path, origin: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.folder = folder
        self._now = now
        self._mutex = threading.Lock()
        self._recovered: list[NewEntry] = []
        self._noted: Checkpoint | None = None
        self._frontier, self._end, self._previous = Frontier(), 0, ""
        with self._failing_closed(), ExitStack() as opened:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = open_own(folder / LOCK)
            opened.callback(os.close, self._lock)
            with self._locked():
                self._open(origin, opened)
            self._opened = opened.pop_all()
        weakref.finalize(self, self._opened.close)  # whoever forgets a log leaves none of its files open

    def _open(self, origin: str, opened: ExitStack) -> None:
        self._file = open_own(self.folder / ENTRIES, os.O_APPEND)
        opened.callback(os.close, self._file)
        self._signer = signer_in(self.folder, origin, new=os.fstat(self._file).st_size == 0)
        _sync_folder(self.folder)
        self._hashes = HashFile(self.folder / HASHES)
        opened.callback(self._hashes.close)
        if not (hashes.are_of_this_boot(self.folder) and self._take_up() and self._unlike_noted() is None):
            self._rebuild()
            if (what := self._unlike_noted()) is not None:
                raise self._damaged(what)
            hashes.note_boot(self.folder)
        give_to_owner(self.folder)

    # -- what it is ------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        return self._signer.verifier.name

    @property
    def verifier(self) -> str:
        """The key by which others verify its checkpoints, as C2SP writes it."""
        return str(self._signer.verifier)

    @property
    def size(self) -> int:
        return self._frontier.size

    def checkpoint(self) -> str:
        """What it is now, signed; also in the folder's file ``checkpoint``. Raises :class:`LogError`."""
        with self._alone():
            return self._checkpoint()

    def consistency(self, old: int) -> tuple[str, list[bytes]]:
        """The present checkpoint, and the proof that the log of ``old`` entries is its beginning.

        Raises :class:`LogError`; ``old`` may be no larger than the log, and counts as 0 if it is.
        """
        with self._alone():
            first = old if old <= self._frontier.size else 0
            proof = self._proved(lambda: sound_consistency(first, self._frontier, self._hashes))
            return self._checkpoint(), proof

    def inclusion(self, number: int) -> tuple[str, list[bytes]]:
        """The present checkpoint, and the proof that it covers entry ``number``. Raises :class:`LogError`."""
        with self._alone():
            proof = self._proved(lambda: sound_inclusion(number, self._frontier, self._hashes))
            return self._checkpoint(), proof

    def _proved(self, prove: Callable[[], list[bytes] | None]) -> list[bytes]:
        """A proof that holds; if it does not, the hashes are damaged, and are made anew from the entries."""
        if (proof := prove()) is None:
            log.warning("tlog.hashes_damaged", folder=str(self.folder))
            self._rebuild()
            proof = prove()
        if proof is None:
            raise self._damaged("its entries are not those by which its checkpoint was made")
        return proof

    def root_at(self, size: int) -> bytes:
        """The root of the first ``size`` entries. Raises :class:`LogError`."""
        with self._alone():
            return tree_root(size, self._hashes)

    # -- appending -------------------------------------------------------------------------------

    def append(self, entries: Sequence[NewEntry]) -> list[Entry]:
        """Add these in this order. They are on the disk when this returns, and none of them is if it raises.

        Raises :class:`LogError`, whose text says why and what to do.
        """
        with self._alone():
            added, lines = self._entries([*self._recovered, *entries])
            self._write(lines)
            del self._recovered[:]
            return added[len(added) - len(entries) :]

    def _entries(self, given: Sequence[NewEntry]) -> tuple[list[Entry], list[bytes]]:
        at, previous = moment_text(self._now()), self._previous
        entries: list[Entry] = []
        lines: list[bytes] = []
        for number, (kind, data) in enumerate(given, self._frontier.size):
            entries.append(Entry(number, at, kind, data, previous))
            lines.append(entries[-1].line)
            if len(lines[-1]) > LONGEST_LINE:
                raise LogError(f"an entry of kind {kind} has {len(lines[-1])} bytes; {LONGEST_LINE} are the most")
            previous = link(lines[-1])
        return entries, lines

    def _write(self, lines: Sequence[bytes]) -> None:
        """All of it is on the disk, or nothing of it stays."""
        end, size = self._end, self._frontier.size
        content = b"".join(line + b"\n" for line in lines)
        try:
            while content:
                content = content[os.write(self._file, content) :]
            os.fdatasync(self._file)
            self._extend(lines)
        except OSError:
            os.ftruncate(self._file, end)
            self._hashes.cut(size)
            raise

    def _extend(self, lines: Sequence[bytes]) -> None:
        """These stand in the file now."""
        frontier = self._frontier.copy()
        self._hashes.write(frontier.size, [stored for line in lines for stored in frontier.append(leaf_hash(line))])
        self._frontier = frontier
        self._end += sum(len(line) + 1 for line in lines)
        if lines:
            self._previous = link(lines[-1])

    # -- what is there already -------------------------------------------------------------------

    def _take_up(self) -> bool:
        """Go on from the last entry, if the file of hashes ends with it; else all entries are to be read."""
        size, end = self._hashes.size, os.fstat(self._file).st_size
        last = _last_line(self._file, end)
        if last is None or not size or leaf_hash(last) != self._hashes(position(0, size - 1)):
            return False
        with suppress(EntryError):
            if parse(last).number + 1 == size:
                self._frontier, self._end, self._previous = Frontier.of(size, self._hashes), end, link(last)
                return True
        return False

    def _rebuild(self) -> None:
        """Read all entries, and put the hashes right by them: only entries can say that a log is damaged.

        Hashes of more entries than there are say so, too, if those before them are right: an entry is on the disk
        before its hashes are written.
        """
        self._frontier, self._end, self._previous = Frontier(), 0, beginning(self.origin)
        self._catch_up()
        size, there = self._frontier.size, self._hashes.size
        if there > size:
            raise self._damaged(f"it has {size} entries, and there were {there}: its end was cut off")

    def _unlike_noted(self) -> str | None:
        """How it differs from the checkpoint in the folder: the least that is known of how the log once was."""
        try:
            noted = opened((self.folder / CHECKPOINT).read_text(encoding="utf-8"), self._signer.verifier)
        except (FileNotFoundError, UnicodeDecodeError, NoteError):
            return None
        if noted.size > self.size:
            return f"it has {self.size} entries, and had {noted.size} at its last checkpoint"
        if tree_root(noted.size, self._hashes) != noted.root:
            return f"its first {noted.size} entries are not those of its last checkpoint"
        return None

    def _catch_up(self) -> None:
        """Read what was appended by others. A last line without its end was never answered for: it is cut off."""
        size = os.fstat(self._file).st_size
        if size < self._end:
            raise self._damaged(f"it has {size} bytes, and had {self._end}: its end was cut off")
        if size == self._end:
            return
        for lines, torn in _new_lines(self._file, self._end):
            self._check(lines)
            self._extend(lines)
            if torn:
                self._cut(torn)

    def _check(self, lines: Sequence[bytes]) -> None:
        previous = self._previous
        for number, line in enumerate(lines, self._frontier.size):
            try:
                following(line, number, previous)
            except EntryError as error:
                raise self._damaged(f"line {number + 1}: {error}") from error
            previous = link(line)

    def _cut(self, torn: bytes) -> None:
        os.ftruncate(self._file, self._end)
        os.fdatasync(self._file)
        found = {"bytes": len(torn), "sha256": hashlib.sha256(torn).hexdigest()}
        log.warning("tlog.torn_line_cut", folder=str(self.folder), **found)
        self._recovered.append((RECOVERED, found))

    # -- alone, and whole ------------------------------------------------------------------------

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._mutex, self._failing_closed(), self._locked():
            if not os.path.samestat((self.folder / ENTRIES).stat(), os.fstat(self._file)):
                raise self._damaged("another file has taken its place while this program ran; start it again")
            self._catch_up()
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            cure = (
                "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "look at the disk and its rights"
            )
            what = error.strerror or str(error)
            raise LogError(f"the transparency log in {self.folder} cannot be written: {what}; {cure}") from error

    def _checkpoint(self) -> str:
        found = Checkpoint(self.origin, self._frontier.size, self._frontier.root)
        note = found.signed(self._signer)
        if found != self._noted:
            write_atomically(self.folder / CHECKPOINT, note.encode())
            self._noted = found
        return note

    def _damaged(self, what: str) -> LogDamagedError:
        return LogDamagedError(
            f"the transparency log in {self.folder} is not as it was written: {what}. Nothing is added to it;"
            " `fedproc audit verify` says what still holds, docs/operations/audit.md what to do"
        )

    def close(self) -> None:
        """Nothing is lost without."""
        self._opened.close()


def _last_line(file: int, end: int) -> bytes | None:
    """The last line, without its end; None if there is none, or it has no end."""
    content, start = b"", end
    while start and content.count(b"\n") < 2 and len(content) <= LONGEST_LINE + _CHUNK:
        start = max(0, start - _CHUNK)
        content = os.pread(file, min(_CHUNK, end - len(content) - start), start) + content
    return content[:-1].rpartition(b"\n")[2] if content.endswith(b"\n") else None


def _new_lines(file: int, start: int) -> Iterator[tuple[list[bytes], bytes]]:
    """The whole lines from ``start`` on, some at a time, and at the end what follows them without an end."""
    rest, at = b"", start
    while content := os.pread(file, _CHUNK * 16, at):
        at += len(content)
        *lines, rest = (rest + content).split(b"\n")
        if len(rest) > LONGEST_LINE:  # no entry is so long: whoever looks at it says so
            lines.append(rest)
        yield lines, b""
    yield [], rest


def _sync_folder(folder: Path) -> None:
    """So that the names of new files are on the disk, too."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
