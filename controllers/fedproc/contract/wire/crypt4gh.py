"""Crypt4GH (GA4GH, version 1.0): a file that only the owner of one key reads, of any size and with flat memory.

A header packet holds the file's own key, encrypted by X25519 and ChaCha20-Poly1305 to the reader's; then come segments
of :data:`SEGMENT` bytes, each encrypted by itself. Crypt4GH does not say which segment is the last: whoever decrypts
compares the sha256 of the plain bytes with what was decided.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from pydantic import AfterValidator

from fedproc.common.errors import UnreadableError

MEDIA_TYPE = "application/x-crypt4gh"
SEGMENT = 64 << 10
_MAGIC = b"crypt4gh"
_VERSION = 1
_KEY, _NONCE, _TAG = 32, 12, 16
_SEALED = SEGMENT + _NONCE + _TAG
_PARAMETERS = bytes(8)
"""of a packet: it holds the data's key (type 0), for ChaCha20-Poly1305 (method 0)"""
_NO_KEY = "must be a Crypt4GH public key: base64 of 32 bytes"
_MOST_PACKETS, _LARGEST_PACKET = 1000, 64 << 10


def _checked(text: str) -> str:
    key_of(text)
    return text


PublicKey = Annotated[str, AfterValidator(_checked)]
"""The base64 of the 32 bytes of an X25519 key: the middle line of a file that ``crypt4gh-keygen`` calls public."""


def key_of(text: str) -> bytes:
    """The bytes of a public key. Raises :class:`ValueError` for what is none, or what anybody could read."""
    try:
        key = base64.b64decode(text.encode("ascii"), validate=True)
        X25519PrivateKey.generate().exchange(X25519PublicKey.from_public_bytes(key))
    except (ValueError, binascii.Error) as error:
        raise ValueError(_NO_KEY) from error
    if base64.b64encode(key).decode() != text:
        raise ValueError(_NO_KEY)
    return key


def fingerprint(key: str) -> str:
    """By which people compare public keys: the sha256 of its 32 bytes. Raises :class:`ValueError` for what is none."""
    return hashlib.sha256(key_of(key)).hexdigest()


def encrypt_file(source: Path, target: Path, key: str, between: Callable[[], None] = lambda: None) -> str:
    """Write ``source`` to ``target``, on the disk, for the owner of the public ``key`` alone.

    Returns the sha256 of the plain bytes as they were read. ``between`` is called between two segments; what it raises
    ends the work.
    """
    digest, data_key = hashlib.sha256(), ChaCha20Poly1305.generate_key()
    cipher = ChaCha20Poly1305(data_key)
    with source.open("rb") as plain, target.open("wb") as sealed:
        sealed.write(_header(data_key, key_of(key)))
        while segment := plain.read(SEGMENT):
            between()
            digest.update(segment)
            nonce = os.urandom(_NONCE)
            sealed.write(nonce + cipher.encrypt(nonce, segment, None))
        sealed.flush()
        os.fsync(sealed.fileno())
    return digest.hexdigest()


def decrypt_file(source: Path, target: Path, private: bytes) -> str:
    """Write what is in ``source`` to ``target``; the sha256 of what was written.

    Raises :class:`UnreadableError` where it is no such file, for another key, cut or changed.
    """
    digest = hashlib.sha256()
    with source.open("rb") as sealed, target.open("wb") as plain:
        cipher = ChaCha20Poly1305(_data_key(sealed, private, source.name))
        while segment := sealed.read(_SEALED):
            try:
                content = cipher.decrypt(segment[:_NONCE], segment[_NONCE:], None)
            except (InvalidTag, ValueError) as error:
                raise UnreadableError(f"{source.name} was cut or changed: fetch it again") from error
            digest.update(content)
            plain.write(content)
    return digest.hexdigest()


def _header(data_key: bytes, reader: bytes) -> bytes:
    own = X25519PrivateKey.generate()
    writer, nonce = own.public_key().public_bytes_raw(), os.urandom(_NONCE)
    shared = _shared(own, reader, reader=reader, writer=writer)
    body = bytes(4) + writer + nonce + ChaCha20Poly1305(shared).encrypt(nonce, _PARAMETERS + data_key, None)
    return _MAGIC + _number(_VERSION) + _number(1) + _number(len(body) + 4) + body


def _data_key(sealed: BinaryIO, private: bytes, name: str) -> bytes:
    own = X25519PrivateKey.from_private_bytes(private)
    start = sealed.read(16)
    packets = int.from_bytes(start[12:], "little")
    if start[:12] != _MAGIC + _number(_VERSION) or not 0 < packets <= _MOST_PACKETS:
        raise UnreadableError(f"{name} is not a Crypt4GH file of version {_VERSION}")
    found = None
    for _ in range(packets):
        length = int.from_bytes(sealed.read(4), "little")
        if not 4 <= length <= _LARGEST_PACKET:
            raise UnreadableError(f"{name} has a header that is cut or changed")
        found = found or _opened(sealed.read(length - 4), own)
    if found is None:
        raise UnreadableError(f"{name} is not encrypted to this key: take the private key of the one that it was for")
    return found


def _opened(packet: bytes, own: X25519PrivateKey) -> bytes | None:
    """The data's key, if the packet holds it for this key."""
    writer, nonce, content = packet[4:36], packet[36:48], packet[48:]
    try:
        shared = _shared(own, writer, reader=own.public_key().public_bytes_raw(), writer=writer)
        plain = ChaCha20Poly1305(shared).decrypt(nonce, content, None)
    except (InvalidTag, ValueError):
        return None
    return plain[8:] if plain[:8] == _PARAMETERS and len(plain) == 8 + _KEY else None


def _shared(own: X25519PrivateKey, other: bytes, *, reader: bytes, writer: bytes) -> bytes:
    exchanged = own.exchange(X25519PublicKey.from_public_bytes(other))
    return hashlib.blake2b(exchanged + reader + writer, digest_size=64).digest()[:_KEY]


def _number(value: int) -> bytes:
    return value.to_bytes(4, "little")
