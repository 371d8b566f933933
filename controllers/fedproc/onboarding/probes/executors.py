"""What the executors that a host's settings name need of this machine, and what of it is missing: each with its cure.

Nothing is started, and nothing of fedproc but the names is known here: the check runs before anything is installed.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from fedproc.onboarding.model.facts import ExecutorFacts, ExecutorNeeds
from fedproc.onboarding.model.targets import ExecutorTarget
from fedproc.onboarding.probes import cgroup, engine, files

_SUBORDINATES = 65536
_APPTAINER = ("/usr/bin/apptainer", "/usr/local/bin/apptainer", "/opt/apptainer/bin/apptainer")
_WANTED = ("cpu", "memory", "pids")
_LONGEST_SUBIDS = 1 << 20
_SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")


def probe(targets: tuple[ExecutorTarget, ...]) -> ExecutorFacts:
    """What each of them needs and lacks here."""
    found = {"sandbox": _sandbox, "docker": _docker, "podman": _podman, "slurm": _slurm,
             "apptainer": _apptainer, "kubernetes": _kubernetes}  # fmt: skip
    return ExecutorFacts(tuple(found[target.name](target) for target in targets if target.name in found))


def _sandbox(target: ExecutorTarget) -> ExecutorNeeds:
    missing = list(_bubblewrap("apt-get install bubblewrap libseccomp2"))
    version, controllers = cgroup.controllers()
    if lacking := [name for name in _WANTED if name not in controllers]:
        missing.append(
            f"control groups {version} without {', '.join(lacking)}: enable them on the kernel's command line"
        )
    note = "" if shutil.which("zstd") else "without the program zstd, images packed by it are refused"
    return ExecutorNeeds(target.name, "bubblewrap, control groups for its runner", tuple(missing), note)


def _apptainer(target: ExecutorTarget) -> ExecutorNeeds:
    """The sandbox's runner, and Apptainer, which an ordinary user can run."""
    cure = "role container_engine with container_engine_kind: apptainer; Debian has it in unstable alone"
    missing = list(_sandbox(target).missing)
    found = next(filter(shutil.which, _APPTAINER), None)
    if found is None:
        missing.append(f"Apptainer is not installed ({', '.join(_APPTAINER)}): {cure}")
    elif (answer := engine.run([found, "version"])).returncode:
        missing.append(f"{found} does not answer ({answer.stderr.strip()[:200]}): {cure}")
    needs = "Apptainer 1.1 or newer, bubblewrap, control groups for the job runner"
    return ExecutorNeeds(target.name, needs, tuple(missing), "it runs images of the federation's store alone")


def _bubblewrap(cure: str) -> list[str]:
    found = engine.bubblewrap()
    if found is None:
        return [f"bubblewrap is not installed: {cure}"]
    return [f"bubblewrap {found.detail}: allow user namespaces"] if found.state != "usable" else []


def _docker(target: ExecutorTarget) -> ExecutorNeeds:
    cure = "systemctl start docker, and see that the orchestrator's user may open the socket"
    return ExecutorNeeds(target.name, f"an engine at {target.socket}", tuple(_unanswered(target.socket, cure)))


def _podman(target: ExecutorTarget) -> ExecutorNeeds:
    cure = "as its user: systemctl --user enable --now podman.socket"
    missing = list(_unanswered(target.socket, cure))
    if target.socket is None or target.socket == Path("/run/podman/podman.sock"):
        return ExecutorNeeds(target.name, "root's engine: whoever may use its socket is root here", tuple(missing))
    uid = _owner_of(target.socket)
    name = _name_of(uid)
    for file in ("subuid", "subgid"):
        if _subordinates(Path("/etc") / file, name, uid) < _SUBORDINATES:
            missing.append(f"/etc/{file} gives {name} fewer than {_SUBORDINATES} ids: usermod --add-{file}s"
                           f" 100000-165535 {name}")  # fmt: skip
    for program, package in (("newuidmap", "uidmap"), ("crun", "crun")):
        if shutil.which(program) is None:
            missing.append(f"{program} is not installed: apt-get install {package}")
    notes = [*_of_a_user(name, uid), *([] if shutil.which("tini-static") else ["no tini: apt-get install tini"])]
    return ExecutorNeeds(target.name, f"Podman of {name}, an ordinary user", tuple(missing), "; ".join(notes))


def _of_a_user(name: str, uid: int) -> list[str]:
    """What an engine of an ordinary user does without, less well."""
    notes = []
    if Path("/run/systemd/system").exists() and not Path("/var/lib/systemd/linger", name).exists():
        notes.append(f"it ends when {name} logs out: loginctl enable-linger {name}")
    version, _ = cgroup.controllers()
    slices = Path(f"/sys/fs/cgroup/user.slice/user-{uid}.slice/user@{uid}.service/cgroup.controllers")
    delegated = (files.text(slices) or "").split() if version == "v2" else []
    if lacking := [limit for limit in _WANTED if limit not in delegated]:
        cure = "Delegate=cpu memory pids for user@.service, with control groups v2; or unenforced_limits in the policy"
        notes.append(f"control groups {version} delegate no {', '.join(lacking)} to it: {cure}")
    return notes


def _unanswered(path: Path | None, cure: str) -> list[str]:
    if path is None:
        return []
    reason = engine.why_silent(path)
    return [f"{path} does not answer ({reason}): {cure}"] if reason else []


def _owner_of(path: Path) -> int:
    try:
        return path.stat().st_uid
    except OSError:
        return os.getuid()


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _subordinates(path: Path, name: str, uid: int) -> int:
    """How many ids the file gives this user."""
    lines = [line.split(":") for line in (files.text(path) or "")[:_LONGEST_SUBIDS].splitlines()]
    return sum(int(line[2]) for line in lines if len(line) == 3 and line[0] in (name, str(uid)) and line[2].isdigit())


def _slurm(target: ExecutorTarget) -> ExecutorNeeds:
    missing = [
        f"{program} is not installed: apt-get install slurm-client"
        for program in ("sbatch", "squeue", "scontrol", "scancel")
        if shutil.which(program) is None
    ]
    if not missing:
        missing += _of_the_cluster(target)
    missing += _unshared(target.folder)
    needs = f"a login node of a cluster ({platform.node()}), bubblewrap and fedproc's Python on its nodes"
    note = "" if target.folder else "slurm.folder is not given: the folder state has to be one that the nodes share"
    return ExecutorNeeds(target.name, needs, tuple(missing), note)


def _of_the_cluster(target: ExecutorTarget) -> list[str]:
    answer = engine.run(["scontrol", "ping"])
    if answer.returncode or "UP" not in answer.stdout:
        reason = (answer.stderr or answer.stdout).strip()[:200] or "no answer"
        return [f"slurmctld does not answer ({reason}): see slurm.conf, munge, and that this is a submit host"]
    if target.partition is None:
        return []
    found = engine.run(["scontrol", "--oneliner", "show", "partition", target.partition])
    return [] if found.returncode == 0 else [f"the cluster has no partition {target.partition}: see sinfo"]


def _kubernetes(target: ExecutorTarget) -> ExecutorNeeds:
    missing = [*_unshared(target.folder), *(_unreachable(target.kubeconfig) if target.kubeconfig else _no_account())]
    needs = "an account of a Kubernetes cluster, a folder that its nodes share, a network plugin with NetworkPolicies"
    note = (
        "" if target.folder else "kubernetes.folder is not given: the folder state has to be one that the nodes share"
    )
    return ExecutorNeeds(target.name, needs, tuple(missing), note)


def _unshared(folder: Path | None) -> list[str]:
    if folder is None or _answer(lambda: os.access(str(folder), os.W_OK)):
        return []
    return [f"{folder} is not there, or this user may not write it: make it where the nodes see it"]


def _no_account() -> list[str]:
    if _SERVICE_ACCOUNT.exists():
        return []
    return ["this is no pod with a service account: name the kubeconfig of one in the settings (kubernetes.kubeconfig)"]


def _unreachable(kubeconfig: Path) -> list[str]:
    """Whether each API server of the file can be connected to; who it is and what it allows is asked at the start."""
    content = files.text(kubeconfig)
    if content is None:
        return [f"{kubeconfig} is not there, or this user may not read it: install -m 600 a kubeconfig there"]
    missing = []
    if _answer(lambda: bool(kubeconfig.stat().st_mode & 0o077)):
        missing.append(f"{kubeconfig} can be read by others: chmod 600 {kubeconfig}")
    servers = re.findall(r"""["']?server["']?\s*:\s*["']?(https?://[^\s"',}]+)""", content)
    if not servers:
        missing.append(f"{kubeconfig} names no server: it is no kubeconfig")
    for server in dict.fromkeys(servers):
        if reason := _silent(server):
            missing.append(
                f"the API server {server} does not answer ({reason}): ask who runs the cluster for its address"
            )
    return missing


def _silent(server: str) -> str:
    """Why no connection can be made; empty if it can."""
    try:
        parts = urlsplit(server)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), engine.SECONDS).close()
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _answer(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError:
        return False
