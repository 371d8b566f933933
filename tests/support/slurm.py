"""A Slurm cluster of one node, started for a test with munge and a key of its own; nothing of it is left."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

import psutil
import pytest
from tests.support.processes import DYING_WITH_US

from fedproc.demo.polling import wait_until

CHECKOUT = Path(__file__).parents[2]
USER = 65_534
"""nobody: of an ordinary user this machine has no other that is surely there"""
needs_slurm = pytest.mark.skipif(
    not all(map(which, ("slurmctld", "slurmd", "munged", "sbatch"))),
    reason="no Slurm: scripts/install-system-packages slurm brings it",
)
_SETTINGS = """
ClusterName=fedproc
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={controller}
SlurmdPort={node}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
CryptoType=crypto/munge
StateSaveLocation={folder}/controller
SlurmdSpoolDir={folder}/node
SlurmctldPidFile={folder}/controller.pid
SlurmdPidFile={folder}/node.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=1000,sched_interval=1
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=100000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """Its daemons, and all they keep below ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cluster-", dir=folder))
        self._folder.chmod(0o755)
        self.configuration = self._folder / "slurm.conf"
        ports = [_free_port(), _free_port()]
        self.configuration.write_text(
            _SETTINGS.format(host=socket.gethostname(), controller=ports[0], node=ports[1], folder=self._folder)
        )
        for name in ("controller", "node"):
            (self._folder / name).mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def program(self) -> Path:
        """A Python with these programs that every user may run, as a cluster has one in a shared folder."""
        path = self._folder / "python"
        places = ":".join(place for place in sys.path if place.startswith(str(CHECKOUT)))
        path.write_text(f'#!/bin/sh\nexport PYTHONPATH={CHECKOUT}/controllers:{places}\nexec /usr/bin/python3 "$@"\n')
        path.chmod(0o755)
        return path

    def start(self) -> None:
        """Start all, and return when the node is idle."""
        at = self._folder
        self._run(
            "munged", "--foreground", "--force", f"--key-file={at}/munge.key", f"--socket={at}/munge.sock",
            f"--pid-file={at}/munge.pid", f"--log-file={at}/munge.log", f"--seed-file={at}/munge.seed",
        )  # fmt: skip
        wait_until((at / "munge.sock").exists, 60, "munge does not start")
        self.start_controller()
        self._run("slurmd", "-D", "-f", str(self.configuration))
        wait_until(lambda: "idle" in self._asked("sinfo", "--noheader", "--format=%T"), 90, "the node does not come up")

    def start_controller(self) -> None:
        """Start it, again too; returns when it answers."""
        self._run("slurmctld", "-D", "-f", str(self.configuration))
        wait_until(lambda: bool(self._asked("sinfo", "--noheader")), 90, "the controller does not answer")

    def stop_controller(self) -> None:
        """As when its machine is away; what runs goes on."""
        self._end("slurmctld", subprocess.Popen.kill)

    def lose_node(self) -> None:
        """Kill what looks after the node's jobs, and the jobs; start it again."""
        self._end("slurmd", subprocess.Popen.kill)
        for process in psutil.process_iter(["cmdline"]):
            told = " ".join(process.info["cmdline"] or ())
            if "slurm.allocation" in told and str(self._folder.parent) in told:
                process.kill()
        self._run("slurmd", "-D", "-f", str(self.configuration))

    def cancel_all(self) -> None:
        """As an operator of the cluster does."""
        for number in self._asked("squeue", "--noheader", "--format=%i").split():
            subprocess.run(["scancel", number], env=self._environment, check=True)

    def queue(self) -> list[str]:
        """The names of what waits or runs."""
        return self._asked("squeue", "--noheader", "--format=%j").split()

    def stop(self) -> None:
        """End all."""
        for name in ("slurmd", "slurmctld", "munged"):
            self._end(name, subprocess.Popen.terminate)

    def _run(self, *command: str) -> None:
        with (self._folder / f"{command[0]}.log").open("ab") as log:
            self._processes[command[0]] = subprocess.Popen(
                [*DYING_WITH_US, *command], stdout=log, stderr=log, env=self._environment
            )

    def _end(self, name: str, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if process := self._processes.pop(name, None):
            how(process)
            process.wait(60)

    def _asked(self, *command: str) -> str:
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False, timeout=60)
        return done.stdout if done.returncode == 0 else ""

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.configuration)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
