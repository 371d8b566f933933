"""The way to an address: name resolution, TCP and, where a proxy is set, HTTP CONNECT (RFC 9110, 9.3.6)."""

from __future__ import annotations

import base64
import errno
import ipaddress
import os
import selectors
import socket
import threading
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

RESOLVE_SECONDS = 5.0
CONNECT_SECONDS = 4.0
PROXY_SECONDS = 6.0
LONGEST_HEAD = 1 << 14
PROXY_AUTHENTICATION_REQUIRED = 407


class RouteError(Exception):
    """The one thing that is wrong with a connection: ``code`` for programs, ``detail`` for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. ``shown`` never holds its password."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


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
        except RouteError as fault:
            raise RouteError("proxy-unreachable", f"the proxy {self.proxy.shown}: {fault.detail}") from fault
        try:
            _ask_proxy(channel, self.proxy, self.host, self.port)
        except BaseException:
            channel.close()
            raise
        return channel


def proxy_for(host: str, stated: str | None) -> Proxy | None:
    """The proxy to use: the one stated, or the environment's (``HTTPS_PROXY``, less what ``NO_PROXY`` exempts).

    Raises :class:`RouteError` (``proxy-setting``) for an address that cannot be one of an HTTP proxy.
    """
    if stated is None and urllib.request.proxy_bypass(host):
        return None
    address = urllib.request.getproxies().get("https") if stated is None else stated
    return _parse_proxy(address) if address else None


def stated_proxy(address: str | None, file: Path | None) -> str | None:
    """The proxy that a host's settings state: an address without a password, or one in a file for its owner alone.

    Raises :class:`RouteError` (``proxy-setting``).
    """
    if file is None:
        if address is not None and "@" in address:
            raise RouteError(
                "proxy-setting", "'proxy' holds a user: write the address into a file (0600), name it proxy_file"
            )
        return address
    if address is not None:
        raise RouteError("proxy-setting", "give proxy or proxy_file, not both")
    try:
        if file.stat().st_mode & 0o077:
            raise RouteError("proxy-setting", f"proxy_file {file} may be read by others: chmod 600 {file}")
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else "not a text"
        raise RouteError("proxy-setting", f"proxy_file {file} cannot be read: {reason}") from fault


def _parse_proxy(address: str) -> Proxy:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        shown = f"{parts.scheme}://{parts.hostname or ''}"
        raise RouteError(
            "proxy-setting", f"the proxy setting '{shown}…' is not of the form http://[user:password@]host:port"
        )
    return Proxy(parts.hostname, port, _plain(parts, "username"), _plain(parts, "password"))


def _plain(parts: SplitResult, name: str) -> str | None:
    value = getattr(parts, name)
    return None if value is None else unquote(value)


def dial(host: str, port: int) -> socket.socket:
    """A TCP connection to the first of the host's addresses that answers; all are tried at once."""
    addresses = resolve(host, port)
    trying: dict[socket.socket, str] = {}
    failed: list[tuple[int, str]] = []
    for family, address in addresses:
        channel = socket.socket(family, socket.SOCK_STREAM)
        channel.setblocking(False)
        code = channel.connect_ex(address)
        if code in (0, errno.EINPROGRESS):
            trying[channel] = address[0]
        else:
            channel.close()
            failed.append((code, address[0]))
    return _first_to_answer(trying, failed, f"{host} port {port}")


def resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, tuple[str, int]]]:
    """All addresses of a name. Raises :class:`RouteError` ``dns``, after :data:`RESOLVE_SECONDS` at the latest."""
    answer: list[tuple[socket.AddressFamily, tuple[str, int]]] = []
    faults: list[str] = []

    def look_up() -> None:
        try:
            answer.extend((found[0], found[4]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[misc]
        except (socket.gaierror, UnicodeError) as fault:
            faults.append(_dns_reason(fault))

    # The C library's resolver cannot be interrupted; a thread that stays in it ends with the probe's process.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(RESOLVE_SECONDS)
    if not answer:
        reason = faults[0] if faults else f"no answer from the name servers within {RESOLVE_SECONDS:g} s"
        raise RouteError("dns", f"the name '{host}' cannot be resolved: {reason}")
    return answer


def _dns_reason(fault: Exception) -> str:
    code = fault.args[0] if isinstance(fault, socket.gaierror) else None
    if code in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
        return "the name servers say that it does not exist"
    if code == socket.EAI_AGAIN:
        return "no name server gives an answer"
    return str(fault)


def _first_to_answer(trying: dict[socket.socket, str], failed: list[tuple[int, str]], target: str) -> socket.socket:
    deadline = time.monotonic() + CONNECT_SECONDS
    with selectors.DefaultSelector() as selector:
        for channel in trying:
            selector.register(channel, selectors.EVENT_WRITE)
        while trying and (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                channel = key.fileobj  # type: ignore[assignment]
                selector.unregister(channel)
                address = trying.pop(channel)
                code = channel.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return _settle(channel, trying)
                channel.close()
                failed.append((code, address))
    raise _tcp_fault(trying, failed, target)


def _settle(channel: socket.socket, others: dict[socket.socket, str]) -> socket.socket:
    for other in others:
        other.close()
    channel.settimeout(CONNECT_SECONDS)
    return channel


def _tcp_fault(silent: dict[socket.socket, str], failed: list[tuple[int, str]], target: str) -> RouteError:
    """One fault for all addresses; an address family without a route matters only where nothing else was tried."""
    for channel in silent:
        channel.close()
    for code, address in failed:
        if code == errno.ECONNREFUSED:
            return RouteError("tcp-refused", f"{target} ({address}) refuses the connection")
    if silent:
        where = ", ".join(silent.values())
        return RouteError("tcp-timeout", f"{target} ({where}) does not answer within {CONNECT_SECONDS:g} s")
    code, address = failed[0]
    timed_out = code == errno.ETIMEDOUT
    return RouteError("tcp-timeout" if timed_out else "tcp-unreachable", f"{target} ({address}): {os.strerror(code)}")


def _ask_proxy(channel: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    channel.settimeout(PROXY_SECONDS)
    try:
        channel.sendall(_connect_request(proxy, host, port))
        head = _read_head(channel)
    except TimeoutError as fault:
        raise RouteError("proxy-refused", f"the proxy {proxy.shown} does not answer CONNECT {host}:{port}") from fault
    except OSError as fault:
        raise RouteError(
            "proxy-refused", f"the proxy {proxy.shown} cuts CONNECT {host}:{port}: {fault.strerror}"
        ) from fault
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


def is_address(host: str) -> bool:
    """Whether ``host`` is an IP address and no name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
