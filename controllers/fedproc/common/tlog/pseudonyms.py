"""How the log names persons, and texts that may name some: by a hash under a key that never leaves the host.

A hash without a key of what has few values, such as a name, is as good as the name itself.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

KEY = "pseudonyms.key"
_LENGTH = 64
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)


class Pseudonyms:
    """Made with the log's folder, and kept there. Raises :class:`OSError`."""

    def __init__(self, folder: Path) -> None:
        path = folder / KEY
        _make_once(path)
        self._key = path.read_bytes()
        if len(self._key) != _LENGTH:
            raise OSError(errno.EINVAL, "it is no key of pseudonyms; put it back from a backup", str(path))

    def of(self, kind: str, text: str) -> str:
        """``user:…`` with 32 hex digits, the same for the same text; another one for another ``kind``."""
        found = hmac.new(self._key, f"{kind}\0{text}".encode(errors="replace"), hashlib.sha256)
        return f"{kind}:{found.hexdigest()[:32]}"

    def unless_id(self, kind: str, text: str | None) -> str | None:
        """A text as it is if it has the form of an id, without spaces; else its pseudonym."""
        return text if text is None or _ID.fullmatch(text) else self.of(kind, text)


def _make_once(path: Path) -> None:
    """Of programs that begin at once one makes the key; one that has no room for it leaves nothing."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        with os.fdopen(descriptor, "wb") as target:
            target.write(secrets.token_hex(_LENGTH // 2).encode())
            target.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise
