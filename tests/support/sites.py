"""A host's settings as its role writes them, an issuer that knows it, and an operator who publishes a tool for it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

from tests.support.gateway import NAME, Gateway
from tests.support.issuer import TestIssuer

from fedproc.client.api import Client
from fedproc.contract.api.base import Token
from fedproc.demo.engine import MACHINES_OWN
from fedproc.site.settings import SiteSettings

TINY = Path(__file__).parent / "tools" / "tiny"
WHEEL = "fedproc_tiny-1.0-py3-none-any.whl"


class HostIssuer(TestIssuer):
    """Gives hosts tokens, too; whose key signed the request is not looked at here."""

    __test__ = False
    lifetime = 600

    def _grant(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form.get("grant_type") != "client_credentials":
            return super()._grant(form)
        client = form["client_id"]
        token = self.token(client, fedproc_host=client.removeprefix("host-"))
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime}


def tiny_tool(folder: Path, version: str = "1.0.0") -> Path:
    """The tool, with the hash of the package that it needs in its lock file."""
    tool = folder / "tiny"
    shutil.copytree(TINY, tool)
    digest = hashlib.sha256(tiny_wheel(folder).read_bytes()).hexdigest()
    (tool / "requirements.lock").write_text(f"fedproc-tiny==1.0 --hash=sha256:{digest}\n")
    description = tool / "tool.yaml"
    description.write_text(description.read_text().replace("version: 1.0.0", f"version: {version}"))
    return tool


def tiny_wheel(folder: Path) -> Path:
    """A package that is nowhere else; the same bytes each time."""
    about = "fedproc_tiny-1.0.dist-info"
    files = {
        "fedproc_tiny.py": "WORD = 'it runs'\n",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: fedproc-tiny\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": f"fedproc_tiny.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n",
    }
    path = folder / WHEEL
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(zipfile.ZipInfo(name), content)
    return path


def offer_wheel(gateway: Gateway, folder: Path) -> None:
    place = gateway.packages / "simple" / "fedproc-tiny"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(tiny_wheel(folder), place)


def operator(gateway: Gateway) -> Client:
    token = Token(access_token=gateway.operator_token(), expires_in=600)
    return Client(gateway.federation.url, token=token)


def run_cli(gateway: Gateway, folder: Path, *words: str, operates: bool = True) -> subprocess.CompletedProcess[str]:
    """The command line as an operator has it, signed in."""
    url, issuer = gateway.federation.url, gateway.federation.issuer
    access = gateway.operator_token() if operates else issuer.token("rosa", "researcher")
    session = {"url": url, "token": {"access_token": access, "expires_in": 600}, "expires": 2e9}
    (folder / "fedproc").mkdir(exist_ok=True)
    (folder / "fedproc" / "session.json").write_text(json.dumps(session))
    own = {"XDG_CONFIG_HOME": str(folder), "FEDPROC_URL": url, "FEDPROC_CA": str(gateway.keys.ca_file),
           "FEDPROC_STORE": NAME, "FEDPROC_STORE_URL": gateway.url}  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "fedproc.cli", *words], env={**os.environ, **own}, capture_output=True, text=True,
        check=False, timeout=100,
    )  # fmt: skip


def catalogue_key(gateway: Gateway, folder: Path) -> Path:
    path = folder / "catalogue.key"
    path.write_bytes(gateway.federation.catalogue_key.as_pem(private=True))
    return path


def settings(gateway: Gateway, folder: Path, executor: str, *, reaches: bool = True, **more: Any) -> SiteSettings:
    """Settings of UB; a host that does not reach the centre has addresses at which nobody answers."""
    nobody = "https://localhost:9"
    (folder / "policy.toml").write_text('[[tools]]\nid = "tiny"\ndigest = "*"\n')
    return SiteSettings.model_validate({
        "host": "UB", "state": folder / "state", "key": gateway.keys.host("UB").private, "executor": executor,
        "policy": folder / "policy.toml", "docker": {"socket": f"unix://{MACHINES_OWN}"},
        "sandbox": {"python": sys.executable},
        "store": {"name": NAME, "url": gateway.url if reaches else nobody},
        "centre": {
            "api_url": gateway.federation.url if reaches else nobody,
            "issuer_url": gateway.federation.issuer.url if reaches else nobody,
            "broker_host": "localhost", "ca_file": gateway.keys.ca_file,
            "dispatch_keys": [gateway.keys.key("dispatch").public],
            "catalogue_keys": [gateway.federation.folder / "catalogue.pem"],
        },
        **more,
    })  # fmt: skip
