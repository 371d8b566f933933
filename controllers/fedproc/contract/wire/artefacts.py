"""Artefacts: files that one host encrypts to the key of another, of any size and with flat memory.

What has at most :data:`SMALL` bytes is a compact JWE, as the release before reads it. What is larger is a line with
the format's name and a JWE that holds a key of this file alone, and then chunks of :data:`CHUNK` bytes, each sealed by
AES-256-GCM with its number and whether it is the last one as the nonce (the STREAM construction: Hoang, Reyhanitabar,
Rogaway, Vizár, CRYPTO 2015; the nonces are those of age). So no chunk can be changed, left out, moved or added.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.jwk import ECKey

from fedproc.common.errors import UnreadableError
from fedproc.contract.wire.jws import decrypt, encrypt_to

SMALL = 48 << 10
CHUNK = 1 << 20
_TAG = 16
_FORMAT = b"fedproc-artefact-1 "
_HEADER = 4096
"""bytes that the first line may have; it has some 400"""

_KEY_BYTES = 32
_WHOLE = 64 << 20
"""bytes that a file may have which is one JWE"""


def encrypt_file(
    source: Path, target: Path, recipient: Mapping[str, Any], between: Callable[[], None] = lambda: None
) -> str:
    """Write ``source`` to ``target``, on the disk, for the owner of the key ``recipient`` (public JWK) alone.

    Returns the sha256 of the plain bytes as they were read. ``between`` is called between two chunks; what it raises
    ends the work.
    """
    digest = hashlib.sha256()
    with source.open("rb") as plain, target.open("wb") as sealed:
        if os.fstat(plain.fileno()).st_size <= SMALL:
            content = plain.read()
            digest.update(content)
            sealed.write(encrypt_to(content, recipient))
        else:
            key = AESGCM.generate_key(256)
            header = _FORMAT + encrypt_to(key, recipient) + b"\n"
            sealed.write(header)
            for nonce, chunk in _chunks(plain, CHUNK):
                between()
                digest.update(chunk)
                sealed.write(AESGCM(key).encrypt(nonce, chunk, header))
        sealed.flush()
        os.fsync(sealed.fileno())
    return digest.hexdigest()


def decrypt_file(source: Path, target: Path, key: ECKey) -> None:
    """Write the plain bytes of ``source`` to ``target``, which is of no use if this raises :class:`UnreadableError`."""
    with source.open("rb") as sealed, target.open("wb") as plain:
        header = sealed.readline(_HEADER)
        if not header.startswith(_FORMAT):
            sealed.seek(0)
            plain.write(decrypt(_bounded(sealed), key))
            return
        own = decrypt(header.removeprefix(_FORMAT).rstrip(b"\n"), key)
        if len(own) != _KEY_BYTES:
            raise UnreadableError("artefact has no key of its own that could read it; run it again")
        cipher = AESGCM(own)
        try:
            for nonce, chunk in _chunks(sealed, CHUNK + _TAG):
                plain.write(cipher.decrypt(nonce, chunk, header))
        except InvalidTag:
            raise UnreadableError("artefact was changed or cut after it was encrypted; run it again") from None


def _bounded(sealed: BinaryIO) -> bytes:
    """A file that is encrypted as a whole is in memory as a whole, and may be no larger than hosts ever wrote them."""
    if len(content := sealed.read(_WHOLE + 1)) > _WHOLE:
        raise UnreadableError(
            f"artefact is encrypted as a whole and has more than {_WHOLE >> 20} MiB; update the host that sent it"
        )
    return content


def _chunks(content: BinaryIO, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The chunks with their nonces. An empty file has one, which is empty."""
    number, chunk = 0, content.read(size)
    while True:
        following = content.read(size)
        yield number.to_bytes(11, "big") + (b"\0" if following else b"\1"), chunk
        if not following:
            return
        number, chunk = number + 1, following
