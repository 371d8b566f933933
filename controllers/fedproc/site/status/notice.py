"""What a site's own people are told of a job that waits for them, as text and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from fedproc.common.errors import InvalidInputError


@dataclass(frozen=True)
class Notice:
    """One job that waits."""

    job: str
    files: int
    since: datetime
    until: datetime
    is_reminder: bool

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "job": self.job,
            "files": self.files,
            "since": self.since.isoformat(),
            "until": self.until.isoformat(),
            "reminder": self.is_reminder,
        }


class Channel(Protocol):
    """A way to the site's people. ``send`` raises :class:`FedprocError` or OSError if it did not go, and ``check`` if
    it cannot go as this host is set up."""

    name: str

    def check(self) -> None: ...

    async def send(self, host: str, notices: Sequence[Notice]) -> None: ...


def text_of(host: str, notices: Sequence[Notice]) -> str:
    """For people."""
    jobs = "one job" if len(notices) == 1 else f"{len(notices)} jobs"
    lines = [
        f"At host {host} of fedproc the outputs of {jobs} wait for a person.",
        "",
        *(
            f"{each.job}: {each.files} file{'' if each.files == 1 else 's'}, since {_date(each.since)}; "
            f"stays at the host if nobody decides until {_date(each.until)}{' (reminder)' if each.is_reminder else ''}"
            for each in notices
        ),
        "",
        "On the host: fedproc site releases, or fedproc site review. This message has nothing of the data.",
    ]
    return "\n".join(lines) + "\n"


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def secret_in(path: Path) -> bytes:
    """The one line of a file that its owner alone reads, or its bytes if it is no ASCII text.

    Raises :class:`InvalidInputError`, and OSError.
    """
    if path.stat().st_mode & 0o077:
        raise InvalidInputError(f"{path} may be read by others: chmod 600 {path}")
    found = path.read_bytes()
    return found.strip() if found.isascii() else found.removesuffix(b"\n")


def body_of(host: str, notices: Sequence[Notice], at: datetime) -> Mapping[str, Any]:
    """For programs."""
    jobs = [each.as_json() for each in notices]
    return {"type": "release.waiting", "timestamp": at.isoformat(), "data": {"host": host, "jobs": jobs}}
