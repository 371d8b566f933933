"""A tool with a server and a client at each site, run over loopback as the hosts would run it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.tool_programs import ToolProgram

from fedproc.catalog.folder import load_tool
from fedproc.contract.tool.messages import MessageDecl
from fedproc.site.policy.engine.findings import Result
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known, columns_of
from fedproc.site.policy.engine.message_rules import against
from fedproc.site.policy.engine.strict_json import scalars

WAIT = 120
EACH = """
import contextlib, io, json, runpy, sys
from pathlib import Path
program, parameters, each, *arguments = sys.argv[1:]
sys.argv = [program, *arguments]
for given in json.loads(each):
    Path(parameters).write_text(json.dumps(given))
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            runpy.run_path(program, run_name="__main__")
            code = 0
        except SystemExit as ended:
            code = ended.code
    print(json.dumps([code, errors.getvalue()]))
"""
"""runs a program once for each of several parameters, all in one process"""


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
        self._looking: dict[str, LookingInto] = {}

    def run(self, **parameters: Any) -> dict[str, Any]:
        """The result, with every task successful, and every message as its tool declares it, if it does."""
        self.ask(**parameters)
        self.serve()
        for host in self.datasets:
            self.join(host, LookingInto.one(self, host, parameters))
        ended = {host: self.ended(host) for host in self.clients}
        refused = {host: each.refused for host, each in self._looking.items() if each.refused}
        assert (ended, refused) == (dict.fromkeys(self.datasets, (0, "")), {})
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

    def join(self, host: str, by: LookingInto | None = None) -> None:
        """Start a host's task; ``by`` stands between it and the server."""
        if by is not None:
            self._looking[host] = by
        self.clients[host] = self.tool.start(
            *(
                "client",
                "--datasets",
                self.datasets[host],
                "--host",
                host,
                "--server",
                f"localhost:{by.port if by else self.port}",
            ),
            *("--parameters", self.parameters),
        )

    def refusals(self, host: str, each: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
        """Exit code and standard error of a host's task by what is asked for, where it ends before it dials."""
        program = (str(self.tool.folder / "source" / "main.py"), str(self.parameters), json.dumps(each))
        task = ("client", "--datasets", str(self.datasets[host]), "--host", host, "--server", "localhost:1")
        ended = subprocess.run(
            [*self.tool.python, "-c", EACH, *program, *task, "--parameters", str(self.parameters)],
            env={**self.tool.variables(), "PYTHONPATH": str(self.tool.folder / "source")},
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return [(code, errors) for code, errors in map(json.loads, ended.stdout.splitlines())]

    def ended(self, host: str | None = None) -> tuple[int, str]:
        """Exit code and standard error of the server or a client."""
        process = self.clients[host] if host else self.server
        assert process is not None, "the server was not started"
        _, errors = process.communicate(timeout=WAIT)
        return process.returncode, errors

    def close(self) -> None:
        for each in self._looking.values():
            each.shutdown()
            each.server_close()
        for process in (self.server, *self.clients.values()):
            if process is not None and process.poll() is None:
                process.kill()
                process.communicate()


class LookingInto(ThreadingHTTPServer):
    """What a host does with messages that are declared: the rules look at each, then it goes on to the server."""

    daemon_threads = True

    def __init__(self, declared: MessageDecl, known: Known, to: int) -> None:
        super().__init__(("127.0.0.1", 0), _Looking)
        self.port, self.declared, self.known, self.to = self.server_address[1], declared, known, to
        self.refused: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @classmethod
    def one(cls, run: RoundsRun, host: str, parameters: Mapping[str, Any]) -> LookingInto | None:
        tool = load_tool(run.tool.folder).tool
        traffic = tool.task("client").connections[0].traffic
        if traffic is None or traffic.sends is None:
            return None
        properties = tool.parameters["properties"].items()
        given = {name: entry["default"] for name, entry in properties if "default" in entry} | dict(parameters)
        described = [json.loads(path.read_text()) for path in run.datasets[host].glob("*/dataset.json")]
        known = Known(
            {
                "order": lambda: [host],
                "parameters": lambda: scalars(given),
                "dataset": lambda: scalars(described),
                COLUMNS: lambda: columns_of(given),
                CATEGORIES: lambda: scalars(described),
            }
        )
        return cls(traffic.sends, known, run.port)


class _Looking(BaseHTTPRequestHandler):
    server: LookingInto

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        _, found = against(self.server.declared, body, 5, self.server.known)
        self.server.refused += [each.text for each in found if each.result is Result.refuse]
        onwards = http.client.HTTPConnection("127.0.0.1", self.server.to, timeout=WAIT)
        onwards.request("POST", self.path, body)
        reply = onwards.getresponse()
        answer = reply.read()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        onwards.close()

    def log_message(self, *_: Any) -> None:
        pass
