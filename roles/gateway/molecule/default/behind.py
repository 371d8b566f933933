#!/usr/bin/python3
"""An HTTP server that answers every request with its own name and what it was sent. usage: behind.py NAME PORT"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Behind(BaseHTTPRequestHandler):
    """Says what it got."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Answer with the request as JSON."""
        left = int(self.headers.get("Content-Length", 0))
        got = len(self.rfile.read(left))
        body = json.dumps(
            {"server": sys.argv[1], "path": self.path, "headers": dict(self.headers.items()), "bytes": got}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Behind).serve_forever()
