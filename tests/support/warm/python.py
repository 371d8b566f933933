"""Interpreters of tools that are kept warm: one for each and its environment, as long as these tests last."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.support.processes import DYING_WITH_US

_HERE = Path(__file__).parent


def warm_command(python: str, environment: Mapping[str, str], *program: str) -> list[str]:
    """Runs a program (its ``main.py`` and arguments) as ``python`` would, which starts quickly from the second on."""
    socket = _server(python, tuple(sorted(environment.items())))
    return [sys.executable, "-S", "-E", str(_HERE / "client.py"), socket, *program]


@cache
def _server(python: str, environment: tuple[tuple[str, str], ...]) -> str:
    socket = str(Path(tempfile.mkdtemp(prefix="fedproc-warm-"), "socket"))
    command = [*DYING_WITH_US, python, str(_HERE / "server.py"), socket]
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.PIPE, text=True)
    _SERVERS.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "listens\n", f"{python} runs no programs"
    return socket


_SERVERS: list[subprocess.Popen[str]] = []
"""kept: what nobody refers to is said to be left running"""
