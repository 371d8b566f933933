"""Files of Crypt4GH keys, as ``crypt4gh-keygen`` and ``ssh-keygen``'s like write them."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from fedproc.common.errors import InvalidInputError
from fedproc.contract.wire.crypt4gh import key_of

_LARGEST = 64 << 10
_MAGIC = b"c4gh-v1"


def read_public(path: Path) -> str:
    """The public key in a file, as it is sent. Raises :class:`InvalidInputError`."""
    text = _middle(path, "PUBLIC")
    try:
        key_of(text)
    except ValueError as error:
        raise InvalidInputError(f"{path} {error}; crypt4gh-keygen makes a pair of keys") from error
    return text


def public_of(private: bytes) -> str:
    """The public key of a private one, as it is sent."""
    public = X25519PrivateKey.from_private_bytes(private).public_key()
    return base64.b64encode(public.public_bytes_raw()).decode()


def read_private(path: Path, passphrase: Callable[[], str]) -> bytes:
    """The 32 bytes of a private key; ``passphrase`` is asked for one if it is locked.

    Raises :class:`InvalidInputError`.
    """
    try:
        stream = BytesIO(base64.b64decode(_middle(path, "PRIVATE"), validate=True))
        key = _unlocked(stream, passphrase)
    except (ValueError, binascii.Error) as error:
        raise InvalidInputError(f"{path} is no Crypt4GH private key that can be read here: {error}") from error
    except InvalidTag as error:
        raise InvalidInputError(f"{path}: the passphrase is not the right one") from error
    if len(key) != 32:
        raise InvalidInputError(f"{path} is no Crypt4GH private key: it has {len(key)} bytes")
    return key


def _middle(path: Path, kind: str) -> str:
    try:
        with path.open("rb") as file:
            lines = file.read(_LARGEST).decode("ascii").split("\n")
    except OSError as error:
        raise InvalidInputError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is no file of a Crypt4GH key") from error
    found = [line.strip() for line in lines if line.strip()]
    if len(found) < 3 or found[0] != f"-----BEGIN CRYPT4GH {kind} KEY-----":
        raise InvalidInputError(f"{path} is no Crypt4GH {kind.lower()} key: it does not begin as one")
    return "".join(found[1:-1])


def _unlocked(stream: BytesIO, passphrase: Callable[[], str]) -> bytes:
    if stream.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it is not of version 1")
    kdf = _text(stream)
    options = b"" if kdf == b"none" else _text(stream)
    cipher, content = _text(stream), _text(stream)
    if cipher == b"none":
        return content
    if kdf != b"scrypt" or cipher != b"chacha20_poly1305":
        kind = kdf.decode("ascii", "replace")
        raise ValueError(f"it is locked by {kind}, not by scrypt: decrypt with crypt4gh itself")
    locked = passphrase().encode()
    key = hashlib.scrypt(locked, salt=options[4:], n=1 << 14, r=8, p=1, dklen=32, maxmem=64 << 20)
    return ChaCha20Poly1305(key).decrypt(content[:12], content[12:], None)


def _text(stream: BytesIO) -> bytes:
    length = int.from_bytes(stream.read(2), "big")
    found = stream.read(length)
    if len(found) != length:
        raise ValueError("it was cut")
    return found
