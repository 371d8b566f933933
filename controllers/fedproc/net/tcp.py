"""TCP to a name: its addresses by DNS, all of them tried at once."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
import time

from fedproc.net.errors import RouteError

RESOLVE_SECONDS = 5.0
CONNECT_SECONDS = 4.0


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
    errors: list[str] = []

    def look_up() -> None:
        try:
            answer.extend((found[0], found[4]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))  # type: ignore[misc]
        except (socket.gaierror, UnicodeError) as error:
            errors.append(_dns_reason(error))

    # The C library's resolver cannot be interrupted; a thread that stays in it ends with the probe's process.
    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(RESOLVE_SECONDS)
    if not answer:
        reason = errors[0] if errors else f"no answer from the name servers within {RESOLVE_SECONDS:g} s"
        raise RouteError("dns", f"the name '{host}' cannot be resolved: {reason}")
    return answer


def _dns_reason(error: Exception) -> str:
    code = error.args[0] if isinstance(error, socket.gaierror) else None
    if code in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", None)):
        return "the name servers say that it does not exist"
    if code == socket.EAI_AGAIN:
        return "no name server gives an answer"
    return str(error)


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
    raise _tcp_error(trying, failed, target)


def _settle(channel: socket.socket, others: dict[socket.socket, str]) -> socket.socket:
    for other in others:
        other.close()
    channel.settimeout(CONNECT_SECONDS)
    return channel


def _tcp_error(silent: dict[socket.socket, str], failed: list[tuple[int, str]], target: str) -> RouteError:
    """One error for all addresses; an address family without a route matters only where nothing else was tried."""
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
