"""What an enrolment is asked for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class EnrolmentOptions:
    """What the site's operator gives: whom to ask, as which host, with which code, and what to trust."""

    url: str
    host: str
    folder: Path
    ca_file: Path | None = None
    ca_sha256: str | None = None
    catalogue_sha256: tuple[str, ...] = ()
    """fingerprints of keys that may sign tools; whatever the centre gives counts unless given"""
    renew: bool = False
    """ask for a new certificate, though there is one that is good"""
    proxy: str | None = None
    """http://[user:password@]host:port; the environment's unless given"""


@dataclass(frozen=True)
class EnrolmentResult:
    """``state`` ``requested`` is: an operator has not confirmed yet. ``changed``: something was written here."""

    host: str
    state: Literal["enrolled", "requested"]
    fingerprint: str
    changed: bool
    folder: str
    dispatch_keys: list[str]
    catalogue_keys: list[str]
    centre: dict[str, Any] | None = None
    """addresses, if the centre was asked"""
