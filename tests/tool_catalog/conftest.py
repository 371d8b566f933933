"""The catalogue's tools, run as the programs they are: by their command lines, on files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.needs import needs
from tests.support.tool_programs import ToolProgram

from fedproc.common.locks import file_locked
from fedproc.demo.data import SHARES
from fedproc.site.data.describing.proposal import propose

CLINICAL = "FEDPROC_DEMONSTRATOR"
"""names a folder with z3_1.csv to z3_3.csv: rexposome's example as EUCAIM dealt it out; it is not in the repository"""
FLOWER = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}
REPOSITORY = Path(__file__).parents[2]
BUILD_SECONDS = 900
"""that the first test of an environment may take with building it, on a machine that builds others beside"""
CATALOGUE = REPOSITORY / "tool_catalog"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(BUILD_SECONDS))


@pytest.fixture(scope="session")
@needs("process")
def statistics() -> ToolProgram:
    """``cohort-statistics``, each task in an environment built from its lock file, kept between test runs."""
    folder = CATALOGUE / "cohort_statistics"
    home, local = _environment(folder), _environment(folder, "local.lock")
    variables = {"MPLCONFIGDIR": str(home / "matplotlib"), "OPENBLAS_NUM_THREADS": "1"}
    by_task = {"local": (str(local / "bin" / "python"),)}
    return ToolProgram(folder, (str(home / "bin" / "python"),), variables, by_task, warm=True)


@pytest.fixture(scope="session")
@needs("process")
def acceptance() -> ToolProgram:
    """``host-acceptance``, without any package beside the standard library."""
    return ToolProgram(CATALOGUE / "host_acceptance", (sys.executable, "-S"))


@pytest.fixture(scope="session")
@needs("process")
def flower() -> ToolProgram:
    """``flower-logistic`` in an environment built from its lock file, kept between test runs."""
    return _program("flower_logistic", **FLOWER)


@pytest.fixture(scope="session")
@needs("process")
def selftest() -> ToolProgram:
    """``federation-selftest``, in the environment of ``flower-logistic``."""
    return _program("federation_selftest", **FLOWER)


@pytest.fixture(scope="session")
@needs("process")
def flower_clinical() -> ToolProgram:
    """``flower-clinical`` in an environment built from its lock file, kept between test runs."""
    return _program("flower_clinical", **FLOWER)


@pytest.fixture(scope="session")
@needs("process")
def flower_image() -> ToolProgram:
    """``flower-image`` in an environment built from its lock file, kept between test runs."""
    return _program("flower_image", **FLOWER)


@pytest.fixture(scope="session")
@needs("process")
def substra_clinical() -> ToolProgram:
    """``substra-clinical`` in an environment built from its lock file, kept between test runs."""
    return _program("substra_clinical", TQDM_DISABLE="1")


@pytest.fixture(scope="session")
@needs("process")
def substra_image() -> ToolProgram:
    """``substra-image`` in an environment built from its lock file, kept between test runs."""
    return _program("substra_image", TQDM_DISABLE="1")


@pytest.fixture(scope="session")
@needs("process")
def nvflare_image() -> ToolProgram:
    """``nvflare-image`` in an environment built from its lock file, kept between test runs."""
    return _program("nvflare_image")


@pytest.fixture(scope="session")
@needs("process")
def linear() -> ToolProgram:
    """``linear-regression`` in an environment built from its lock file, kept between test runs."""
    return _program("linear_regression", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def images() -> ToolProgram:
    """``dicom-summary`` in an environment built from its lock file, kept between test runs."""
    return _program("dicom_summary", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def quality() -> ToolProgram:
    """``dicom-quality`` in an environment built from its lock file, kept between test runs."""
    return _program("dicom_quality", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def radiomics() -> ToolProgram:
    """``radiomics-statistics`` in an environment built from its lock file, kept between test runs."""
    return _program("radiomics_statistics", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def inference() -> ToolProgram:
    """``model-inference`` in an environment built from its lock file, kept between test runs."""
    return _program("model_inference")


@pytest.fixture(scope="session")
@needs("process")
def logistic() -> ToolProgram:
    """``logistic-regression``, in the same environment."""
    return _program("logistic_regression", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def kaplan_meier() -> ToolProgram:
    """``kaplan-meier``, in the same environment."""
    return _program("kaplan_meier", warm=True)


@pytest.fixture(scope="session")
@needs("process")
def cox() -> ToolProgram:
    """``cox-regression``, in the same environment."""
    return _program("cox_regression", warm=True)


@pytest.fixture
def by_host(data: Path) -> dict[str, Path]:
    """The folders of the demo's breast cohorts by host, as a task gets them."""
    return {host: data / host / "breast-cohort" for host in SHARES}


@pytest.fixture
def clinical(tmp_path: Path) -> dict[str, Path]:
    """The demonstrator's clinical tables by host, described as ``fedproc data describe`` proposes."""
    source = os.environ.get(CLINICAL)
    if not source:
        pytest.skip(f"{CLINICAL} names no folder with the demonstrator's clinical data (z3_1.csv to z3_3.csv)")
    for number, host in enumerate(SHARES, 1):
        folder = tmp_path / "clinical" / host / "clinical"
        folder.mkdir(parents=True)
        shutil.copyfile(Path(source) / f"z3_{number}.csv", folder / f"z3_{number}.csv")
        (folder / "dataset.json").write_text(json.dumps(propose(folder).description))
    return {host: tmp_path / "clinical" / host for host in SHARES}


def _program(tool: str, *, warm: bool = False, **variables: str) -> ToolProgram:
    folder = CATALOGUE / tool
    python = str(_environment(folder) / "bin" / "python")
    return ToolProgram(folder, (python,), {"OPENBLAS_NUM_THREADS": "1", **variables}, warm=warm)


def _environment(folder: Path, name_of_lock: str = "requirements.lock") -> Path:
    lock = folder / name_of_lock
    name = f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}-{sys.version_info.major}.{sys.version_info.minor}"
    home = REPOSITORY / ".cache" / "tool-environments" / name
    home.parent.mkdir(parents=True, exist_ok=True)
    with file_locked(home.with_suffix(".lock")):  # tests side by side wait for the one that builds
        if not home.exists():
            _build(lock, home)
    return home


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[str, Any], Path]:
    """Writes a JSON file below ``tmp_path`` and returns its path."""

    def write(name: str, value: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
        return path

    return write


@pytest.fixture
def free_port() -> int:
    """A port of the loopback interface on which nobody listened a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _build(lock: Path, home: Path) -> None:
    """Build beside and rename, so that an interrupted test run leaves no half environment.

    Nothing is compiled but what is imported: of a tool's libraries a small part, and compiling them all takes longest.
    """
    partial = Path(tempfile.mkdtemp(dir=home.parent))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", partial], check=True)
    pip = [sys.executable, "-m", "pip", "--python", partial / "bin" / "python", "install", "--quiet", "--no-compile"]
    subprocess.run(
        [*pip, "--require-hashes", "--only-binary", ":all:", "-r", lock],
        check=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    partial.rename(home)
