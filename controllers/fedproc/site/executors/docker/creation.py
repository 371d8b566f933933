"""What the engine is asked to make of a job (Docker's API, ``POST /containers/create``)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fedproc.site.executors.base import WORK, Limits, Spec
from fedproc.site.executors.confinement.etc import UID, USER
from fedproc.site.executors.docker.dialect import Dialect
from fedproc.site.executors.layout import SandboxLayout

_IPV6 = Path("/proc/sys/net/ipv6")
_LOG_FILES = 2
_LOG_SHARE = 4
"""the engine's log has this many times the room of what is kept: it keeps both streams and a frame around each line"""


def creation_of(spec: Spec, layout: SandboxLayout, label: str, dialect: Dialect) -> dict[str, Any]:
    """What the engine is asked to make (Docker's API, ``POST /containers/create``)."""
    name, _, value = label.partition("=")
    variables = {"HOME": str(WORK), "USER": USER, "LOGNAME": USER, "TMPDIR": "/tmp", **spec.environment}  # noqa: S108 (the job's own)
    return {
        "Image": spec.runtime,
        "Entrypoint": layout.command[:1],  # Podman 4.3 takes an empty one for none, and uses the image's
        "Cmd": layout.command[1:],
        "Env": [f"{name}={value}" for name, value in variables.items()],
        "User": f"{UID}:{UID}",
        "WorkingDir": str(WORK),
        "Hostname": spec.job[:63],
        "Labels": {name: value},
        "AttachStdout": True,
        "AttachStderr": True,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {**_confinement(spec, dialect), **_limits(spec, dialect), **_view(layout)},
    }


def _confinement(spec: Spec, dialect: Dialect) -> dict[str, Any]:
    return {
        "NetworkMode": "none",
        "UsernsMode": dialect.user_namespace,
        "Sysctls": {"net.ipv6.conf.lo.disable_ipv6": "0"} if _IPV6.exists() else {},
        "IpcMode": "private",
        "ReadonlyRootfs": True,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges", f"seccomp={dialect.seccomp}"],
        "Init": True,
        "DeviceRequests": _gpus(spec.limits.gpus),
    }


def _limits(spec: Spec, dialect: Dialect) -> dict[str, Any]:
    limits, log = spec.limits, spec.limits.log * _LOG_SHARE
    most = {"fsize": limits.disk, "core": 0, "nofile": 4096}
    return {
        **_of_groups(limits, dialect),
        "ShmSize": limits.memory // 2,
        "Tmpfs": {**dialect.tmpfs, "/tmp": f"rw,exec,nosuid,nodev,mode=1777,size={limits.memory // 2}"},  # noqa: S108 (the job's own)
        "Ulimits": [{"Name": kind, "Soft": value, "Hard": value} for kind, value in most.items()],
        "LogConfig": {
            "Type": dialect.log_driver,
            "Config": {"max-size": str(max(log, 1 << 20)), "max-file": str(_LOG_FILES), "compress": "false"},
        },
    }


def _of_groups(limits: Limits, dialect: Dialect) -> dict[str, Any]:
    """The limits that control groups enforce."""
    asked = {
        "memory": {"Memory": limits.memory, "MemorySwap": limits.memory},
        "cpus": {"NanoCpus": int(limits.cpus * 1e9)},
        "pids": {"PidsLimit": limits.pids},
    }
    return {name: value for limit, of in asked.items() if limit not in dialect.lacks for name, value in of.items()}


def _view(layout: SandboxLayout) -> dict[str, Any]:
    sides = [(layout.mounts, True), (layout.writable, False)]
    return {
        "ExtraHosts": [f"{alias}:{address}" for address, alias in layout.hosts],
        "Mounts": [
            {"Type": "bind", "Source": source, "Target": target, "ReadOnly": fixed}
            for mounts, fixed in sides
            for source, target in mounts
        ],
    }


def _gpus(uuids: tuple[str, ...]) -> list[dict[str, Any]]:
    return [{"Driver": "nvidia", "DeviceIDs": list(uuids), "Capabilities": [["gpu"]]}] if uuids else []
