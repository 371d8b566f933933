"""A real node of tests' Kubernetes: a kubelet of ``scripts/kubernetes`` and Debian's containerd, runc and CNI programs.

Its control groups, its bridge and all that it keeps have names of their own. Nothing of it is left.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.support.kubernetes import NODE, PROGRAMS, ApiServer, free_port
from tests.support.processes import DYING_WITH_US

from fedproc.demo.polling import wait_until
from fedproc.site.executors.confinement.seccomp import engine_profile

IMAGE = "store.invalid/base"
PIDS = 256
_PAUSE = "store.invalid/pause:1"
_CNI = Path("/usr/lib/cni")
_GROUPS = Path("/sys/fs/cgroup")
_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")
needs_node = pytest.mark.skipif(
    not (PROGRAMS / "kubelet").exists()
    or not all(map(shutil.which, _PROGRAMS))
    or not all((_CNI / name).exists() for name in ("bridge", "host-local", "loopback")),
    reason="no kubelet (scripts/kubernetes builds one), or no containerd, runc and containernetworking-plugins",
)


class Node:
    """The node ``node-1`` of a cluster. Starts with the image of ``tar`` there, by the name :attr:`image`."""

    def __init__(self, folder: Path, server: ApiServer, tar: Path) -> None:
        self._folder, self._server = folder, server
        self._name = f"fedproc-{secrets.token_hex(3)}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        for part in ("cni", "kubelet/seccomp", "run"):
            (folder / part).mkdir(parents=True)
        self._socket = folder / "run" / "containerd.sock"
        (folder / "containerd.toml").write_text(_CONTAINERD.format(folder=folder, cni=_CNI, pause=_PAUSE))
        (folder / "cni" / "1.conflist").write_text(json.dumps(_network(self._bridge, folder)))
        (folder / "kubelet" / "seccomp" / "fedproc.json").write_text(json.dumps(engine_profile(namespaces=True)))
        (folder / "kubelet.json").write_text(json.dumps(_kubelet(self._name, self._socket)))
        self._tar = tar
        self.image = ""

    @property
    def _bridge(self) -> str:
        return self._name.replace("fedproc", "fp")

    def start(self) -> None:
        """Returns when the API server calls it ready."""
        for group in self._groups():
            group.mkdir(exist_ok=True)
        self._start_containerd()
        self._load()
        self.start_kubelet()

    def _start_containerd(self) -> None:
        self._run("containerd", "containerd", "--config", str(self._folder / "containerd.toml"))
        wait_until(lambda: self._ctr("version", check=False) == 0, 60, "containerd does not start")

    def start_kubelet(self) -> None:
        """Start it, again too; returns when the API server calls the node ready."""
        began = time.time()
        self._run(
            "kubelet", str(PROGRAMS / "kubelet"), f"--kubeconfig={self._server.kubeconfig('us', self._server.admin)}",
            f"--config={self._folder}/kubelet.json", f"--root-dir={self._folder}/kubelet",
            f"--cert-dir={self._folder}/kubelet/pki", f"--hostname-override={NODE}",
        )  # fmt: skip
        wait_until(lambda: self._ready(began), 120, "the kubelet does not become ready")
        self._server.open_node()

    def lose(self) -> None:
        """As when its machine loses its power for a moment."""
        for name in ("kubelet", "containerd"):
            process = self._processes.pop(name)
            process.kill()
            process.wait(60)
        self._kill_containers()
        self._start_containerd()
        self.start_kubelet()

    def _kill_containers(self) -> None:
        """With what keeps how they end. Some go by themselves meanwhile."""
        for each in psutil.process_iter(["cmdline"]):
            if str(self._socket) in (each.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    each.kill()
        for folder, _, _ in os.walk(_GROUPS / "memory" / self._name):
            with contextlib.suppress(FileNotFoundError):
                for process_id in (Path(folder) / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(process_id), signal.SIGKILL)

    def stop(self) -> None:
        """End it with all that runs there."""
        for name in ("kubelet", "containerd"):
            if process := self._processes.pop(name, None):
                if name == "containerd":
                    self._end_containers()
                process.send_signal(signal.SIGTERM)
                process.wait(60)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for place in sorted((place for place in mounts if place.startswith(f"{self._folder}/")), reverse=True):
            subprocess.run(["/bin/umount", "-l", place], check=True)
        subprocess.run(["ip", "link", "delete", self._bridge], check=False, capture_output=True)
        wait_until(self._groups_are_gone, 30, "processes of containers do not end")

    def running(self) -> list[str]:
        """Containers that run. What has ended is on containerd's list until the kubelet clears up, once a minute."""
        return [line.split()[0] for line in self._listed("tasks", "list") if line.endswith("RUNNING")]

    def _groups_are_gone(self) -> bool:
        self._kill_containers()
        for group in self._groups():
            for folder, _, _ in os.walk(group, topdown=False):
                with contextlib.suppress(OSError):  # what was killed a moment ago is still in it
                    Path(folder).rmdir()
        return not any(group.exists() for group in self._groups())

    def groups(self) -> list[str]:
        """The control groups of pods."""
        walk = os.walk(_GROUPS / "memory" / self._name / "kubepods")  # they go meanwhile, which it takes calmly
        return [f"{folder}/{name}" for folder, names, _ in walk for name in names if name.startswith("pod")]

    def _groups(self) -> list[Path]:
        return [each / self._name for each in _GROUPS.iterdir() if each.is_mount()]

    def _ready(self, since: float) -> bool:
        process = self._processes["kubelet"]
        assert process.poll() is None, (self._folder / "kubelet.log").read_text()[-3000:]
        for node in self._server.call("GET", "/api/v1/nodes")["items"]:
            for condition in node["status"]["conditions"]:
                fresh = condition.get("lastHeartbeatTime", "") >= time.strftime(
                    "%Y-%m-%dT%H:%M:%SZ", time.gmtime(since)
                )
                if condition["type"] == "Ready" and condition["status"] == "True" and fresh:
                    return True
        return False

    def _load(self) -> None:
        """Two images of one layer: what jobs run in, and what keeps a pod's namespaces."""
        layer = self._tar.read_bytes()
        for name, command in ((f"{IMAGE}:1", None), (_PAUSE, ["/bin/sleep", "infinity"])):
            archive, digest = _archive(name, layer, command)
            path = self._folder / "image.tar"
            path.write_bytes(archive)
            self._ctr("images", "import", "--digests=false", str(path))
            path.unlink()
            if command is None:
                self.image = f"{IMAGE}@{digest}"
                self._ctr("images", "tag", name, self.image)

    def _end_containers(self) -> None:
        for name in self._listed("containers", "list", "-q"):
            self._ctr("tasks", "delete", "--force", name, check=False)
            self._ctr("containers", "delete", name, check=False)

    def _listed(self, *what: str) -> list[str]:
        done = subprocess.run([*self._client(), *what], capture_output=True, text=True, check=True)
        return [line.strip() for line in done.stdout.splitlines()]

    def _client(self) -> list[str]:
        return ["ctr", "-a", str(self._socket), "-n", "k8s.io"]

    def _ctr(self, *arguments: str, check: bool = True) -> int:
        done = subprocess.run([*self._client(), *arguments], check=False, capture_output=True, text=True)
        assert not check or done.returncode == 0, done.stderr
        return done.returncode

    def _run(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen([*DYING_WITH_US, *command], stdout=log, stderr=log)


def _archive(name: str, layer: bytes, command: list[str] | None) -> tuple[bytes, str]:
    """An OCI archive of one layer, and its digest."""
    settings = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8"], **({"Cmd": command} if command else {})}
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }).encode()  # fmt: skip
    kind = "application/vnd.oci.image"
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": f"{kind}.manifest.v1+json",
        "config": _entry(config, f"{kind}.config.v1+json"), "layers": [_entry(layer, f"{kind}.layer.v1.tar")],
    }).encode()  # fmt: skip
    named = {**_entry(manifest, f"{kind}.manifest.v1+json"), "annotations": {"io.containerd.image.name": name}}
    files = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [named]}).encode(),
        **{f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (config, manifest, layer)},
    }
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for place, content in files.items():
            info = tarfile.TarInfo(place)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue(), _digest(manifest)


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _entry(blob: bytes, kind: str) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(blob), "size": len(blob)}


def _network(bridge: str, folder: Path) -> dict[str, Any]:
    """An address for each pod, and no way from there: no plugin here enforces a NetworkPolicy."""
    addresses = {"type": "host-local", "ranges": [[{"subnet": "10.213.19.0/24"}]], "dataDir": str(folder / "addresses")}
    return {
        "cniVersion": "1.0.0", "name": bridge,
        "plugins": [{"type": "bridge", "bridge": bridge, "ipam": addresses}],
    }  # fmt: skip


def _kubelet(group: str, socket: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
        "address": "127.0.0.1", "port": free_port(), "healthzPort": 0, "readOnlyPort": 0,
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{socket}",
        "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{group}", "enforceNodeAllocatable": ["pods"],
        "failSwapOn": False, "failCgroupV1": False, "makeIPTablesUtilChains": False, "registerNode": True,
        "podPidsLimit": PIDS, "maxPods": 20, "resolvConf": "", "serializeImagePulls": False,
        "evictionHard": {"memory.available": "1Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "nodeStatusUpdateFrequency": "2s",
    }  # fmt: skip


_CONTAINERD = """
version = 2
root = "{folder}/containerd"
state = "{folder}/run/containerd"
[grpc]
address = "{folder}/run/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_apparmor = true
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
Root = "{folder}/run/runc"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{cni}"
conf_dir = "{folder}/cni"
"""
