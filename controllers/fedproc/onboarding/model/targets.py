"""What of this machine and its surroundings is to be checked: addresses, folders, files. No thresholds."""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fedproc.net.errors import RouteError
from fedproc.net.proxy import stated_proxy

NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
RESERVED = ("clock", "services")  # lines of their own in a report
PORTS = {"https": 443, "amqps": 5671, "http": 80, "amqp": 5672}
DEFAULT_SOCKETS = {
    "docker": "/var/run/docker.sock",
    "podman": f"{os.environ.get('XDG_RUNTIME_DIR', f'/run/user/{os.getuid()}')}/podman/podman.sock",
}
WORK_FOLDER = Path("/var/lib/fedproc")


class BadInputError(Exception):
    """What a person gave is wrong. The text says what, where, and what to do."""


@dataclass(frozen=True)
class Service:
    """A service of the centre. ``direct``: never through a proxy."""

    name: str
    url: str
    ca_file: Path | None = None
    ca_sha256: str | None = None
    direct: bool = False


@dataclass(frozen=True)
class ExecutorTarget:
    """An executor that the settings name, with what it is told there."""

    name: str
    socket: Path | None = None
    folder: Path | None = None
    partition: str | None = None
    kubeconfig: Path | None = None


@dataclass(frozen=True)
class Targets:
    """``dataset_bytes``: how much data the site will hold here in all; ``work``: where fedproc keeps jobs."""

    services: tuple[Service, ...] = ()
    ca_file: Path | None = None
    ca_sha256: str | None = None
    proxy: str | None = None
    data_apis: tuple[str, ...] = ()
    data: Path | None = None
    dataset_bytes: int | None = None
    work: Path = WORK_FOLDER
    key: Path | None = None
    certificate: Path | None = None
    executors: tuple[ExecutorTarget, ...] = ()


def service(name: str, url: str, ca_file: Path | None = None) -> Service:
    """A checked service. Raises :class:`BadInputError` for a URL of another kind than ``https://host[:port][/path]``."""
    if not NAME.match(name) or name in RESERVED:
        raise BadInputError(
            f"'{name[:40]}' does not do as a service's name; use small letters, digits and -, like 'api'"
        )
    try:
        parts = urlsplit(url)
        fine = parts.scheme in PORTS and bool(parts.hostname) and parts.port != 0 and not parts.username
    except ValueError:
        fine = False
    if not fine or any(c.isspace() or not c.isprintable() for c in url):
        schemes = ", ".join(f"{s}://" for s in PORTS)
        raise BadInputError(
            f"service '{name}': '{url}' is no address that can be checked; use {schemes} and host[:port]"
        )
    return Service(name, url, ca_file)


def with_trust(targets: Targets) -> Targets:
    """Each service that names no CA file of its own gets the common one."""
    given = targets.ca_file
    services = (s if s.ca_file else replace(s, ca_file=given, ca_sha256=targets.ca_sha256) for s in targets.services)
    return replace(targets, services=tuple(services))


def from_settings(path: Path) -> Targets:
    """What a host's settings file (``fedproc site``) says about the centre, keys, folders and data.

    Only the keys named here are read; the orchestrator checks the rest. Raises :class:`BadInputError`.
    """
    settings = _read(path)
    centre, connections = _table(settings, "centre"), _table(settings, "connections")
    ca_file = _path(centre, "ca_file")
    return Targets(
        services=tuple(_services(centre)),
        ca_file=ca_file,
        proxy=_proxy(centre, path),
        work=_path(settings, "state") or WORK_FOLDER,
        key=_path(settings, "key"),
        certificate=_path(connections, "certificate"),
        data_apis=tuple(_dataset_folders(settings)),
        executors=tuple(_executors(settings)),
    )


def profile_of(path: Path) -> tuple[str | None, Path | None]:
    """Which profile the orchestrator with these settings is checked by: a built-in one, or a file of the site's own.

    Raises :class:`BadInputError`.
    """
    checked = _table(_read(path), "check")
    name = str(checked["profile"]) if "profile" in checked else None
    return name, _path(checked, "profile_file")


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInputError(
            f"{path}: cannot be read as a host's settings: {error}; give the file by --settings"
        ) from error


def _proxy(centre: dict[str, Any], settings: Path) -> str | None:
    stated = centre.get("proxy")
    try:
        return stated_proxy(None if stated is None else str(stated), _path(centre, "proxy_file"))
    except RouteError as error:
        raise BadInputError(f"{settings}: centre: {error.detail}") from error


def _services(centre: dict[str, Any]) -> list[Service]:
    keys = (("api", "api_url"), ("identity", "issuer_url"))
    found = [service(name, str(centre[key])) for name, key in keys if key in centre]
    if "broker_host" in centre:
        scheme = "amqps" if centre.get("broker_tls", True) else "amqp"
        found.append(service("broker", f"{scheme}://{centre['broker_host']}:{centre.get('broker_port', 443)}"))
    return found


def _executors(settings: dict[str, Any]) -> list[ExecutorTarget]:
    named = settings.get("executor", "sandbox")
    names = [named] if isinstance(named, str) else [str(name) for name in named] if isinstance(named, list) else []
    found = []
    for name in dict.fromkeys(names):
        table = _table(settings, name)
        socket = str(table.get("socket", DEFAULT_SOCKETS.get(name, ""))).removeprefix("unix://")
        partition = str(table["partition"]) if "partition" in table else None
        kubeconfig = _path(table, "kubeconfig")
        at = Path(socket) if socket else None
        found.append(ExecutorTarget(name, at, _path(table, "folder"), partition, kubeconfig))
    return found


def _dataset_folders(settings: dict[str, Any]) -> list[str]:
    datasets = [d for d in _table(settings, "datasets").values() if isinstance(d, dict)]
    return [str(dataset["path"]) for dataset in datasets if "path" in dataset]


def _table(settings: dict[str, Any], name: str) -> dict[str, Any]:
    value = settings.get(name, {})
    return value if isinstance(value, dict) else {}


def _path(settings: dict[str, Any], name: str) -> Path | None:
    return Path(str(settings[name])) if name in settings else None
