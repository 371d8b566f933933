"""In what engines that speak Docker's API differ: Docker and Podman, of root or of an ordinary user."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fedproc.site.executors.confinement.etc import UID
from fedproc.site.executors.confinement.seccomp import engine_profile

_SECCOMP = json.dumps(engine_profile())
_READ_ONLY = dict.fromkeys(("/run", "/var/tmp"), "ro,nosuid,nodev,noexec,size=64k")  # noqa: S108 (Podman's writable ones)
_OWN_USER = f"keep-id:uid={UID},gid={UID}"
_CONTROLLERS = {"memory": "memory", "cpu": "cpus", "pids": "pids"}
"""by control group, the limit that needs it"""
_DOCKERS = {"MemoryLimit": "memory", "CpuCfsQuota": "cpus", "PidsLimit": "pids"}
"""the same, by what Docker says whether it can"""


@dataclass(frozen=True)
class EngineNature:
    """What an engine says of itself."""

    podman: bool = False
    version: str = ""
    owner: int | None = None
    """the user of the host that an engine belongs to which is not root's"""
    group: int = UID
    """that user's group, whose number need not be the user's"""
    lacks: tuple[str, ...] = ()
    """limits that it does not enforce, for want of control groups: ``memory``, ``cpus``, ``pids``"""

    @property
    def obstacle(self) -> str:
        """Why no job is started in it, if so."""
        if self.podman or self.owner is None:
            return ""
        return (
            "Docker of an ordinary user runs jobs as users to whom this host cannot give folders: name the socket of "
            "root's Docker, or of Podman, which an ordinary user may run (docs/executors.md)"
        )

    @property
    def cure(self) -> str:
        """How it is made to enforce what it lacks."""
        if self.owner is None:
            return "give the kernel these control groups (cgroup_enable=memory), or another executor to this host"
        return (
            "boot with control groups of version 2 (systemd.unified_cgroup_hierarchy=1) and delegate them to the user "
            "(Delegate=cpu memory pids in user@.service), or use root's engine, or the sandbox"
        )

    def __str__(self) -> str:
        whose = "root" if self.owner is None else f"user {self.owner}"
        return f"{'Podman' if self.podman else 'Docker'} {self.version} of {whose}"


@dataclass(frozen=True)
class Dialect:
    """How a container is asked for, where engines differ."""

    seccomp: str = _SECCOMP
    """the filter of system calls itself, or the path of a file with it"""
    log_driver: str = "local"
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    """what else is to lie over the root"""
    user_namespace: str = ""
    owner: int = UID
    """who, on the host, the folders belong to that a job writes"""
    group: int = UID
    lacks: tuple[str, ...] = ()
    """limits that the engine is not asked for, as it would refuse or forget them"""


def dialect_for(nature: EngineNature, seccomp: Path) -> Dialect:
    """The dialect of an engine. Podman reads the filter from a file of its host, which is written here, at ``seccomp``.

    In an engine of an ordinary user the job is that user himself outside, and 10001 inside: what it writes is his, who
    may remove it without being root.
    """
    if not nature.podman:
        return Dialect()
    seccomp.write_text(_SECCOMP)
    seccomp.chmod(0o644)
    common = Dialect(seccomp=str(seccomp), log_driver="k8s-file", tmpfs=_READ_ONLY, lacks=nature.lacks)
    if nature.owner is None:
        return common
    return replace(common, user_namespace=_OWN_USER, owner=nature.owner, group=nature.group)


def speaks_podman(version: Mapping[str, Any]) -> bool:
    """Whether what an engine says of itself (``GET /version``) is of Podman."""
    return any("podman" in str(part.get("Name")).lower() for part in version.get("Components") or [])


def nature_of(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineNature:
    """What it is, by ``GET /version``, and by ``GET /info`` of Docker or ``GET /libpod/info`` of Podman."""
    number = str(version.get("Version", ""))
    if not speaks_podman(version):
        rootless = any("rootless" in str(option) for option in info.get("SecurityOptions") or ())
        owner = os.getuid() if rootless else None
        lacks = tuple(limit for can, limit in _DOCKERS.items() if info.get(can) is False)
        return EngineNature(version=number, owner=owner, lacks=lacks)
    host = info.get("host") or {}
    there = host.get("cgroupControllers") or ()
    lacks = tuple(limit for controller, limit in _CONTROLLERS.items() if controller not in there)
    rootless = bool((host.get("security") or {}).get("rootless"))
    if not rootless:
        return EngineNature(True, number, lacks=lacks)
    maps = host.get("idMappings") or {}
    owner = _outside(maps.get("uidmap"), os.getuid())
    return EngineNature(True, number, owner, _outside(maps.get("gidmap"), owner), lacks)


def _outside(numbers: Sequence[Mapping[str, int]] | None, otherwise: int) -> int:
    """Which number the first one of the engine's user namespace has outside."""
    return next((int(each["host_id"]) for each in numbers or () if each["container_id"] == 0), otherwise)
