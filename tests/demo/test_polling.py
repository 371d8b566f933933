"""Ports that nobody has, and that nobody gets before the program they are for."""

from __future__ import annotations

import socket
from pathlib import Path

from fedproc.demo.polling import free_ports


def test_free_ports_are_none_that_an_outgoing_connection_may_get() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.socket() as taken:
        (port,) = free_ports(1)
        taken.bind(("127.0.0.1", port))
        found = free_ports(500)
    assert len(set(found)) == 500
    assert port not in found
    assert max(found) < first
