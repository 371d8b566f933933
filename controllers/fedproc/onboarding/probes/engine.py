"""Container engines and sandboxes: which are installed, and whether they answer."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.onboarding.model.facts import Engine, EngineFacts

SECONDS = 5.0
LONGEST_ANSWER = 4 << 20


@dataclass(frozen=True)
class Socket:
    """Where an engine with Docker's API (Docker itself, or Podman) may listen."""

    name: str
    path: Path


def probe() -> EngineFacts:
    """All engines found on this machine; an empty list where there is none."""
    found = (*map(_docker_like, ("docker", "podman")), *map(_apptainer, ("apptainer", "singularity")), bubblewrap())
    return EngineFacts(tuple(engine for engine in found if engine is not None))


def sockets(name: str) -> list[Socket]:
    """Candidates in the order in which the engine's own client looks for them."""
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    if name == "podman":
        return [Socket(name, Path("/run/podman/podman.sock")), Socket(name, runtime / "podman/podman.sock")]
    named = os.environ.get("DOCKER_HOST", "")
    first = [Socket(name, Path(named.removeprefix("unix://")))] if named.startswith("unix://") else []
    return [*first, Socket(name, Path("/var/run/docker.sock")), Socket(name, runtime / "docker.sock")]


def _docker_like(name: str) -> Engine | None:
    reasons = []
    denied = False
    for candidate in (s for s in sockets(name) if s.path.exists()):
        try:
            owner = candidate.path.stat().st_uid
            return _from_api(name, _get(candidate.path, "/version"), _get(candidate.path, "/info"), owner)
        except PermissionError:
            denied = True
            reasons.append(f"{candidate.path}: this user may not open it")
        except (OSError, ValueError, http.client.HTTPException) as error:
            reasons.append(f"{candidate.path}: {error}")
    client = shutil.which(name)
    if not reasons and client is None:
        return None
    reasons = reasons or [f"{client} is installed, but no engine listens on its socket"]
    return Engine(name, _version([name, "--version"]), "denied" if denied else "broken", "; ".join(reasons))


def why_silent(path: Path) -> str:
    """Why no engine answers at this socket; empty if one does."""
    try:
        _get(path, "/version")
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(error)
    return ""


def _get(path: Path, resource: str) -> dict[str, Any]:
    """Raises :class:`OSError` where nothing answers, :class:`ValueError` where the answer is not the engine's."""
    connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(SECONDS)
        channel.connect(str(path))
        connection.sock = channel
        connection.request("GET", resource)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise ValueError(f"answers {response.status} {response.reason}")
        answer = json.loads(response.read(LONGEST_ANSWER))
    if not isinstance(answer, dict):
        raise ValueError("answers, but not as a container engine does")  # noqa: TRY004 - bad data
    return answer


def _from_api(name: str, version: dict[str, Any], info: dict[str, Any], owner: int) -> Engine:
    components = version.get("Components") or [{}]
    kind = "podman" if "Podman" in str(components[0].get("Name")) else name
    options = [str(option) for option in info.get("SecurityOptions") or []]
    runtimes = ", ".join(sorted(info.get("Runtimes") or {})) or "not stated"
    detail = f"cgroup v{info.get('CgroupVersion', '1')}, runtimes: {runtimes}"
    rootless = owner != 0 or any("rootless" in option for option in options)  # Podman 4 does not say it
    return Engine(kind, str(version.get("Version", "")), "usable", detail, rootless)


def _apptainer(name: str) -> Engine | None:
    if shutil.which(name) is None:
        return None
    done = run([name, "--version"])
    if done.returncode:
        return Engine(name, "", "broken", f"'{name} --version' fails: {(done.stderr or done.stdout).strip()[:300]}")
    return Engine(name, done.stdout.split()[-1] if done.stdout.split() else "", "usable", "answers", True)


def bubblewrap() -> Engine | None:
    """Bubblewrap of fedproc's ``sandbox`` executor, tried for real: it depends on the kernel's settings."""
    if shutil.which("bwrap") is None:
        return None
    done = run(["bwrap", "--ro-bind", "/", "/", "--unshare-all", "--die-with-parent", "true"])
    state = "broken" if done.returncode else "usable"
    detail = f"cannot make a sandbox: {done.stderr.strip()[:300]}" if done.returncode else "makes a sandbox"
    return Engine("bubblewrap", _version(["bwrap", "--version"]), state, detail, True)


def _version(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    parts = run(command).stdout.replace(",", " ").split()
    return next((part for part in parts if part[0].isdigit()), "")


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """What a program says within :data:`SECONDS`; exit code 124 if it does not, 126 if it cannot be started."""
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {SECONDS:g} s")
    except OSError as error:
        return subprocess.CompletedProcess(command, 126, "", str(error))
