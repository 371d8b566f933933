"""What this job can reach. It declares no connection, so nothing at all is expected."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from findings import Check, Finding, Job, listed

SECONDS = 2.0
COMMON_PORTS = (22, 25, 53, 80, 111, 389, 443, 631, 2375, 3306, 4369, 5000, 5432, 5671, 5672, 6379, 8000, 8008, 8080)
MORE_PORTS = (8443, 8888, 9000, 9090, 9094, 10250, 11211, 15672, 25672, 27017, 50051)
INTERNET = (("192.0.2.1", 443), ("2001:db8::1", 443))
"""Addresses reserved for documentation (RFC 5737, RFC 3849): nobody is there, but a route may lead away."""

NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EPERM, errno.EACCES, errno.ENETDOWN,
                      errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # fmt: skip
LISTENING = "0A"
LOOPBACK = "lo"


def interfaces(_: Job) -> Iterator[Finding]:
    names = [name for _, name in socket.if_nameindex()]
    yield Finding("interfaces", "at most loopback", listed(names), set(names) <= {LOOPBACK})
    routes = sorted({line.split()[0] for line in _lines("route")} | {line.split()[-1] for line in _lines("ipv6_route")})
    away = [name for name in routes if name != LOOPBACK]
    yield Finding("routes", "none that leads away", listed(away), not away)


def neighbours(_: Job) -> Iterator[Finding]:
    fields = [line.split() for table in ("tcp", "tcp6") for line in _lines(table)]
    ports = sorted({int(entry[1].rpartition(":")[2], 16) for entry in fields if entry[3] == LISTENING})
    open_ports = [port for port in (*COMMON_PORTS, *MORE_PORTS) if _connect("127.0.0.1", port) is None]
    reached = sorted({*ports, *open_ports})
    yield Finding("loopback_ports", "nobody listens", listed(map(str, reached), "nobody listens"), not reached)
    abstract = [line for line in _lines("unix") if "@" in line]
    yield Finding("abstract_sockets", "none", f"{len(abstract)}" if abstract else "none", not abstract)


def internet(_: Job) -> Iterator[Finding]:
    for address, port in INTERNET:
        reason = _connect(address, port)
        text = "connected" if reason is None else errno.errorcode.get(reason, str(reason))
        yield Finding(f"internet {address}", "refused at once, as there is no route", text, reason in NO_ROUTE)


def names(_: Job) -> Iterator[Finding]:
    answers: list[str] = []
    asking = threading.Thread(target=_resolve, args=("example.org", answers), daemon=True)
    asking.start()
    asking.join(SECONDS)
    found = listed(answers, "no answer yet" if asking.is_alive() else "not resolved")
    yield Finding("dns", "no name is resolved", found, not answers)


def probes(job: Job) -> Iterator[Finding]:
    for address in job.probe_addresses:
        host, _, port = address.rpartition(":")
        try:
            reason = _connect(host.strip("[]"), int(port))
        except socket.gaierror:
            yield Finding(f"probe {address}", "not reached", "its name is not known")
            continue
        text = "connected" if reason is None else errno.errorcode.get(reason, str(reason))
        yield Finding(f"probe {address}", "not reached", text, reason is not None)


def _connect(host: str, port: int) -> int | None:
    """None if a connection was made, else the error number."""
    try:
        socket.create_connection((host, port), SECONDS).close()
    except TimeoutError:
        return errno.ETIMEDOUT
    except socket.gaierror:
        raise
    except OSError as fault:
        return fault.errno or errno.EIO
    return None


def _resolve(name: str, answers: list[str]) -> None:
    try:
        answers += {str(entry[4][0]) for entry in socket.getaddrinfo(name, 443)}
    except OSError:
        return  # not resolved, which is what is hoped for


def _lines(table: str) -> list[str]:
    path = Path("/proc/net") / table
    lines = path.read_text().splitlines() if path.exists() else []
    return lines if table == "ipv6_route" else lines[1:]


CHECKS: tuple[Check, ...] = (interfaces, neighbours, internet, names, probes)
