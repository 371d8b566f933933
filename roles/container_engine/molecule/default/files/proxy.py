"""Writes down the heads of requests, and refuses them."""

import socketserver
from pathlib import Path


class Refuse(socketserver.StreamRequestHandler):
    def handle(self):
        with Path("/root/asked").open("ab") as asked:
            while (line := self.rfile.readline()).strip():
                asked.write(line)
        self.wfile.write(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer(("127.0.0.1", 3128), Refuse).serve_forever()
