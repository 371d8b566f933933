"""The container engine that tests use."""

from __future__ import annotations

import os
from pathlib import Path
from shutil import which

import pytest

from fedproc.demo.engine import MACHINES_OWN, answers

OWN = Path(os.environ.get("FEDPROC_ENGINE", MACHINES_OWN))
"""the socket of the engine that is tested; Podman's, for example"""
needs_docker = pytest.mark.skipif(
    which("dockerd") is None and not answers(OWN),
    reason="no Docker engine: scripts/install-system-packages docker brings one",
)
