"""How the log names persons, and texts that may name some: by a hash under a key that never leaves the host.

A hash without a key of what has few values, such as a name, is as good as the name itself.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from fedproc.common.files import write_atomically

KEY = "pseudonyms.key"
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}", re.ASCII)


class Pseudonyms:
    """Made with the log's folder, and kept there. Raises :class:`OSError`."""

    def __init__(self, folder: Path) -> None:
        path = folder / KEY
        if not path.exists():
            write_atomically(path, secrets.token_hex(32).encode(), 0o600)
        self._key = path.read_bytes()

    def of(self, kind: str, text: str) -> str:
        """``user:…`` with 32 hex digits, the same for the same text; another one for another ``kind``."""
        found = hmac.new(self._key, f"{kind}\0{text}".encode(errors="replace"), hashlib.sha256)
        return f"{kind}:{found.hexdigest()[:32]}"

    def unless_id(self, kind: str, text: str | None) -> str | None:
        """A text as it is if it has the form of an id, without spaces; else its pseudonym."""
        return text if text is None or _ID.fullmatch(text) else self.of(kind, text)
