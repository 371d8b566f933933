"""A host without work holds in memory what it needs to wait for some."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
from pathlib import Path
from fedproc.cli.services import orchestrator
from fedproc.common.errors import InvalidInputError
try:
    orchestrator(Path("/nowhere/host.toml"))
except InvalidInputError:
    print(*sys.modules)
"""
OF_JOBS_AND_PEOPLE = (
    "click",
    "docker",
    "fastapi",
    "fedproc.catalog.authoring",
    "fedproc.central",
    "fedproc.onboarding.check",
    "fedproc.onboarding.report",
    "greenlet",
    "numpy",
    "pandas",
    "pydicom",
    "pygments",
    "rich",
    "sqlalchemy",
    "uvicorn",
    "yaml",
)
"""A job, a check or a person's terminal needs them; they are loaded when one comes, or by a process of its own."""


@pytest.mark.process
def test_an_orchestrator_that_waits_has_not_loaded_what_only_work_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fedproc.site.daemon" in loaded
    assert not loaded.intersection(OF_JOBS_AND_PEOPLE)
