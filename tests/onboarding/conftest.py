"""Shared ground of the host check's tests: a stub of NVIDIA's library, the check as a process, certificates."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.certificates import Authority
from tests.support.needs import needs
from tests.support.nvml import stub_libraries  # noqa: F401 (a fixture)

ROOT = Path(__file__).parents[2]
CONTROLLERS = ROOT / "controllers"


@dataclass(frozen=True)
class CheckResult:
    """A finished check: exit code, report, and its lines by id."""

    code: int
    report: dict[str, Any]
    errors: str

    @property
    def lines(self) -> dict[str, dict[str, Any]]:
        return {line["id"]: line for line in self.report["lines"]}

    @property
    def verdicts(self) -> dict[str, str]:
        return {name: line["verdict"] for name, line in self.lines.items()}

    @property
    def faults(self) -> set[str]:
        return {line["fault"] for line in self.report["lines"] if line["fault"]}


@dataclass(frozen=True)
class Checker:
    """Runs the check as a user would, in a process of its own; ``prefix`` is put before the command."""

    prefix: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str, ...] = (sys.executable, "-m", "fedproc.onboarding")

    def __call__(self, *arguments: str) -> CheckResult:
        done = self.run("check", "--json", *arguments)
        assert done.stdout, done.stderr
        return CheckResult(done.returncode, json.loads(done.stdout), done.stderr)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self.prefix, *self.program, *arguments]
        return subprocess.run(
            command, env=self.full_environment, capture_output=True, text=True, timeout=120, check=False
        )

    @property
    def full_environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        return kept | {"PYTHONPATH": str(CONTROLLERS)} | self.environment


@pytest.fixture
@needs("process")
def check() -> Checker:
    return Checker()


@dataclass(frozen=True)
class Gpus:
    """The stub's facts in a file; ``check`` runs on them."""

    folder: Path
    facts: Path
    age: str = "new"

    def say(self, *lines: str) -> Checker:
        self.facts.write_text("\n".join(lines) + "\n")
        return Checker(environment=self.environment)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_LIBRARY_PATH": str(self.folder), "STUB_NVML": str(self.facts)}


@pytest.fixture
def gpus(stub_libraries: Callable[[str], Path], tmp_path: Path) -> Callable[..., Gpus]:  # noqa: F811
    def of(age: str = "new") -> Gpus:
        return Gpus(stub_libraries(age), tmp_path / "nvml.txt", age)

    return of


def gpu(name: str = "NVIDIA A10", mib: int = 23028, **other: Any) -> str:
    """One ``gpu`` line of the stub."""
    values = {"uuid": "GPU-0", "major": 8, "minor": 6, "cores": 9216, "fault": 0, "mig": 0} | other
    head = "{uuid} {mib} {major} {minor} {cores} {fault} {mig}".format(mib=mib, **values)
    return f"gpu {head} {name}"


@pytest.fixture
def gpu_line() -> Callable[..., str]:
    return gpu


@dataclass(frozen=True)
class SmallInternet:
    """The namespaces of ``tests/support/small_internet.py``: the check runs inside."""

    pid: int
    folder: Path

    @property
    def ca(self) -> str:
        return str(self.folder / "centre.pem")

    @property
    def other_ca(self) -> str:
        return str(self.folder / "other.pem")

    def sha256(self, stem: str) -> str:
        return Authority.load(self.folder / stem).sha256

    def check(self, **environment: str) -> Checker:
        enter = ("nsenter", f"--target={self.pid}", "--net", "--mount", "--")
        return Checker(enter, environment)


@pytest.fixture(scope="session")
@needs("needs_root")
def internet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallInternet]:
    """Skips, with the reason, where namespaces cannot be made."""
    if reason := _no_namespaces():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("internet")
    for stem in ("centre", "inspector", "other"):
        Authority.make(f"{stem} test CA").save(folder / stem)
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.support.small_internet", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        try:
            assert process.stdout.readline() == "ready\n", "the little internet did not start"
            yield SmallInternet(process.pid, folder)
        finally:
            process.stdin.close()
            process.wait(60)


def _no_namespaces() -> str | None:
    if os.geteuid() != 0:
        return "not root: network namespaces cannot be made here"
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"'{tool}' is not installed (util-linux, iproute2)"
    tried = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"namespaces cannot be made here: {tried.stderr.strip()}" if tried.returncode else None
