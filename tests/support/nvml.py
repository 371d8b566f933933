"""A fixture: a library in the place of NVIDIA's, which NVML's Python binding really loads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.needs import needs

SOURCE = Path(__file__).with_name("stub_nvml.c")


@pytest.fixture(scope="session")
@needs("process")
def stub_libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder with the stub, of a driver that is ``new``, ``old`` or ``ancient``; compiled once each."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed: the stub of NVIDIA's library cannot be compiled")
    built: dict[str, Path] = {}

    def library(age: str) -> Path:
        if age not in built:
            folder = tmp_path_factory.mktemp(f"nvml-{age}")
            command = ["gcc", "-shared", "-fPIC", f"-D{age.upper()}", "-o", str(folder / "libnvidia-ml.so.1")]
            subprocess.run([*command, str(SOURCE)], check=True, timeout=180)
            built[age] = folder
        return built[age]

    return library
