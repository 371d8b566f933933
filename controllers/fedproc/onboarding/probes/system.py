"""The operating system and what it offers for keeping jobs within limits."""

from __future__ import annotations

import platform
import socket
from pathlib import Path

from fedproc.onboarding.model.facts import SystemFacts
from fedproc.onboarding.probes import cgroup, files

RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


def probe() -> SystemFacts:
    """What os-release(5), the kernel and this Python say."""
    release = os_release()
    version, controllers = cgroup.controllers()
    return SystemFacts(
        hostname=socket.gethostname(),
        id=release.get("ID", platform.system().lower()),
        version=release.get("VERSION_ID", ""),
        name=release.get("PRETTY_NAME", platform.system()),
        kernel=platform.release(),
        machine=platform.machine(),
        python=platform.python_version(),
        virtual=" hypervisor" in (files.text(Path("/proc/cpuinfo")) or ""),
        cgroup_version=version,
        cgroup_controllers=controllers,
    )


def os_release(places: tuple[Path, ...] = RELEASE) -> dict[str, str]:
    """The assignments of the first os-release file there is, unquoted."""
    text = next((t for place in places if (t := files.text(place)) is not None), "")
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key: value.strip().strip("\"'") for key, _, value in pairs}
