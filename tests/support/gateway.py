"""The store as a federation has it: Debian's registry behind nginx with the gateway's configuration, beside the API."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import jinja2
from tests.support.central_api import Federation
from tests.support.processes import DYING_WITH_US
from tests.support.yaml_files import read_yaml

from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports, wait_until

ROLES = Path(__file__).parents[2] / "roles"
NAME = "localhost"
"""of the store: pip goes by the address, which here has no other name"""


def _flatten(values: list[Any]) -> list[Any]:
    """As Ansible's filter of that name does, for one level."""
    return [item for value in values for item in (value if isinstance(value, list) else [value])]


class Gateway:
    """nginx and the registry, started on entry and ended on exit; ``url`` is the one port."""

    def __init__(self, folder: Path, federation: Federation, **variables: Any) -> None:
        self._variables = variables
        self.folder = folder
        self.federation = federation
        self.keys = Keyring(folder / "keys")
        self.packages = folder / "packages"
        self.images = folder / "images"
        self.port, self.registry_port = free_ports(2)
        self.url = f"https://localhost:{self.port}"
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Gateway:
        self.packages.mkdir()
        self._start_registry()
        self._start_nginx()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.terminate()
        for process in self._running:
            process.wait(60)

    def _start_registry(self) -> None:
        template = ROLES / "artifact_registry" / "templates" / "config.yml.j2"
        listen = f"127.0.0.1:{self.registry_port}"
        values = {"artifact_registry_images": self.images, "artifact_registry_listen": listen}
        settings = self._write("registry.yml", template, values)
        self._start("docker-registry", "serve", str(settings))

    def _start_nginx(self) -> None:
        certificate = self.keys.server("gateway")
        inner = self._two_ports()
        values = {
            "gateway_port": self.port, "gateway_inner_port": inner, "gateway_store_name": NAME,
            "gateway_certificate": certificate.certificate, "gateway_key": certificate.private,
            "gateway_api_name": "api.fedproc.test", "gateway_auth_name": "auth.fedproc.test",
            "gateway_broker_name": "broker.fedproc.test", "gateway_jobs_domain": "fedproc.test",
            "gateway_api": self.federation.url.removeprefix("http://"), "gateway_tls_ciphers": "HIGH",
            "gateway_store": f"127.0.0.1:{self.registry_port}", "gateway_store_packages": self.packages,
        }  # fmt: skip
        defaults = read_yaml(ROLES / "gateway" / "defaults" / "main.yml")
        usual = {name: value for name, value in defaults.items() if "{{" not in str(value)}
        template = ROLES / "gateway" / "templates" / "nginx.conf.j2"
        settings = self._write(
            "nginx.conf", template, {**usual, **values, "gateway_realm": "fedproc", **self._variables}
        )
        text = re.sub(r"/run/nginx\.pid", str(self.folder / "nginx.pid"), settings.read_text())
        text = text.replace("user www-data;", "user root;")  # the tests' folders are their user's alone
        settings.write_text(re.sub(r"access_log syslog:\S+", f"access_log {self.folder}/access.log", text))
        self._start("nginx", "-c", str(settings), "-g", "daemon off;")
        wait_until((self.folder / "nginx.pid").exists, 60, "nginx does not start")

    @staticmethod
    def _two_ports() -> int:
        """The first of two free ports in a row."""
        while True:
            port = free_ports(1)[0]
            if port + 1 not in free_ports(1) and _is_free(port + 1):
                return port

    def _write(self, name: str, template: Path, values: dict[str, Any]) -> Path:
        environment = jinja2.Environment(trim_blocks=True, undefined=jinja2.StrictUndefined)
        environment.filters["flatten"] = _flatten
        environment.filters["comment"] = lambda text: f"# {text}"
        path = self.folder / name
        path.write_text(environment.from_string(template.read_text()).render(ansible_managed="a test", **values))
        return path

    def _start(self, *command: str) -> None:
        with (self.folder / f"{command[0]}.log").open("wb") as log:
            self._running.append(subprocess.Popen([*DYING_WITH_US, *command], stdout=log, stderr=log))

    # -- who calls

    def host_token(self, host: str = "UB", **claims: Any) -> str:
        return self.federation.issuer.token(f"host-{host}", fedproc_host=host, **claims)

    def operator_token(self) -> str:
        return self.federation.issuer.token("olga", "operator")

    def old_token(self, host: str = "UB") -> str:
        return self.host_token(host, exp=int(time.time()) - 60)


def _is_free(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
