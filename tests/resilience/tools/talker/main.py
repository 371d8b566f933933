"""Tries one way out by a connection or an artefact: ``main.py WAY OUTPUT HOST PORT``.

What it carries is computed here, so that it stands nowhere until the tool has run.
"""

import gzip
import hashlib
import json
import socket
import sys
from pathlib import Path

WAY, OUTPUT, PEER = sys.argv[1], Path(sys.argv[2]), (sys.argv[3], int(sys.argv[4]))
CANARY = hashlib.sha256(f"a patient, by {WAY}".encode()).hexdigest()[:24]
HONEST = {"host": "UB", "n": 40, "mean": 52.5}


def raw(*parts: bytes) -> None:
    """These bytes, and whatever comes back."""
    with socket.create_connection(PEER, 10) as line:
        try:
            for part in parts:
                line.sendall(part)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):
                pass
        except OSError as error:
            print(f"cut: {error}", flush=True)


def post(document: object, *headers: bytes, path: bytes = b"/answers", method: bytes = b"POST") -> None:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    length = b"Content-Length: %d" % len(body)
    raw(method + b" " + path + b" HTTP/1.1\r\n" + b"\r\n".join((length, *headers)) + b"\r\n\r\n" + body)


def artefact(content: object) -> None:
    OUTPUT.mkdir(parents=True, exist_ok=True)
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    (OUTPUT / "sums.json").write_bytes(written)


def blanks() -> bytes:
    return b'{"host": "UB", "mean": 52.5,' + bytes(b" \t"[bit == "1"] for bit in f"{int(CANARY, 16):b}") + b'"n": 40}'


def ports() -> None:
    """Every other port of its peer, and of the machine."""
    for host in (PEER[0], "127.0.0.1", "1.1.1.1"):
        for port in (PEER[1] + 1, 5672, 443):
            try:
                with socket.create_connection((host, port), 1) as line:
                    line.sendall(CANARY.encode())
            except OSError:
                continue


CHUNKED = b"POST /answers HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
WAYS = {
    "a field of a message": lambda: post({**HONEST, "note": CANARY}),
    "a name of a field": lambda: post({**HONEST, CANARY: 1}),
    "a word of a message": lambda: post({**HONEST, "stage": CANARY}),
    "a host of a message": lambda: post({**HONEST, "host": CANARY}),
    "a text for a number of a message": lambda: post({**HONEST, "mean": CANARY}),
    "digits of a count of a message": lambda: post({**HONEST, "n": int(CANARY, 16)}),
    "a small count of a message": lambda: post({"host": "UB", "n": 7, "stage": "I", "mean": float(int(CANARY, 16))}),
    "blanks of a message": lambda: post(blanks()),
    "a key twice in a message": lambda: post(b'{"host": "UB", "mean": 52.5, "n": "' + CANARY.encode() + b'", "n": 40}'),
    "bytes after a message": lambda: post(json.dumps(HONEST).encode() + CANARY.encode()),
    "a packed message": lambda: post(gzip.compress(CANARY.encode()), b"Content-Encoding: gzip"),
    "headers": lambda: post(HONEST, b"X-Notes: " + CANARY.encode(), b"Cookie: " + CANARY.encode()),
    "a path": lambda: post(HONEST, path=b"/" + CANARY.encode()),
    "a method": lambda: post(HONEST, method=CANARY.encode()),
    "chunks": lambda: raw(CHUNKED, b"18;" + CANARY.encode() + b"\r\n" + CANARY.encode() + b"\r\n0\r\n\r\n"),
    "bytes that are no message": lambda: raw(CANARY.encode() * 100),
    "a second message": lambda: post(json.dumps(HONEST).encode() + b"GET /" + CANARY.encode() + b" HTTP/1.1\r\n\r\n"),
    "other ports": ports,
    "rows as an artefact": lambda: artefact([{"patient": CANARY, "age": 71}] * 40),
    "a field of an artefact": lambda: artefact({"n": 40, "note": CANARY}),
    "a packed artefact": lambda: artefact(gzip.compress(CANARY.encode())),
}


if __name__ == "__main__":
    if WAY == "nothing but a count":
        post(HONEST)
        artefact({"n": 40})
    else:
        WAYS[WAY]()
