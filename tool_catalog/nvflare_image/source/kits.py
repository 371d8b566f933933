"""NVFLARE's startup kits, made for one run: who the ends are, by keys that never leave their host.

A host makes its key and sends the public half; the server, which has a certificate authority of this run alone, gives
it a certificate. As NVFLARE's own provisioning does it (nvflare.lighter), but for the key.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from flare_parts import job
from nvflare.lighter.utils import Identity, generate_cert, generate_keys, serialize_cert, serialize_pri_key

PROJECT = job.NAME
SERVER = "aggregator"
ADMIN = "admin@aggregator.local"
ORGANISATION = "fedproc"
DAYS = 2
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "%(levelname)s %(name)s: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "level": "WARNING", "formatter": "line"}},
    "loggers": {"root": {"level": "INFO", "handlers": ["console"]}},
}
"""of NVFLARE's programs: what goes wrong"""


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, as PEM."""

    key: bytes
    certificate: bytes


class Authority:
    """The certificate authority of this run."""

    def __init__(self) -> None:
        self._key, public = generate_keys()
        self._issuer = Identity(PROJECT, ORGANISATION)
        made = generate_cert(self._issuer, self._issuer, self._key, public, valid_days=DAYS, ca=True)
        self.root: bytes = serialize_cert(made)

    def certificate(self, name: str, public: Any, role: str | None = None) -> bytes:
        """For ``name``, which has the other half of ``public``."""
        subject = Identity(name, ORGANISATION, role)
        return serialize_cert(generate_cert(subject, self._issuer, self._key, public, valid_days=DAYS))

    def pair(self, name: str, role: str | None = None) -> Pair:
        """A new key with its certificate."""
        key, public = generate_keys()
        return Pair(serialize_pri_key(key), self.certificate(name, public, role))


def new_key() -> tuple[bytes, str]:
    """A host's key, and its public half, as PEM."""
    key, public = generate_keys()
    kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return serialize_pri_key(key), public.public_bytes(*kind).decode()


def read_public(text: str) -> Any:
    """Raises ValueError for what is no RSA key of at least 2048 bits."""
    public = serialization.load_pem_public_key(text.encode())
    if not hasattr(public, "key_size") or public.key_size < 2048:
        raise ValueError("no RSA key")
    return public


def write_server(workspace: Path, pair: Pair, root: bytes, port: int, hosts: int) -> None:
    """The kit of the server, which listens on ``port`` alone."""
    startup = _kit(workspace, "server", pair, root)
    service = {
        "name": PROJECT,
        "service": {"target": f"127.0.0.1:{port}", "scheme": "http"},
        "admin_server": SERVER,
        "admin_port": port,
        "ssl_private_key": "server.key",
        "ssl_cert": "server.crt",
        "ssl_root_cert": "rootCA.pem",
        "connection_security": "mtls",
    }
    _write(startup / "fed_server.json", {"format_version": 2, "servers": [service]})
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    components = [
        ("job_scheduler", "nvflare.app_common.job_schedulers.job_scheduler.DefaultJobScheduler", {"max_jobs": 1}),
        ("job_manager", "nvflare.apis.impl.job_def_manager.SimpleJobDefManager",
         {"uri_root": str(workspace / "jobs"), "job_store_id": "job_store"}),
        ("job_store", storage, {}),
        ("process_launcher", "nvflare.app_common.job_launcher.server_process_launcher.ServerProcessJobLauncher", {}),
    ]  # fmt: skip
    snapshots = {"path": storage, "args": {"root_dir": str(workspace / "snapshots"), "uri_root": "/"}}
    persistor = "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor"
    limits = {"admin_storage": "transfer", "max_num_clients": hosts, "heart_beat_timeout": 600, "admin_timeout": 10.0}
    resources = {
        "servers": [limits],
        "snapshot_persistor": {"path": persistor, "args": {"uri_root": "/", "storage": snapshots}},
    }
    _resources(workspace, job.WORKFLOW, components, resources)
    (workspace / "transfer").mkdir()


def write_client(workspace: Path, host: str, pair: Pair, root: bytes, address: str) -> None:
    """The kit of a host, which dials ``address`` (host:port) and runs nothing but this tool's job."""
    startup = _kit(workspace, "client", pair, root)
    server = {"name": PROJECT, "service": {"target": address, "scheme": "http"}, "identity": SERVER}
    client = {
        "ssl_private_key": "client.key",
        "ssl_cert": "client.crt",
        "ssl_root_cert": "rootCA.pem",
        "fqsn": host,
        "is_leaf": True,
        "connection_security": "mtls",
    }
    _write(startup / "fed_client.json", {"format_version": 2, "servers": [server], "client": client})
    components = [
        ("resource_manager", "nvflare.app_common.resource_managers.gpu_resource_manager.GPUResourceManager",
         {"num_of_gpus": 0, "mem_per_gpu_in_GiB": 0, "expiration_period": 300}),
        ("resource_consumer", "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer", {}),
        ("process_launcher", "flare_parts.guard.Launcher", {}),
    ]  # fmt: skip
    resources = {"allow_log_streaming": False, "client": {"retry_timeout": 30}}
    _resources(workspace, job.EXECUTOR, components, resources)


def write_admin(workspace: Path, pair: Pair, root: bytes, port: int) -> None:
    """The kit of whoever submits the job, at the server's side."""
    startup = _kit(workspace, "client", pair, root)
    admin = {
        "project_name": PROJECT,
        "username": ADMIN,
        "server_identity": SERVER,
        "scheme": "http",
        "host": "127.0.0.1",
        "port": port,
        "connection_security": "mtls",
        "uid_source": "cert",
        "with_file_transfer": True,
        "upload_dir": str(workspace / "transfer"),
        "download_dir": str(workspace / "transfer"),
        "client_key": "client.key",
        "client_cert": "client.crt",
        "ca_cert": "rootCA.pem",
    }
    _write(startup / "fed_admin.json", {"format_version": 1, "admin": admin})
    _write(workspace / "local" / "resources.json", {"format_version": 1})
    (workspace / "transfer").mkdir()


def _kit(workspace: Path, kind: str, pair: Pair, root: bytes) -> Path:
    startup = workspace / "startup"
    startup.mkdir(parents=True)
    (workspace / "local").mkdir()
    (startup / "rootCA.pem").write_bytes(root)
    (startup / f"{kind}.crt").write_bytes(pair.certificate)
    with os.fdopen(os.open(startup / f"{kind}.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as stream:
        stream.write(pair.key)
    return startup


def _resources(workspace: Path, only: str, components: list[tuple[str, str, dict[str, Any]]], more: Any) -> None:
    """``only`` is the one class that a job may name here."""
    made = [{"id": name, "path": path, "args": args} for name, path, args in components]
    allowed = {"class_list_enforcement_mode": "enforce", "class_allow_list": [only]}
    _write(workspace / "local" / "resources.json", {"format_version": 2, **allowed, **more, "components": made})
    no = {"byoc": "none", "shell_commands": "none", "server-predeployed-flwr": "none"}
    rights = {
        "project_admin": {**dict.fromkeys(("submit_job", "manage_job", "download_job", "view", "operate"), "any"), **no}
    }
    _write(workspace / "local" / "authorization.json", {"format_version": "1.0", "permissions": rights})
    _write(workspace / "local" / "log_config.json", LOGGING)


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1))
