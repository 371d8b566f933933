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

REPOSITORY = Path(__file__).parents[2]
CATALOGUE = REPOSITORY / "tool_catalog"


@pytest.fixture(scope="session")
@needs("process")
def statistics() -> ToolProgram:
    """``cohort-statistics`` in an environment built from its lock file, kept between test runs."""
    folder = CATALOGUE / "cohort_statistics"
    home = _environment(folder)
    variables = {"MPLCONFIGDIR": str(home / "matplotlib"), "OPENBLAS_NUM_THREADS": "1"}
    return ToolProgram(folder, (str(home / "bin" / "python"),), variables)


@pytest.fixture(scope="session")
@needs("process")
def acceptance() -> ToolProgram:
    """``host-acceptance``, without any package beside the standard library."""
    return ToolProgram(CATALOGUE / "host_acceptance", (sys.executable, "-S"))


@pytest.fixture(scope="session")
@needs("process")
def flower() -> ToolProgram:
    """``flower-logistic`` in an environment built from its lock file, kept between test runs."""
    folder = CATALOGUE / "flower_logistic"
    home = _environment(folder)
    telemetry = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "OPENBLAS_NUM_THREADS": "1"}
    return ToolProgram(folder, (str(home / "bin" / "python"),), telemetry)


def _environment(folder: Path) -> Path:
    lock = folder / "requirements.lock"
    name = f"{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}-{sys.version_info.major}.{sys.version_info.minor}"
    home = REPOSITORY / ".cache" / "tool-environments" / name
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
    """Build beside and rename, so that an interrupted or a second test run leaves no half environment."""
    home.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=home.parent))
    subprocess.run([sys.executable, "-m", "venv", partial], check=True)
    pip = [partial / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:"]
    subprocess.run([*pip, "-r", lock], check=True, env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    try:
        partial.rename(home)
    except OSError:
        shutil.rmtree(partial)  # another run was first; its environment is the same
