"""Sockets: unix sockets in folders of any depth, and connections whose dead end the system notices."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """The address of a unix socket, to bind, connect or send to within the block.

    The kernel takes 107 bytes of an address; the folder, which may be deeper, is named by a descriptor.
    Raises :class:`OSError` where the folder is not there.
    """
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
