"""Real parts for the integration tests: keys, an issuer and a RabbitMQ node of their own, once per session."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from tests.support.needs import needs
from tests.support.processes import DYING_WITH_US
from werkzeug.security import generate_password_hash

from fedproc.common.keys import load_key, public_jwk
from fedproc.contract.wire.routing import host_scopes, relay_scopes
from fedproc.demo.issuer.model import DEVICE_GRANT, Client, IssuerSettings, User
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports, wait_until

HOSTS = ("UB", "BSC", "FORTH", "EUCAIM")
PASSWORDS = {"alice": "wonderland", "bob": "builder", "olga": "operates"}


@dataclass(frozen=True)
class IssuerAt:
    url: str
    keys: Keyring

    def user_token(self, name: str) -> str:
        form = {"grant_type": "password", "username": name, "password": PASSWORDS[name], "client_id": "fedproc-test"}
        return self._token(form)

    def machine_token(self, client_id: str, key: str) -> str:
        from fedproc.common.http import client_assertion

        private = load_key(self.keys.key(key).private.read_bytes())
        return self._token(
            {"grant_type": "client_credentials", **client_assertion(client_id, f"{self.url}/token", private)}
        )

    def host_token(self, host: str) -> str:
        return self.machine_token(f"host-{host}", host)

    def _token(self, form: dict[str, str]) -> str:
        answer = httpx.post(f"{self.url}/token", data=form)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


def _clients(ring: Keyring) -> tuple[Client, ...]:
    def jwk(name: str) -> dict[str, object]:
        return public_jwk(load_key(ring.key(name).private.read_bytes()))

    both = ("fedproc-api", "rabbitmq")
    hosts = [
        Client(
            client_id=f"host-{host}",
            public_key=jwk(host),
            grants=("client_credentials",),
            audience=both,
            host=host,
            broker_scopes=host_scopes(host),
        )
        for host in HOSTS
    ]
    return (
        *hosts,
        Client(
            client_id="fedproc-relay",
            public_key=jwk("relay"),
            grants=("client_credentials",),
            audience=both,
            broker_scopes=relay_scopes(),
        ),
        Client(client_id="fedproc-api", public_key=jwk("api"), grants=("password", "refresh_token")),
        Client(client_id="fedproc-cli", grants=(DEVICE_GRANT, "refresh_token")),
        Client(client_id="fedproc-test", grants=("password", "refresh_token")),
    )


@pytest.fixture(scope="session")
@needs("process")
def issuer(keys: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Iterator[IssuerAt]:
    folder = tmp_path_factory.mktemp("issuer")
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    settings = IssuerSettings(
        url=url,
        port=port,
        key=keys.key("issuer", rsa_bits=2048).private,
        users=tuple(
            User(
                name=name,
                password_hash=generate_password_hash(word),
                roles=("operator" if name == "olga" else "researcher",),
            )
            for name, word in PASSWORDS.items()
        ),
        clients=_clients(keys),
    )
    path = folder / "issuer.json"
    path.touch(mode=0o600)
    path.write_text(settings.model_dump_json())
    process = subprocess.Popen([*DYING_WITH_US, sys.executable, "-m", "fedproc.demo.issuer", "--config", str(path)])
    try:
        wait_until(lambda: _answers(url), 90, "the issuer does not answer")
        yield IssuerAt(url, keys)
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/jwks").status_code == 200
    except httpx.HTTPError:
        return False
