"""A real Kubernetes, as ``scripts/kubernetes`` builds it: its one node is an entry, of which no kubelet knows.

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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from tests.support.processes import DYING_WITH_US

from fedproc.demo.polling import wait_until

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = CHECKOUT / ".cache" / "kubernetes" / "bin"
NAMESPACE = "fedproc"
NODE = "node-1"
GPU = "nvidia.com/gpu"
needs_kubernetes = pytest.mark.skipif(
    not all(
        (PROGRAMS / name).exists() for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
    reason="no Kubernetes is built here: scripts/kubernetes does (it needs go, and half an hour)",
)
_CONTROLLERS = (
    "serviceaccount-controller", "resourcequota-controller", "persistentvolume-binder-controller",
    "namespace-controller",
)  # fmt: skip
"""Those that a namespace needs. None that looks at nodes: it would find that this one never reports."""


class ApiServer:
    """Listens on the loopback, with all it keeps below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._etcd, self._peer, self._port = (free_port() for _ in range(3))
        self.admin = secrets.token_hex(16)
        (folder / "tokens.csv").write_text(f'{self.admin},us,us,"system:masters"\n')
        self._key = rsa.generate_private_key(65537, 2048)
        kind = serialization.PrivateFormat.TraditionalOpenSSL
        text = self._key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
        (folder / "accounts.key").write_bytes(text)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start all, and return when the server answers."""
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd", f"--data-dir={self._folder}/etcd", f"--listen-client-urls={client}", "--unsafe-no-fsync",
            f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}", f"--initial-cluster=default={peer}",
            f"--initial-advertise-peer-urls={peer}",
        )  # fmt: skip
        self.start_server()
        ours = str(self.kubeconfig("us", self.admin))
        self._run(
            "kube-controller-manager", f"--kubeconfig={ours}", "--leader-elect=false", "--secure-port=0",
            f"--service-account-private-key-file={self._folder}/accounts.key",
            f"--controllers={','.join(_CONTROLLERS)}",
        )  # fmt: skip
        self._run("kube-scheduler", f"--kubeconfig={ours}", "--leader-elect=false", "--secure-port=0")

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
        )  # fmt: skip
        wait_until(self.answers, 240, "the API server does not answer")

    def stop_server(self) -> None:
        """As when its machine is away."""
        process = self._processes.pop("kube-apiserver")
        process.kill()
        process.wait(60)

    def stop(self) -> None:
        for process in self._processes.values():
            process.kill()  # asked to end, the server waits for watches
        for process in self._processes.values():
            process.wait(60)

    def enter_node(self) -> None:
        """One that has no kubelet."""
        self.call("POST", "/api/v1/nodes", _node())
        self.open_node()

    def open_node(self) -> None:
        """As the controller does that looks at nodes, for one that reports that it is ready."""
        self.call("PATCH", f"/api/v1/nodes/{NODE}", {"spec": {"taints": None}})

    def lay_out(self, claims: Mapping[str, Path]) -> None:
        """What docs/executors.md has made for a host, and the claims, whose volumes are folders of the node's."""
        text = re.search(r"```yaml\n(.*?)```", (CHECKOUT / "docs" / "executors.md").read_text(), re.DOTALL)
        assert text is not None
        for document in yaml.safe_load_all(text[1]):
            if document["kind"] != "NetworkPolicy":  # which is the host's own work
                self.call("POST", _PLACES[document["kind"]], document)
        common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
        for name, folder in claims.items():
            place = {"hostPath": {"path": str(folder)}, "claimRef": {"namespace": NAMESPACE, "name": name}}
            volume = {**common, **place, "capacity": {"storage": "1Gi"}}
            self.call("POST", "/api/v1/persistentvolumes", {"metadata": {"name": name}, "spec": volume})
            claim = {**common, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
            self.call("POST", f"{CORE}/persistentvolumeclaims", {"metadata": {"name": name}, "spec": claim})
        wait_until(self._is_laid_out, 60, "the controllers make no account of the namespace, or bind no volume")

    def _is_laid_out(self) -> bool:
        accounts = self.call("GET", f"{CORE}/serviceaccounts")["items"]
        claims = self.call("GET", f"{CORE}/persistentvolumeclaims")["items"]
        bound = all(claim["status"]["phase"] == "Bound" for claim in claims)
        return bound and {account["metadata"]["name"] for account in accounts} == {"default", "fedproc"}

    def token(self, account: str = "fedproc") -> str:
        """Of a service account, as ``kubectl create token`` makes it: for an hour."""
        made = self.call("POST", f"{CORE}/serviceaccounts/{account}/token", {"spec": {"expirationSeconds": 3600}})
        return str(made["status"]["token"])

    def expired(self, token: str) -> str:
        """The same, two hours later."""
        head, body, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(body + "=="))
        claims |= {name: claims[name] - 7200 for name in ("exp", "iat", "nbf")}
        signed = f"{head}.{_encoded(json.dumps(claims).encode())}"
        return f"{signed}.{_encoded(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def kubeconfig(self, name: str, token: str) -> Path:
        """For whoever has this token."""
        certificate = base64.b64encode((self._folder / "certificates" / "apiserver.crt").read_bytes()).decode()
        cluster = {"server": f"https://127.0.0.1:{self._port}", "certificate-authority-data": certificate}
        made = {
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": cluster}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": name}}],
        }  # fmt: skip
        path = self._folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(made))
        path.chmod(0o600)
        return path

    # -- a node's part ---------------------------------------------------------------------------

    def pods(self) -> dict[str, dict[str, Any]]:
        return {pod["metadata"]["name"]: pod for pod in self.call("GET", f"{CORE}/pods")["items"]}

    def objects(self) -> set[tuple[str, str]]:
        """All that the namespace has, by kind and name, but events."""
        kinds = [
            (CORE, each) for each in self.call("GET", "/api/v1")["resources"] if each["name"] != "events"
        ]  # fmt: skip
        for group in self.call("GET", "/apis")["groups"]:
            version = group["preferredVersion"]["groupVersion"]
            place = f"/apis/{version}/namespaces/{NAMESPACE}"
            kinds += [(place, each) for each in self.call("GET", f"/apis/{version}")["resources"]]
        listed = [(place, each["name"]) for place, each in kinds if each["namespaced"] and "list" in each["verbs"]]
        found = {
            (kind, item["metadata"]["name"])
            for place, kind in listed
            for item in self.call("GET", f"{place}/{kind}")["items"]
        }
        return {(kind, name) for kind, name in found if kind != "events"}

    def scheduled(self, pod: str) -> None:
        """Wait until the scheduler has given it the node."""
        wait_until(lambda: "nodeName" in self.pods()[pod]["spec"], 60, f"{pod} gets no node")

    def cordon(self, *, closed: bool) -> None:
        """Whether the scheduler may use the node."""
        self.call("PATCH", f"/api/v1/nodes/{NODE}", {"spec": {"unschedulable": closed}})

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
                "Authorization": f"Bearer {self.admin}",
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
_PLACES = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": f"{CORE}/serviceaccounts",
    "Role": f"{RBAC}/roles",
    "RoleBinding": f"{RBAC}/rolebindings",
}


def _node() -> dict[str, Any]:
    """As a kubelet would enter it that has one GPU."""
    room = {"cpu": "8", "memory": "16Gi", "ephemeral-storage": "10Gi", "pods": "20", GPU: "1"}
    labels = {"kubernetes.io/arch": "amd64", "kubernetes.io/hostname": NODE}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": ""}
    status = {"capacity": room, "allocatable": room, "conditions": [ready]}
    return {"metadata": {"name": NODE, "labels": labels}, "status": status}


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
