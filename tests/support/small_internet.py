"""A little internet in network and mount namespaces of its own: name server, centre, proxies, and every fault.

The host check's ``conftest.py`` starts it under ``unshare --net --mount`` with a folder that holds its certificates
and, after the start, ``resolv.conf`` (bind-mounted, so that a test may rewrite it). It lives until its standard input
ends; then all of it is gone with it. Everything listens on addresses of its own loopback device.
"""

from __future__ import annotations

import json
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import partial
from pathlib import Path

from tests.support.certificates import Authority

NAMES = {
    "refused": "192.0.2.11",
    "plain": "192.0.2.12",
    "mute": "192.0.2.13",
    "cut": "192.0.2.14",
    "broker": "192.0.2.15",
    "inspected": "192.0.2.20",
    "proxy": "192.0.2.30",
    "silent": "198.51.100.66",
    "unroutable": "203.0.113.1",
}
CENTRE, NAME_SERVER = "192.0.2.10", "192.0.2.53"
AMQP_START = struct.pack(">BHIHHBB", 1, 0, 6, 10, 10, 0, 9) + b"\0\0\xce"


def main(folder: Path) -> None:
    lay_out_network(folder)
    centre, inspector = Authority.load(folder / "centre"), Authority.load(folder / "inspector")
    shown = json.dumps({"certificate": (folder / "centre.pem").read_text(), "sha256": centre.sha256})
    serve(CENTRE, 443, tls_site(centre_contexts(folder, centre), partial(web, authority=shown)))
    serve(NAMES["broker"], 5671, tls_site({None: server_context(folder, centre, "broker.centre.test")}, broker))
    serve(NAMES["inspected"], 443, minting_site(folder, inspector))
    serve(
        NAMES["plain"], 443, lambda channel: channel.recv(16) and channel.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    )
    serve(NAMES["mute"], 443, lambda channel: channel.recv(1 << 16) and channel.recv(1))
    serve(NAMES["cut"], 443, reset)
    for port, proxy in ((3128, forwarding), (3129, authenticating), (3130, refusing), (3132, babbling)):
        serve(NAMES["proxy"], port, proxy)
    serve(NAMES["proxy"], 3131, inspecting(minting_site(folder, inspector)))
    fixed = server_context(folder, inspector, "api.centre.test")
    serve(NAMES["proxy"], 3133, inspecting(tls_site({None: fixed}, web)))
    threading.Thread(target=name_server, daemon=True).start()
    print("ready", flush=True)
    sys.stdin.read()


def lay_out_network(folder: Path) -> None:
    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True)

    ip("link", "set", "lo", "up")
    for address in {CENTRE, NAME_SERVER, *NAMES.values()}:
        if address.startswith("192.0.2."):
            ip("address", "add", f"{address}/32", "dev", "lo")
    # A neighbour that is said to exist and swallows every packet: connections to it time out.
    ip("link", "add", "swallow0", "type", "veth", "peer", "name", "swallow1")
    ip("link", "set", "swallow0", "up")
    ip("link", "set", "swallow1", "up")
    ip("address", "add", "198.51.100.1/24", "dev", "swallow0")
    ip("neighbour", "add", NAMES["silent"], "lladdr", "02:00:00:00:00:66", "dev", "swallow0")
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {NAME_SERVER}\n")
    subprocess.run(["mount", "--bind", str(resolv), "/etc/resolv.conf"], check=True)


def serve(address: str, port: int, handle: Callable[[socket.socket], object]) -> None:
    listener = socket.create_server((address, port))

    def accept() -> None:
        while True:
            channel, _ = listener.accept()
            threading.Thread(target=attend, args=(handle, channel), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def attend(handle: Callable[[socket.socket], object], channel: socket.socket) -> None:
    channel.settimeout(30)
    try:
        handle(channel)
    except OSError:
        pass  # the client left, as clients that distrust a certificate do
    finally:
        channel.close()


def server_context(folder: Path, authority: Authority, name: str, **other: object) -> ssl.SSLContext:
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".pem") as both:
        both.write(authority.issue(name, **other))
        both.flush()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both.name)
    return context


def centre_contexts(folder: Path, centre: Authority) -> dict[str | None, ssl.SSLContext]:
    year = 365
    special = {
        "expired.centre.test": server_context(folder, centre, "expired.centre.test", start=-2 * year, end=-1),
        "future.centre.test": server_context(folder, centre, "future.centre.test", start=10, end=year),
        "years.centre.test": server_context(folder, centre, "years.centre.test", start=2 * year, end=4 * year),
        "othername.centre.test": server_context(folder, centre, "portal.hospital.test"),
    }
    return {None: server_context(folder, centre, "*.centre.test"), **special}


def tls_site(
    contexts: dict[str | None, ssl.SSLContext], speak: Callable[[socket.socket, str], None]
) -> Callable[[socket.socket], None]:
    def handle(channel: socket.socket) -> None:
        asked: list[str] = []

        def choose(secured: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            asked.append(name or "")
            secured.context = contexts.get(name, contexts[None])

        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.sni_callback = choose
        with outer.wrap_socket(channel, server_side=True) as secured:
            speak(secured, asked[0] if asked else "")

    return handle


def minting_site(folder: Path, inspector: Authority) -> Callable[[socket.socket], None]:
    """What an inspecting device does: a certificate of its own for whatever name is asked."""

    def handle(channel: socket.socket) -> None:
        def choose(secured: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            secured.context = server_context(folder, inspector, name or "unknown.test")

        outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        outer.sni_callback = choose
        with outer.wrap_socket(channel, server_side=True) as secured:
            web(secured, "")

    return handle


def web(channel: socket.socket, name: str, authority: str = "{}") -> None:
    """``/authority`` shows who certifies.

    ``skew45.centre.test`` lives 45 s in the future, ``skew-90`` 90 s in the past, ``years`` more than two years.
    """
    head = b""
    while b"\r\n\r\n" not in head:
        piece = channel.recv(4096)
        if not piece:
            return
        head += piece
    label = name.split(".", maxsplit=1)[0]
    shift = (
        1000 * 86400 if label == "years" else int(label.removeprefix("skew") or 0) if label.startswith("skew") else 0
    )
    date = formatdate(time.time() + shift, usegmt=True)
    body = authority if head.startswith(b"GET /authority ") else "{}"
    head = f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
    channel.sendall(head + body.encode())


def broker(channel: socket.socket, name: str) -> None:
    if channel.recv(8) == b"AMQP\x00\x00\x09\x01":
        channel.sendall(AMQP_START)
        channel.recv(1)


def reset(channel: socket.socket) -> None:
    channel.recv(16)
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def read_connect(channel: socket.socket) -> tuple[str, int, str]:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += channel.recv(1)
    host, _, port = head.split()[1].decode().rpartition(":")
    return host, int(port), head.decode()


def forwarding(channel: socket.socket) -> None:
    host, port, _ = read_connect(channel)
    if not host.endswith(".centre.test"):
        channel.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        return
    with socket.create_connection((NAMES.get(host.split(".")[0], CENTRE), port)) as far:
        channel.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=copy_stream, args=(far, channel), daemon=True)
        back.start()
        copy_stream(channel, far)
        back.join(15)


def copy_stream(source: socket.socket, sink: socket.socket) -> None:
    while piece := source.recv(1 << 16):
        sink.sendall(piece)
    sink.shutdown(socket.SHUT_WR)


def authenticating(channel: socket.socket) -> None:
    _, _, head = read_connect(channel)
    if "Proxy-Authorization: Basic b3RoZXI6cGFzcw==" in head:  # other:pass
        channel.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        tls_site(CONTEXTS, web)(channel)
    else:
        channel.sendall(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')


def refusing(channel: socket.socket) -> None:
    read_connect(channel)
    channel.sendall(b"HTTP/1.1 403 Forbidden by policy\x1b[2J\r\n\r\n")


def babbling(channel: socket.socket) -> None:
    read_connect(channel)
    channel.sendall(b"220 mail.hospital.test ESMTP\r\n\r\n")


def inspecting(answer_tls: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    def handle(channel: socket.socket) -> None:
        read_connect(channel)
        channel.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        answer_tls(channel)

    return handle


def name_server() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((NAME_SERVER, 53))
        while True:
            question, client = server.recvfrom(512)
            server.sendto(answer(question), client)


def answer(question: bytes) -> bytes:
    """A for names below centre.test, no data for AAAA, NXDOMAIN for all else (RFC 1035)."""
    labels, at = [], 12
    while length := question[at]:
        labels.append(question[at + 1 : at + 1 + length].decode())
        at += 1 + length
    kind = struct.unpack_from(">H", question, at + 1)[0]
    known = ".".join(labels[1:]).lower() == "centre.test" and labels[0] != "nowhere"
    records = b""
    if known and kind == 1:
        address = socket.inet_aton(NAMES.get(labels[0].lower(), CENTRE))
        records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 1, 4) + address
    flags = 0x8580 if known else 0x8583
    return question[:2] + struct.pack(">HHHHH", flags, 1, bool(records), 0, 0) + question[12 : at + 5] + records


CONTEXTS: dict[str | None, ssl.SSLContext] = {}

if __name__ == "__main__":
    where = Path(sys.argv[1])
    CONTEXTS.update({None: server_context(where, Authority.load(where / "centre"), "*.centre.test")})
    main(where)
