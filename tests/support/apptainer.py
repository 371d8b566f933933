"""Apptainer, where it is: Debian has it in unstable alone."""

from __future__ import annotations

import pytest

from fedproc.site.executors.runner.apptainer import program

needs_apptainer = pytest.mark.skipif(
    program() is None,
    reason="no Apptainer: scripts/install-system-packages apptainer brings it to Debian 13",
)
