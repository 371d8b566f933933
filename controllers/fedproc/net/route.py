"""The route to an address: TCP and, where a proxy is set, HTTP CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass

from fedproc.net.errors import RouteError
from fedproc.net.proxy import Proxy
from fedproc.net.tcp import dial

PROXY_SECONDS = 6.0
LONGEST_HEAD = 1 << 14
PROXY_AUTHENTICATION_REQUIRED = 407


@dataclass(frozen=True)
class Route:
    """To ``host:port``, through ``proxy`` if there is one. Each call of ``open`` is a new connection."""

    host: str
    port: int
    proxy: Proxy | None = None

    def open(self) -> socket.socket:
        """Raises :class:`RouteError` with codes ``dns``, ``tcp-…`` or ``proxy-…``."""
        if self.proxy is None:
            return dial(self.host, self.port)
        try:
            channel = dial(self.proxy.host, self.proxy.port)
        except RouteError as error:
            raise RouteError("proxy-unreachable", f"the proxy {self.proxy.shown}: {error.detail}") from error
        try:
            _ask_proxy(channel, self.proxy, self.host, self.port)
        except BaseException:
            channel.close()
            raise
        return channel


def _ask_proxy(channel: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    channel.settimeout(PROXY_SECONDS)
    try:
        channel.sendall(_connect_request(proxy, host, port))
        head = _read_head(channel)
    except TimeoutError as error:
        raise RouteError("proxy-refused", f"the proxy {proxy.shown} does not answer CONNECT {host}:{port}") from error
    except OSError as error:
        raise RouteError(
            "proxy-refused", f"the proxy {proxy.shown} cuts CONNECT {host}:{port}: {error.strerror}"
        ) from error
    _check_reply(head, proxy, f"{host}:{port}")


def _connect_request(proxy: Proxy, host: str, port: int) -> bytes:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.user is not None:
        pair = base64.b64encode(f"{proxy.user}:{proxy.password or ''}".encode()).decode()
        lines.append(f"Proxy-Authorization: Basic {pair}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _read_head(channel: socket.socket) -> list[str]:
    """Lines of the response's head, byte by byte: what follows belongs to TLS."""
    head = b""
    while not head.endswith(b"\r\n\r\n") and len(head) < LONGEST_HEAD:
        piece = channel.recv(1)
        if not piece:
            break
        head += piece
    return head.decode("latin-1").split("\r\n")


def _check_reply(head: list[str], proxy: Proxy, target: str) -> None:
    protocol, _, status = head[0].partition(" ")
    if not protocol.startswith("HTTP/") or not status[:3].isdigit():
        raise RouteError("proxy-refused", f"{proxy.shown} does not answer as an HTTP proxy does")
    code = int(status[:3])
    if code == PROXY_AUTHENTICATION_REQUIRED:
        schemes = [h.split(":", 1)[1].split()[0] for h in head if h.lower().startswith("proxy-authenticate: ")]
        given = "the user and password given are not accepted" if proxy.user else "none were given"
        wants = ", ".join(schemes) or "not stated"
        raise RouteError("proxy-auth", f"the proxy {proxy.shown} wants a user and password ({wants}); {given}")
    if not 200 <= code < 300:
        shown = "".join(c for c in status if c.isprintable())[:120]
        raise RouteError("proxy-refused", f"the proxy {proxy.shown} refuses CONNECT {target}: {shown}")
