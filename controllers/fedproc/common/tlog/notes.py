"""Signed notes of C2SP (c2sp.org/signed-note), with Ed25519 keys: texts that foreign tools verify, too."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from fedproc.common.errors import InvalidInputError

_ED25519 = b"\x01"
_NAME = re.compile(r"[^\s+]{1,200}")
_SIGNATURE = re.compile(r"— (\S+) (\S+)")
_LONGEST = 1 << 16
"""bytes of a note that is looked at"""


class NoteError(InvalidInputError):
    """It is no signed note, or not one that this key has signed."""

    code = "note"


@dataclass(frozen=True)
class NoteVerifier:
    """A name and a public key. As text (C2SP's *vkey*): name, key id in hex, key in base64, joined by ``+``."""

    name: str
    key: bytes

    @classmethod
    def parse(cls, text: str) -> NoteVerifier:
        """Raises :class:`NoteError` unless it is the text of an Ed25519 key."""
        name, _, rest = text.strip().partition("+")
        key_id, _, encoded = rest.partition("+")
        try:
            decoded = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            decoded = b""
        verifier = cls(name, decoded[1:])
        if len(decoded) != 33 or not _NAME.fullmatch(name) or decoded[:1] != _ED25519 or key_id != verifier.id.hex():
            raise NoteError(f"{text[:100]!r} is no key of a signed note; it is to be NAME+ID+KEY, of kind Ed25519")
        return verifier

    @property
    def id(self) -> bytes:
        """Four bytes by which a signature line says whose it is."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.key).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.key).decode()}"

    def open(self, note: str) -> str:
        """The text of a note that this key has signed. Raises :class:`NoteError`."""
        text, lines = _parts(note)
        signature = next((found for found in map(self._own, lines) if found is not None), None)
        if signature is None:
            raise NoteError(f"the note is not signed by {self.name} (key {self.id.hex()})")
        try:
            Ed25519PublicKey.from_public_bytes(self.key).verify(signature, text.encode())
        except (InvalidSignature, ValueError) as error:
            raise NoteError(f"the signature of {self.name} (key {self.id.hex()}) does not fit the note") from error
        return text

    def _own(self, line: str) -> bytes | None:
        found = _SIGNATURE.fullmatch(line)
        if found is None or found[1] != self.name:
            return None
        try:
            decoded = base64.b64decode(found[2], validate=True)
        except (binascii.Error, ValueError):
            return None
        return decoded[4:] if decoded[:4] == self.id else None


class NoteSigner:
    """Signs notes under a name, which has neither a space nor ``+``."""

    def __init__(self, name: str, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.verifier = NoteVerifier(name, key.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """The note: ``text``, which ends a line, an empty line, the signature."""
        signature = base64.b64encode(self.verifier.id + self._key.sign(text.encode())).decode()
        return f"{text}\n— {self.verifier.name} {signature}\n"


def text_of(note: str) -> str:
    """The text of a note, whoever has signed it. Raises :class:`NoteError`."""
    return _parts(note)[0]


def _parts(note: str) -> tuple[str, list[str]]:
    """The text, which ends a line, and the lines of signatures."""
    if len(note) > _LONGEST:
        raise NoteError(f"a note of {len(note)} characters is not looked at")
    text, gap, signatures = note.rpartition("\n\n")
    if not gap or not signatures.endswith("\n"):
        raise NoteError("this is no signed note: there is no empty line with lines of signatures below it")
    return f"{text}\n", signatures.removesuffix("\n").split("\n")
