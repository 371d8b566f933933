"""Connections that stay open for days: the system notices when the other end is gone."""

from __future__ import annotations

import asyncio
import socket

KEEPALIVE_OPTIONS = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Socket options by which a silent connection is kept open, every 30 s, and a dead one noticed."""


def set_keepalive(writer: asyncio.StreamWriter) -> None:
    """Have the system ask every 30 s whether the other end is still there."""
    channel = writer.get_extra_info("socket")
    for option in KEEPALIVE_OPTIONS:
        channel.setsockopt(*option)
