"""Checkpoints of C2SP (c2sp.org/tlog-checkpoint): a log's origin, size and root, as a signed note."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from fedproc.common.tlog.merkle import HASH_BYTES
from fedproc.common.tlog.notes import NoteError, NoteSigner, NoteVerifier, text_of

_SIZE = re.compile("0|[1-9][0-9]{0,17}", re.ASCII)


@dataclass(frozen=True)
class Checkpoint:
    """A log as it was at one moment."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{self.root_text}\n"

    @property
    def root_text(self) -> str:
        return base64.b64encode(self.root).decode()

    def signed(self, signer: NoteSigner) -> str:
        return signer.sign(self.text)

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """From a note's text; lines that extend it are passed over. Raises :class:`NoteError`."""
        origin, size, root = [*text.split("\n"), "", "", ""][:3]
        try:
            decoded = base64.b64decode(root, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        if not origin or not _SIZE.fullmatch(size) or len(decoded) != HASH_BYTES:
            raise NoteError("the note is no checkpoint: its first lines are to be origin, size and root")
        return cls(origin, int(size), decoded)


def opened(note: str, verifier: NoteVerifier) -> Checkpoint:
    """The checkpoint that a log has signed, by its own name. Raises :class:`NoteError`."""
    found = Checkpoint.parse(verifier.open(note))
    if found.origin != verifier.name:
        raise NoteError(f"{verifier.name} has signed a checkpoint of {found.origin}, which is not its own")
    return found


def unverified(note: str) -> Checkpoint:
    """What a note says, whoever has signed it. Raises :class:`NoteError`."""
    return Checkpoint.parse(text_of(note))
