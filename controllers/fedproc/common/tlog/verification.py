"""What can be proved of a log without the programs that wrote it: by its entries, its key, and kept checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fedproc.common.errors import InvalidInputError
from fedproc.common.tlog.checkpoints import Checkpoint, opened, unverified
from fedproc.common.tlog.entries import LONGEST_LINE, Entry, EntryError, beginning, following, link, parse
from fedproc.common.tlog.folder import CHECKPOINT, ENTRIES, VERIFIER
from fedproc.common.tlog.merkle import Frontier, leaf_hash
from fedproc.common.tlog.notes import NoteError, NoteVerifier

_MOST_PROBLEMS = 20


@dataclass
class Findings:
    """What holds (``proved``), what does not (``problems``), and what nobody can say by these files (``unproved``)."""

    entries: int = 0
    first: Entry | None = None
    last: Entry | None = None
    proved: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    covered: int = 0
    """so many entries are those of a checkpoint that somebody else has kept"""

    @property
    def whole(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class Kept:
    """A checkpoint that the log is held against; ``name`` says whence, ``own`` that it lay beside the log."""

    name: str
    note: str
    own: bool = False


def verify(place: Path, kept: Sequence[Kept] = (), key: str | None = None) -> Findings:
    """Look at a log: its folder, or its file of entries with ``key`` (C2SP's text of its public key) or without.

    Raises :class:`InvalidInputError` where there is no log, and :class:`OSError`.
    """
    folder, entries = (place, place / ENTRIES) if place.is_dir() else (place.parent, place)
    if not entries.is_file():
        raise InvalidInputError(f"{entries}: there is no log here; give a log's folder, or its {ENTRIES}")
    findings = Findings()
    verifier = _verifier(folder, key, findings)
    held = [*kept, *_beside(folder)]
    checkpoints = [(each, found) for each in held if (found := _opened(each, verifier, findings)) is not None]
    roots = _walk(entries, verifier, {found.size for _, found in checkpoints}, findings)
    for each, found in checkpoints:
        _hold_against(each, found, roots, findings)
    _say_what_is_open(findings, verifier, bool(checkpoints))
    return findings


def read_lines(path: Path) -> Iterator[bytes]:
    """The lines of a log's file, each without its end; a last one without its end is among them.

    Of a line that is longer than any entry comes its beginning, which is longer, too.
    """
    with path.open("rb") as content:
        while line := content.readline(LONGEST_LINE + 2):
            rest = line
            while len(rest) > LONGEST_LINE + 1 and not rest.endswith(b"\n"):
                rest = content.readline(LONGEST_LINE + 2)
            yield line.removesuffix(b"\n")


def read_entries(path: Path) -> Iterator[Entry]:
    """Its entries, but for lines that are none: to read a log is not to verify it. Raises :class:`OSError`."""
    for line in read_lines(path):
        try:
            yield parse(line)
        except EntryError:
            continue


def _verifier(folder: Path, key: str | None, findings: Findings) -> NoteVerifier | None:
    try:
        return NoteVerifier.parse(key if key is not None else (folder / VERIFIER).read_text(encoding="utf-8"))
    except NoteError as error:
        findings.problems.append(f"the log's key cannot be read: {error.message}")
    except (FileNotFoundError, UnicodeDecodeError):
        findings.unproved.append(f"there is no key ({VERIFIER}) beside the log: no signature can be verified")
    return None


def _beside(folder: Path) -> Iterable[Kept]:
    """The log's own last checkpoint."""
    path = folder / CHECKPOINT
    return (
        [Kept("the log's own last checkpoint", path.read_text("utf-8", "replace"), own=True)] if path.exists() else []
    )


def _opened(kept: Kept, verifier: NoteVerifier | None, findings: Findings) -> Checkpoint | None:
    try:
        return unverified(kept.note) if verifier is None else opened(kept.note, verifier)
    except NoteError as error:
        findings.problems.append(f"{kept.name}: {error.message}")
        return None


def _walk(path: Path, verifier: NoteVerifier | None, sizes: set[int], findings: Findings) -> dict[int, bytes]:
    """Read all of it once; the roots at these sizes."""
    frontier, roots = Frontier(), {}
    previous = None if verifier is None else beginning(verifier.name)
    for number, line in enumerate(read_lines(path)):
        if frontier.size in sizes:
            roots[frontier.size] = frontier.root
        _look_at(line, number, previous, findings)
        previous = link(line)
        frontier.append(leaf_hash(line))
    if frontier.size in sizes:
        roots[frontier.size] = frontier.root
    findings.entries = frontier.size
    _say_of_chain(path, findings)
    return roots


def _look_at(line: bytes, number: int, previous: str | None, findings: Findings) -> None:
    try:
        entry = parse(line) if previous is None else following(line, number, previous)
    except EntryError as error:
        if len(findings.problems) < _MOST_PROBLEMS:
            findings.problems.append(f"line {number + 1}: {error}")
        return
    findings.first = findings.first or entry
    findings.last = entry


def _say_of_chain(path: Path, findings: Findings) -> None:
    with path.open("rb") as content:
        content.seek(-1, 2) if findings.entries else None
        whole = not findings.entries or content.read(1) == b"\n"
    if not whole:
        findings.problems.append(f"line {findings.entries} has no end: it was cut, or is being written")
    if findings.whole:
        findings.proved.append(f"each of its {findings.entries} entries names the one before it, none left out")


def _hold_against(kept: Kept, found: Checkpoint, roots: dict[int, bytes], findings: Findings) -> None:
    if found.size not in roots:
        findings.problems.append(
            f"{kept.name} is of {found.size} entries, and there are {findings.entries}: its end was cut off, or an"
            " older copy was put in its place"
        )
    elif roots[found.size] != found.root:
        findings.problems.append(
            f"{kept.name}: the first {found.size} entries are not those that it was made of: entries were changed,"
            " put in another order or left out, or this is another version of the log"
        )
    else:
        findings.proved.append(f"{kept.name}: the first {found.size} entries are, byte by byte, those it was made of")
        if not kept.own:
            findings.covered = max(findings.covered, found.size)


def _say_what_is_open(findings: Findings, verifier: NoteVerifier | None, any_kept: bool) -> None:
    after = findings.entries - findings.covered
    if findings.covered == 0:
        findings.unproved.append(
            "that nobody has written the whole log anew: whoever has its key can. Hold it against a checkpoint that"
            " its witness has kept (--checkpoint)"
        )
    elif after > 0:
        findings.unproved.append(f"that the last {after} entries were not written anew: they came after the checkpoint")
    if verifier is not None and any_kept:
        findings.proved.append(f"the checkpoints are signed by the key {verifier}")
    findings.unproved.append("that all that was done was written down: that rests on the program that did it")
