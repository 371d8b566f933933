"""A RabbitMQ node of the federation's own: loopback only, TLS, and OAuth2 tokens as the only way to sign in.

Works with RabbitMQ 3.10 (Debian 12) and 4 (Debian 13). Tokens are checked with the issuer's public key, which is
given as a file; scopes come in the claim :data:`SCOPE_CLAIM`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedproc.common.errors import UnavailableError
from fedproc.contract.wire.routing import POLICIES, RESOURCE_SERVER
from fedproc.demo.keys import KeyPair
from fedproc.demo.polling import wait_for_start

SCOPE_CLAIM = "rabbitmq_scope"
ROOT_VARIABLE = "FEDPROC_BROKER_ROOT"
"""names the folder of another Debian root, whose RabbitMQ is taken instead of this machine's (scripts/broker-root)"""
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


@dataclass(frozen=True)
class BrokerPlan:
    """Where a node lives and which ports of the loopback interface are its own."""

    folder: Path
    port: int
    distribution_port: int
    epmd_port: int
    ca_file: Path
    root: Path | None = None
    """another Debian root, from which the node and its epmd are taken"""

    def environment(self) -> dict[str, str]:
        """The environment in which the node and its epmd run."""
        name = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:10]
        folder = self.folder.resolve()
        return {
            "HOME": str(folder),
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"fedproc-{name}@localhost",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            # The start script then becomes the node itself, instead of waiting for it: so its pid is the node's.
            "RABBITMQ_ALLOW_INPUT": "true",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def node_command(self) -> list[str]:
        """Runs the node in the foreground. Raises :class:`UnavailableError` if RabbitMQ is not installed."""
        if not _below(self.root, _SERVER).exists():
            cure = "scripts/broker-root 4" if self.root else "scripts/install-system-packages demo"
            where = f"in {self.root}" if self.root else "here"
            raise UnavailableError(f"RabbitMQ is not installed {where}: run {cure}")
        return [*self._inside(), str(_SERVER)]

    def epmd_command(self) -> list[str]:
        """Runs the Erlang port mapper of this node in the foreground, so that it ends with the federation."""
        places = _below(self.root, Path("/usr/lib/erlang")).glob("erts-*/bin/epmd")
        found = ["/" + str(path.relative_to(self.root or "/")) for path in places]
        known = None if self.root else shutil.which("epmd")
        epmd = known or next(iter(found), "epmd")
        return [*self._inside(), epmd, "-port", str(self.epmd_port), "-address", "127.0.0.1"]

    def _inside(self) -> list[str]:
        """What shows another root to a program, and of this machine only the node's folder and its keys."""
        if self.root is None:
            return []
        folder, keys = str(self.folder.resolve()), str(self.ca_file.resolve().parent)
        links = [word for name in ("bin", "sbin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
        return [
            "/usr/bin/bwrap", "--die-with-parent", "--ro-bind", f"{self.root}/usr", "/usr", *links,
            "--ro-bind", f"{self.root}/etc", "/etc", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",  # noqa: S108
            "--bind", folder, folder, "--ro-bind", keys, keys,
        ]  # fmt: skip


def version(root: Path | None) -> str:
    """Of the RabbitMQ that is installed here, or in another root; ``none`` if there is none."""
    places = _below(root, Path("/usr/lib/rabbitmq/lib")).glob("rabbitmq_server-*")
    return next((path.name.removeprefix("rabbitmq_server-") for path in places), "none")


def other_root() -> Path | None:
    """The folder that :data:`ROOT_VARIABLE` names, if it does."""
    named = os.environ.get(ROOT_VARIABLE)
    return Path(named) if named else None


def _below(root: Path | None, path: Path) -> Path:
    return root / path.relative_to("/") if root else path


def write_configuration(plan: BrokerPlan, server: KeyPair, issuer_key: Path) -> None:
    """Write the node's configuration files below its folder."""
    for folder in (plan.folder, plan.folder / "data", plan.folder / "log"):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (plan.folder / "rabbitmq-env.conf").write_text("")
    (plan.folder / "enabled_plugins").write_text("[rabbitmq_auth_backend_oauth2].\n")
    definitions = plan.folder / "definitions.json"
    definitions.write_text(json.dumps({"vhosts": [{"name": "/"}], "policies": _policies()}))
    (plan.folder / "rabbitmq.conf").write_text(
        f"""listeners.tcp = none
listeners.ssl.1 = 127.0.0.1:{plan.port}
ssl_options.cacertfile = {plan.ca_file.resolve()}
ssl_options.certfile = {server.certificate.resolve()}
ssl_options.keyfile = {server.private.resolve()}
ssl_options.verify = verify_none
ssl_options.fail_if_no_peer_cert = false
ssl_options.versions.1 = tlsv1.3
ssl_options.versions.2 = tlsv1.2
auth_backends.1 = rabbit_auth_backend_oauth2
auth_oauth2.resource_server_id = {RESOURCE_SERVER}
auth_oauth2.additional_scopes_key = {SCOPE_CLAIM}
auth_oauth2.default_key = issuer
auth_oauth2.signing_keys.issuer = {issuer_key.resolve()}
auth_oauth2.algorithms.1 = RS256
log.file = false
log.console = true
log.console.level = warning
consumer_timeout = 86400000
load_definitions = {definitions.resolve()}
"""
    )


def _policies() -> list[dict[str, Any]]:
    """As ``rabbitmqctl export_definitions`` writes them."""
    common = {"vhost": "/", "apply-to": "queues", "priority": 0}
    return [
        {**common, "name": name, "pattern": pattern, "definition": bounds}
        for name, (pattern, bounds) in POLICIES.items()
    ]


def wait_for(plan: BrokerPlan, say: Callable[[str], None] = lambda _: None) -> None:
    """Return when the node speaks AMQP over TLS; see :func:`wait_for_start`."""
    context = ssl.create_default_context(cafile=str(plan.ca_file))

    def speaks() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", plan.port), timeout=2) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    secure.sendall(b"AMQP\x00\x00\x09\x01")
                    return bool(secure.recv(1))
        except OSError:
            return False

    wait_for_start(speaks, f"the broker does not speak AMQP over TLS on port {plan.port} yet; see its log", say)
