"""Unix sockets whose folder is deeper than what the kernel takes as an address."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from fedproc.central.notify import SocketNotifier
from fedproc.common.sockets import unix_address
from fedproc.site.status.control import ControlSocket


@pytest.fixture
def deep(tmp_path: Path) -> Path:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    return folder


def test_a_socket_is_bound_and_found_in_a_deep_folder(deep: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as by:
        with unix_address(deep / "a.sock") as address:
            to.bind(address)
        assert (deep / "a.sock").is_socket()
        with unix_address(deep / "a.sock") as address:
            by.sendto(b"news", address)
        assert to.recv(16) == b"news"


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), unix_address(tmp_path / "nowhere" / "a.sock"):
        pass


async def test_central_programs_of_a_deep_folder_wake_each_other(deep: Path) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listening = asyncio.create_task(SocketNotifier(deep).listen(heard.put_nowait))
    try:
        async with asyncio.timeout(20):
            assert [await heard.get() for _ in range(3)] == ["outbox", "events", "hosts"]
            SocketNotifier(deep).publish("events")
            assert await heard.get() == "events"
    finally:
        listening.cancel()


async def test_a_sites_operator_asks_in_a_deep_folder(deep: Path) -> None:
    serving = asyncio.create_task(ControlSocket(deep / "site.sock", []).run())
    try:
        async with asyncio.timeout(20):
            while not (deep / "site.sock").is_socket():
                await asyncio.sleep(0.01)
        with unix_address(deep / "site.sock") as address:
            reader, writer = await asyncio.open_unix_connection(address)
        writer.write(b"GET /nothing HTTP/1.1\r\nHost: site\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 404")
        writer.close()
    finally:
        serving.cancel()
