"""Short-lived addresses that give one file's bytes without a token (``GET /data/file/{file_id}/access/``).

The signature is an HMAC-SHA256 over file, host and expiry, with a secret that only the API's processes share:
a file in the file store's folder, made at the first start.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import time
from dataclasses import dataclass
from pathlib import Path

from fedproc.common.errors import ForbiddenError, GoneError

LIFETIME = 300.0
"""Seconds. A download that has begun may take longer; one that is resumed asks for a new link."""


@dataclass(frozen=True, slots=True)
class UrlGrant:
    """What a link says: ``host`` may have ``file`` until ``expires`` (seconds since 1970)."""

    file: str
    host: str
    expires: int


class SignedUrls:
    def __init__(self, folder: Path) -> None:
        self._secret = _secret(folder / "link.key")

    def make(self, file: str, host: str, now: float) -> tuple[str, float]:
        """The path with its signature, and when it ends."""
        grant = UrlGrant(file, host, int(now + LIFETIME))
        return f"/data/file/{file}/content?host={host}&expires={grant.expires}&signature={self._sign(grant)}", (
            grant.expires
        )

    def check(self, grant: UrlGrant, signature: str) -> None:
        """Raises :class:`ForbiddenError` if the signature is not ours, :class:`GoneError` if the link has ended."""
        if not hmac.compare_digest(self._sign(grant).encode(), signature.encode()):
            raise ForbiddenError("this link was not given by this API; ask /data/file/{file_id}/access/ for one")
        if time.time() >= grant.expires:
            raise GoneError("this link has ended; ask /data/file/{file_id}/access/ for a new one")

    def _sign(self, grant: UrlGrant) -> str:
        text = f"{grant.file}\n{grant.host}\n{grant.expires}".encode()
        return hmac.digest(self._secret, text, hashlib.sha256).hex()


def _secret(path: Path) -> bytes:
    """Read the secret, or make it; where two processes make one at once, both use the one that came first."""
    if not path.exists():
        own = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(own, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as target:
            target.write(os.urandom(32))
            target.flush()
            os.fsync(target.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(own)
        own.unlink()
    return path.read_bytes()
