"""A real API server of Kubernetes with its etcd, as ``scripts/kubernetes`` builds them; no node of it is there.

A test says itself what a kubelet would report. Nothing of it is left.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import socket
import ssl
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.support.processes import DYING_WITH_US

from fedproc.demo.polling import wait_until

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = CHECKOUT / ".cache" / "kubernetes" / "bin"
NAMESPACE = "fedproc"
needs_kubernetes = pytest.mark.skipif(
    not all((PROGRAMS / name).exists() for name in ("etcd", "kube-apiserver")),
    reason="no Kubernetes is built here: scripts/kubernetes does (it needs go, and half an hour)",
)


class ApiServer:
    """Listens on the loopback, with all it keeps below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etcd, self._peer, self._port = (_free_port() for _ in range(3))
        self._token, self._hosts = secrets.token_hex(16), secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f'{self._token},us,us,"system:masters"\n{self._hosts},ub,ub,""\n')
        key = rsa.generate_private_key(65537, 2048)
        kind = serialization.PrivateFormat.TraditionalOpenSSL
        text = key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
        (folder / "accounts.key").write_bytes(text)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start both, and return when the server answers."""
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd", f"--data-dir={self._folder}/etcd", f"--listen-client-urls={client}", "--unsafe-no-fsync",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-cluster=default={peer}",
            f"--initial-advertise-peer-urls={peer}",
        )  # fmt: skip
        self.start_server()

    def start_server(self) -> None:
        """Start it, again too; returns when it answers."""
        at = self._folder
        self._run(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self._etcd}", f"--secure-port={self._port}",
            "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", f"--cert-dir={at}/certificates",
            f"--token-auth-file={at}/tokens.csv", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--service-account-issuer=https://here.invalid", f"--service-account-key-file={at}/accounts.key",
            f"--service-account-signing-key-file={at}/accounts.key",
            "--disable-admission-plugins=ServiceAccount",  # whose accounts a controller makes, which is not here
        )  # fmt: skip
        wait_until(self.answers, 240, "the API server does not answer")

    def stop_server(self) -> None:
        """As when its machine is away."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait(60)

    def stop(self) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.wait(60)

    def lay_out(self, claim: str) -> None:
        """The namespace, role and claim, as docs/executors.md has them, for the account ``ub``."""
        text = re.search(r"```yaml\n(.*?)```", (CHECKOUT / "docs" / "executors.md").read_text(), re.DOTALL)
        assert text is not None
        paths = {"Namespace": "/api/v1/namespaces", "Role": f"{RBAC}/roles"}
        for document in yaml.safe_load_all(text[1]):
            if document["kind"] in paths:  # the policy is the host's own work
                self.call("POST", paths[document["kind"]], document)
        subject = {"kind": "User", "name": "ub", "apiGroup": "rbac.authorization.k8s.io"}
        role = {"kind": "Role", "name": "fedproc", "apiGroup": "rbac.authorization.k8s.io"}
        self.call("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "ub"}, "subjects": [subject], "roleRef": role})
        resources = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteMany"], "resources": resources, "storageClassName": ""}
        self.call("POST", f"{CORE}/persistentvolumeclaims", {"metadata": {"name": claim}, "spec": spec})

    def kubeconfig(self) -> Path:
        """The host's own account."""
        certificate = base64.b64encode((self._folder / "certificates" / "apiserver.crt").read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority-data": certificate}
        made = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": "ub", "user": {"token": self._hosts}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "ub"}}],
        }  # fmt: skip
        path = self._folder / "kubeconfig"
        path.write_text(json.dumps(made))
        path.chmod(0o600)
        return path

    # -- a node's part ---------------------------------------------------------------------------

    def pods(self) -> dict[str, dict[str, Any]]:
        return {pod["metadata"]["name"]: pod for pod in self.call("GET", f"{CORE}/pods")["items"]}

    def bind(self, pod: str) -> None:
        """As the scheduler does."""
        target = {"kind": "Node", "name": "node-1"}
        self.call("POST", f"{CORE}/pods/{pod}/binding", {"metadata": {"name": pod}, "target": target})

    def report(self, pod: str, phase: str, state: dict[str, Any]) -> None:
        """As the kubelet does."""
        one = {"name": "job", "state": state, "ready": False, "restartCount": 0, "image": "a", "imageID": "a"}
        self.call("PATCH", f"{CORE}/pods/{pod}/status", {"status": {"phase": phase, "containerStatuses": [one]}})

    def confirm_end(self, pod: str) -> None:
        """As the kubelet does when no process of it is left."""
        self.call("DELETE", f"{CORE}/pods/{pod}", {"gracePeriodSeconds": 0})

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """As whoever runs the cluster."""
        request = urllib.request.Request(
            f"https://127.0.0.1:{self._port}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self._token}",
                "Content-Type": "application/merge-patch+json" if method == "PATCH" else "application/json",
            },
        )
        context = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(request, timeout=60, context=context) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.read().decode()}") from error

    def answers(self) -> bool:
        for name, process in self._processes.items():
            assert process.poll() is None, (self._folder / f"{name}.log").read_text()[-3000:]
        try:
            self.call("GET", "/readyz?verbose")
        except json.JSONDecodeError:
            return True  # it says ok, and no JSON
        except (AssertionError, OSError):
            return False
        return True

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.log").open("ab") as log:
            self._processes[program] = subprocess.Popen(
                [*DYING_WITH_US, str(PROGRAMS / program), *arguments], stdout=log, stderr=log, cwd=self._folder
            )


CORE = f"/api/v1/namespaces/{NAMESPACE}"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
