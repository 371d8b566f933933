"""The files of a log's folder, and its key."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from fedproc.common.files import write_atomically
from fedproc.common.tlog.errors import LogDamagedError
from fedproc.common.tlog.notes import NoteSigner, NoteVerifier

ENTRIES = "entries.jsonl"
HASHES = "hashes"
CHECKPOINT = "checkpoint"
LOCK = "lock"
KEY = "key.pem"
VERIFIER = "key.pub"


def signer_in(folder: Path, origin: str, *, new: bool) -> NoteSigner:
    """What signs this log's checkpoints. A ``new`` log gets a key, which goes with its origin ever after.

    Raises :class:`LogDamagedError` if an older log's key is not there or no key, and :class:`OSError`.
    """
    if new and not (folder / KEY).exists():
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_atomically(folder / VERIFIER, f"{NoteSigner(origin, key).verifier}\n".encode())
        write_atomically(folder / KEY, pem, 0o600)
    return NoteSigner(verifier_in(folder).name, _key_in(folder))


def open_own(path: Path, flags: int = 0) -> int:
    """Open a file of the folder for reading and writing; a new one is for its owner alone, and no link is followed.

    Raises :class:`OSError`.
    """
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | flags, 0o600)


def give_to_owner(folder: Path) -> None:
    """What root has made here belongs to whoever has the folder that it lies in: programs of several users append."""
    if os.geteuid() == 0:
        owner = folder.parent.stat()
        for path in (folder, *folder.iterdir()):
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def verifier_in(folder: Path) -> NoteVerifier:
    """By which the checkpoints of the log in this folder are verified. Raises as :func:`signer_in` does."""
    try:
        return NoteVerifier.parse((folder / VERIFIER).read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise LogDamagedError(f"the log's public key {folder / VERIFIER} cannot be read; put it back") from error


def _key_in(folder: Path) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key((folder / KEY).read_bytes(), None)
    except (FileNotFoundError, ValueError, TypeError) as error:
        raise LogDamagedError(f"the log's key {folder / KEY} cannot be read; put it back from a backup") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise LogDamagedError(f"the log's key {folder / KEY} is not of kind Ed25519; put it back from a backup")
    return key
