"""A tool with a server and a client at each site, run over loopback as the hosts would run it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.tool_programs import ToolProgram

WAIT = 120


class RoundsRun:
    """One server and its clients; ``close`` ends whatever still runs. ``datasets`` are by host, as a task gets them."""

    def __init__(self, tool: ToolProgram, datasets: Mapping[str, Path], root: Path) -> None:
        self.tool, self.datasets, self._root = tool, datasets, root
        self.output, self.metrics, self.parameters = root / "output", root / "metrics.jsonl", root / "parameters.json"
        self.output.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.server: subprocess.Popen[str] | None = None
        self.clients: dict[str, subprocess.Popen[str]] = {}

    def run(self, **parameters: Any) -> dict[str, Any]:
        """The result, with every task successful."""
        self.ask(**parameters)
        self.serve()
        for host in self.datasets:
            self.join(host)
        ended = {host: self.ended(host) for host in self.clients}
        assert ended == dict.fromkeys(self.datasets, (0, "")), ended
        assert self.ended() == (0, "")
        found: dict[str, Any] = json.loads((self.output / "result.json").read_text())
        return found

    def ask(self, **parameters: Any) -> None:
        """What is asked for from now on."""
        self.parameters.write_text(json.dumps(parameters))

    def serve(self, *hosts: str) -> None:
        """Start the server, and wait until it listens."""
        listed = self._root / "hosts.json"
        listed.write_text(json.dumps({"server": ["EUCAIM"], "client": list(hosts or self.datasets)}))
        self.server = self.tool.start(
            *("server", "--port", str(self.port), "--hosts", listed, "--parameters", self.parameters),
            *("--output", self.output, "--metrics", self.metrics),
        )
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        assert "waiting on port" in line, (line, self.server.communicate(timeout=WAIT)[1])

    def join(self, host: str) -> None:
        self.clients[host] = self.tool.start(
            *("client", "--datasets", self.datasets[host], "--host", host, "--server", f"localhost:{self.port}"),
            *("--parameters", self.parameters),
        )

    def ended(self, host: str | None = None) -> tuple[int, str]:
        """Exit code and standard error of the server or a client."""
        process = self.clients[host] if host else self.server
        assert process is not None, "the server was not started"
        _, errors = process.communicate(timeout=WAIT)
        return process.returncode, errors

    def close(self) -> None:
        for process in (self.server, *self.clients.values()):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()
