"""In what engines that speak Docker's API differ: Docker and Podman."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fedproc.site.executors.confinement.seccomp import engine_profile

_SECCOMP = json.dumps(engine_profile())
_READ_ONLY = dict.fromkeys(("/run", "/var/tmp"), "ro,nosuid,nodev,noexec,size=64k")  # noqa: S108 (Podman's writable ones)


@dataclass(frozen=True)
class Dialect:
    """In what engines that speak Docker's API differ."""

    seccomp: str = _SECCOMP
    """the filter of system calls itself, or the path of a file with it"""
    log_driver: str = "local"
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    """what else is to lie over the root"""


def podman_dialect(seccomp: Path) -> Dialect:
    """Podman's: it reads the filter from a file of its host, which is written here, at ``seccomp``."""
    seccomp.write_text(_SECCOMP)
    return Dialect(seccomp=str(seccomp), log_driver="k8s-file", tmpfs=_READ_ONLY)


def speaks_podman(version: dict[str, Any]) -> bool:
    """Whether what an engine says of itself (``GET /version``) is of Podman."""
    return any("podman" in str(part.get("Name")).lower() for part in version.get("Components") or [])
