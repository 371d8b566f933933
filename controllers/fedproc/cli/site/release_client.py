"""What awaits a person's decision, asked of the orchestrator by its socket: for the commands, and for the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fedproc.cli.site.contents import Content, content_of
from fedproc.cli.site.control import ask
from fedproc.common.errors import FedprocError, InvalidInputError

_PIECE = 1 << 20


class ReleaseClient:
    """The releases of one host. Methods raise :class:`FedprocError` as the orchestrator answers."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    def all(self) -> list[dict[str, Any]]:
        """Every job that waits, as :mod:`fedproc.site.status.releases` shows it."""
        found: list[dict[str, Any]] = ask(self._socket, "GET", "/releases")
        return found

    def one(self, job: str) -> dict[str, Any]:
        """One of them, with what each rule found."""
        found: dict[str, Any] = ask(self._socket, "GET", f"/releases/{quote(job, safe='')}")
        return found

    def decide(self, job: str, *, release: bool, reason: str, files: Mapping[str, str] | None) -> dict[str, Any]:
        """Say something about files (path: sha256 that was looked at), or about all that are open."""
        body = {"decision": "release" if release else "refuse", "reason": reason}
        named = {} if files is None else {"files": dict(files)}
        found: dict[str, Any] = ask(self._socket, "POST", f"/releases/{quote(job, safe='')}", body | named)
        return found

    def content(self, job: str, path: str) -> Content:
        """What is in a file."""
        file = self.file(job, path)
        return content_of(io.BufferedReader(file, _PIECE), file.size, path)

    def file(self, job: str, path: str) -> _Remote:
        """The file itself, which is read piece by piece."""
        return _Remote(self._socket, job, path)


class _Remote(io.RawIOBase):
    """A sealed file that the orchestrator reads out."""

    def __init__(self, socket: Path, job: str, path: str) -> None:
        self._ask = (socket, "POST", f"/releases/{quote(job, safe='')}/read")
        self._path = path
        self._here = 0
        self.sha256, self.size = "", 0
        self._piece(0, 1)

    def _piece(self, offset: int, length: int) -> bytes:
        found = ask(*self._ask, {"path": self._path, "offset": offset, "length": length})
        self.sha256, self.size = found["sha256"], found["size"]
        return base64.b64decode(found["content"])

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._here, io.SEEK_END: self.size}[whence]
        self._here = max(0, base + offset)
        return self._here

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), _PIECE)
        piece = self._piece(self._here, wanted) if wanted and self._here < self.size else b""
        buffer[: len(piece)] = piece
        self._here += len(piece)
        return len(piece)


def chosen(entry: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The files of these names, or of outputs of these names; all that this person has not decided, without any.

    Raises :class:`InvalidInputError` for a name that fits nothing.
    """
    files = [file for file in entry["files"] if not file["kept"]]
    if not names:
        found = {file["path"]: file["sha256"] for file in files if file["said"] is None}
        if not found:
            raise FedprocError(f"nothing of {entry['job']} waits for your word")
        return found
    for name in names:
        if not any(name in (file["path"], file["output"]) for file in files):
            raise InvalidInputError(
                f"{name}: no output or file of {entry['job']} that may be decided about has this name"
            )
    return {file["path"]: file["sha256"] for file in files if {file["path"], file["output"]} & set(names)}
