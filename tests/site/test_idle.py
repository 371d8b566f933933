"""A host without work holds in memory what it needs to wait for some."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import fedproc

LOADED = """
import sys
from pathlib import Path
from fedproc.cli.services import orchestrator
from fedproc.common.errors import InvalidInputError
try:
    orchestrator(Path("/nowhere/host.toml"))
except InvalidInputError:
    from fedproc.contract.tool.tool import Tool
    from fedproc.contract.wire.messages import JobOrder
    from fedproc.site.jobs.record import JobRecord
    from fedproc.site.settings import SiteSettings
    built = [each.__name__ for each in (JobOrder, JobRecord, SiteSettings, Tool) if each.__pydantic_complete__]
    print(*sys.modules, *built)
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
    "jsonschema",
    "numpy",
    "pandas",
    "pydicom",
    "pygments",
    "rich",
    "sqlalchemy",
    "uvicorn",
    "yaml",
    "JobOrder",
    "JobRecord",
    "Tool",
)
"""Modules, and models: a job, a check or a person's terminal needs them. They are loaded, and built, when one comes, or
by a process of its own."""


@pytest.mark.process
def test_an_orchestrator_that_waits_has_not_loaded_what_only_work_needs() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "fedproc.site.daemon" in loaded
    assert not loaded.intersection(OF_JOBS_AND_PEOPLE)


def test_no_pattern_of_settings_counts_unicode_words_into_the_hundreds() -> None:
    r"""Each ``\w`` stands for hundreds of ranges: a hundred of them take 5 MiB of a host."""
    rooms = Path(fedproc.__file__).parent
    counted = re.compile(r"pattern=.*(\\w[^\]\"]*\]|\\w)\{\d*,?\d{2,}\}")
    sources = [*(rooms / "site").rglob("*settings.py"), *(rooms / "contract").rglob("*.py")]
    found = [f"{path.name}: {line.strip()}" for path in sources for line in path.read_text().splitlines()
             if counted.search(line)]  # fmt: skip
    assert sources
    assert not found, f"bound the length by max_length: {found}"
