"""Being the witness of another's log: to keep the last of its checkpoints, and to see whether the next one follows."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from typing import Any

from fedproc.common.tlog.checkpoints import Checkpoint, opened, unverified
from fedproc.common.tlog.merkle import EMPTY_ROOT, verify_consistency
from fedproc.common.tlog.notes import NoteError, NoteVerifier


class Assessment(StrEnum):
    """What a witness says of a log."""

    consistent = "consistent"
    """each checkpoint was proved to go on from the one before it"""
    unproven = "unproven"
    """it has grown, and the proof that came begins elsewhere: it is asked for again"""
    shrunk = "shrunk"
    """it has fewer entries than before: its end was cut off, or a backup was put back"""
    forked = "forked"
    """what it had before is not its beginning any more"""
    other_key = "other_key"
    """its checkpoints are signed by another key, or are none: it is another log"""


BROKEN = frozenset({Assessment.shrunk, Assessment.forked, Assessment.other_key})
"""somebody has to find out why; it does not mend itself"""


@dataclass(frozen=True)
class Shown:
    """What a log's owner sends: its checkpoint, its key, and a proof from ``since`` entries on (base64)."""

    note: str
    verifier: str
    since: int = 0
    proof: Sequence[str] = ()


@dataclass(frozen=True)
class Witnessed:
    """What a witness keeps. ``note`` is the last checkpoint that was consistent, ``at`` when it came (seconds)."""

    verifier: str
    note: str
    at: float
    assessment: Assessment = Assessment.consistent
    text: str = ""
    offending: str = ""
    """the checkpoint that did not go on from ``note``, as it came"""

    @property
    def checkpoint(self) -> Checkpoint:
        return unverified(self.note)

    @property
    def is_broken(self) -> bool:
        return self.assessment in BROKEN

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, kept: dict[str, Any]) -> Witnessed:
        """What else is kept beside it is not of it."""
        own = {field.name: kept[field.name] for field in fields(cls) if field.name in kept}
        return cls(**{**own, "assessment": Assessment(kept["assessment"])})


def assess(kept: Witnessed | None, shown: Shown, now: float) -> Witnessed:
    """What is to be kept after this has come. The first checkpoint of a log is taken as it is, with its key.

    What was found broken stays so until somebody takes it back, even if the log goes on from the old checkpoint.
    """
    if kept is not None and kept.is_broken:
        return kept
    if kept is not None and kept.note == shown.note:
        return replace(kept, at=now, assessment=Assessment.consistent, text="")
    try:
        if kept is None:
            opened(shown.note, NoteVerifier.parse(shown.verifier))
            return Witnessed(shown.verifier, shown.note, now)
        found = opened(shown.note, NoteVerifier.parse(kept.verifier))
    except NoteError as error:
        return _broken(kept, shown, Assessment.other_key, error.message, now)
    return _compared(kept, kept.checkpoint, found, shown, now)


def _compared(kept: Witnessed, before: Checkpoint, found: Checkpoint, shown: Shown, now: float) -> Witnessed:
    if found.size < before.size:
        text = f"it has {found.size} entries, and had {before.size}: its end was cut off, or a backup was put back"
        return _broken(kept, shown, Assessment.shrunk, text, now)
    if found.size == before.size:
        if found.root == before.root:
            return replace(kept, at=now, assessment=Assessment.consistent, text="")
        text = f"of its {found.size} entries some are others than before"
        return _broken(kept, shown, Assessment.forked, text, now)
    if shown.since != before.size:
        text = f"it has grown to {found.size} entries, and the proof begins at {shown.since}, not at {before.size}"
        return replace(kept, assessment=Assessment.unproven, text=text)
    old_root = before.root if before.size else EMPTY_ROOT
    if verify_consistency(before.size, found.size, old_root, found.root, decoded(shown.proof)):
        return Witnessed(kept.verifier, shown.note, now)
    text = f"its {found.size} entries do not begin with the {before.size} that it had"
    return _broken(kept, shown, Assessment.forked, text, now)


def _broken(kept: Witnessed | None, shown: Shown, assessment: Assessment, text: str, now: float) -> Witnessed:
    """``note`` stays that of before, as the proof; of a log of which nothing was known there is none."""
    if kept is None:
        return Witnessed("", "", now, assessment, text, shown.note)
    return replace(kept, assessment=assessment, text=text, offending=shown.note)


def encoded(proof: Sequence[bytes]) -> tuple[str, ...]:
    """A proof as messages have it."""
    return tuple(base64.b64encode(step).decode() for step in proof)


def decoded(proof: Sequence[str]) -> list[bytes]:
    """The proof of a message; what cannot be read proves nothing."""
    try:
        return [base64.b64decode(step, validate=True) for step in proof]
    except (binascii.Error, ValueError):
        return []
