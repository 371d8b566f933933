"""Both ends of a Substra plan's connection that do not keep to it: a server that asks for more, a host that lies."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


class FakeServer:
    """Replies with what it is given, whatever a host says, and keeps what that was."""

    def __init__(self, replies: list[dict[str, Any]]) -> None:
        self.told: list[dict[str, Any]] = []
        waiting, told = list(replies), self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                body = json.dumps(waiting.pop(0) if waiting else {"failed": True}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def answer_as_host(port: int, host: str, hello: dict[str, Any], answer: dict[str, Any]) -> None:
    """A host that introduces itself with ``hello`` and answers whatever it is asked for with ``answer``."""
    number, said = 0, hello
    while True:
        body = json.dumps({"host": host, "round": number, "answer": said}).encode()
        head = f"POST /answers HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
            connection.sendall(head + body)
            reply = b"".join(iter(lambda: connection.recv(65536), b""))
        asked = json.loads(reply.partition(b"\r\n\r\n")[2] or b"{}")
        if "round" not in asked:
            return
        number, said = asked["round"], answer
