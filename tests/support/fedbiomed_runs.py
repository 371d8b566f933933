"""Fed-BioMed's tools run over loopback as hosts would run them, where its environment is at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.support.rounds_runs import RoundsRun
from tests.support.tool_programs import ToolProgram

PYTHON = "FEDPROC_FEDBIOMED"
"""names a Python that has what the tools' Dockerfile installs: 2 GB, which no test fetches by itself"""
WAIT = 600
"""seconds that a task may take: 20 rounds, on a machine with much else to do"""
OPTIONAL = Path(__file__).parents[2] / "tool_catalog/optional"


class Start(Protocol):
    """Makes a run of a tool over datasets by host."""

    def __call__(self, datasets: dict[str, Path]) -> Nodes: ...


class Nodes(RoundsRun):
    """Clients show measures, too, and Fed-BioMed has its own lines among the errors."""

    def run(self, **parameters: Any) -> dict[str, Any]:
        self.ask(**parameters)
        self.serve()
        for host in self.datasets:
            self.join(host)
        ended = {host: self.ended(host) for host in (None, *self.clients)}
        assert {host: code for host, (code, _) in ended.items()} == dict.fromkeys(ended, 0), ended
        found: dict[str, Any] = json.loads((self.output / "result.json").read_text())
        return found

    def join(self, host: str) -> None:
        self.clients[host] = self.tool.start(
            *("client", "--datasets", self.datasets[host], "--host", host, "--server", f"localhost:{self.port}"),
            *("--parameters", self.parameters, "--metrics", self.measures(host)),
        )

    def ended(self, host: str | None = None) -> tuple[int, str]:
        process = self.clients[host] if host else self.server
        assert process is not None, "the server was not started"
        _, errors = process.communicate(timeout=WAIT)
        return process.returncode, errors

    def measures(self, host: str) -> Path:
        return self.output.parent / f"metrics-{host}.jsonl"


@contextmanager
def starting(tool: str, root: Path) -> Iterator[Start]:
    """Runs of an optional tool, whose working folder is ``root``; all are ended. Skips where there is no Fed-BioMed."""
    python = os.environ.get(PYTHON)
    if not python:
        pytest.skip(f"{PYTHON} names no Python with Fed-BioMed (tool_catalog/optional/{tool}/Dockerfile)")
    variables = {"HOME": str(root), "OPENBLAS_NUM_THREADS": "1", "GRPC_DNS_RESOLVER": "native"}
    made: list[Nodes] = []

    def make(datasets: dict[str, Path]) -> Nodes:
        made.append(Nodes(ToolProgram(OPTIONAL / tool, (python,), variables), datasets, root / f"run-{len(made)}"))
        return made[-1]

    try:
        yield make
    finally:
        for run in made:
            run.close()
