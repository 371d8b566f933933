"""What every executor shows a job in the same way: folders, connections, command."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from fedproc.site.executors.base import WORK, Spec

CONNECTIONS_OUT = PurePosixPath("/fedproc/connections/out")
CONNECTIONS_IN = PurePosixPath("/fedproc/connections/in")
CONNECT = PurePosixPath("/fedproc/connect.py")
PYTHON = "/usr/bin/python3"
"""of the job's root, for the inside end of connections"""
CONNECT_SOURCE = Path(__file__).with_name("connect_shim.py")


@dataclass(frozen=True)
class SandboxLayout:
    """A job's command and what it sees: sources of the host by their place inside, names by their address."""

    command: list[str]
    mounts: list[tuple[str, str]]
    writable: list[tuple[str, str]]
    hosts: list[tuple[str, str]]


def layout_for(spec: Spec, python: str = PYTHON) -> SandboxLayout:
    """The layout of a job. What lies inside another mount comes after it; ``python`` runs the end of connections."""
    hosts = [(f"127.0.1.{index}", forward.alias) for index, forward in enumerate(spec.forwards, 1)]
    mounts = {(str(mount.source), str(mount.target)) for mount in spec.mounts}
    writable = {(str(spec.workspace), str(WORK))}
    command = list(spec.command)
    if spec.forwards or spec.ports:
        mounts.add((str(CONNECT_SOURCE), str(CONNECT)))
        mounts |= {(str(f.socket.parent), str(CONNECTIONS_OUT)) for f in spec.forwards}
        writable |= {(str(p.socket.parent), str(CONNECTIONS_IN)) for p in spec.ports}
        command = [python, "-I", str(CONNECT), _declared(spec, hosts), "--", *command]
    return SandboxLayout(command, _outer_first(mounts), _outer_first(writable), hosts)


def _declared(spec: Spec, hosts: list[tuple[str, str]]) -> str:
    forwards = [
        (address, forward.port, str(CONNECTIONS_OUT / forward.socket.name))
        for (address, _), forward in zip(hosts, spec.forwards, strict=True)
    ]
    ports = [(port.port, str(CONNECTIONS_IN / port.socket.name)) for port in spec.ports]
    return json.dumps({"forwards": forwards, "ports": ports})


def _outer_first(mounts: set[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(mounts, key=lambda mount: (mount[1].count("/"), mount[1]))
