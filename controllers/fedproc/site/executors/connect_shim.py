"""Runs inside a job's namespace, before its command: the job's end of its declared connections.

``python3 connect.py '{"forwards": [[ip, port, socket]], "ports": [[port, socket]]}' -- COMMAND…``

A forward listens where the tool expects its peer and carries the bytes to a unix socket of the orchestrator. A
port is the mirror: once the tool listens on it, a unix socket appears that leads to it. Standard library only,
one file, so that it can be shown read-only to any sandbox or container.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

CHUNK = 1 << 16
POLL_SECONDS = 0.02
LISTEN = "0A"
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one way; the end of one side is passed on to the other."""
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.write_eof()


async def carry(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: tuple[asyncio.StreamReader, asyncio.StreamWriter]
) -> None:
    """Copy both ways until both have ended."""
    try:
        await asyncio.gather(pump(reader, far[1]), pump(far[0], writer))
    finally:
        writer.close()
        far[1].close()


async def forward(ip: str, port: int, path: str) -> None:
    """Listen at ip:port and carry every connection to the unix socket."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_unix_connection(path)
        except OSError as error:
            print(f"connection {path}: {error.strerror}", file=sys.stderr)
            writer.transport.abort()
            return
        await carry(reader, writer, far)

    await asyncio.start_server(connected, ip, port, backlog=128)


def listens(port: int) -> bool:
    """Whether something in this network namespace listens on the TCP port."""
    ending = f":{port:04X}"
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[1].endswith(ending) and fields[3] == LISTEN:
                    return True
    return False


async def mirror(port: int, path: str) -> None:
    """Open the unix socket once the tool listens; the kernel tells of no such event, so it is looked for."""
    while not listens(port):
        await asyncio.sleep(POLL_SECONDS)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for ip in ("127.0.0.1", "::1"):
            with contextlib.suppress(OSError):
                await carry(reader, writer, await asyncio.open_connection(ip, port))
                return
        writer.transport.abort()

    making = f"{path}.part"  # who sees the socket may connect at once
    await asyncio.start_unix_server(connected, making, backlog=128)
    os.rename(making, path)  # noqa: PTH104
    await asyncio.get_running_loop().create_future()


async def run(declared: dict[str, list[list[object]]], command: list[str]) -> int:
    """Open the connections, run the command, and return its exit code as a shell would."""
    for ip, port, path in declared["forwards"]:
        await forward(str(ip), int(str(port)), str(path))
    mirrors = [asyncio.create_task(mirror(int(str(port)), str(path))) for port, path in declared["ports"]]
    for task in mirrors:
        task.add_done_callback(tell_failure)
    process = await asyncio.create_subprocess_exec(*command)
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, pass_on, process, number)
    code = await process.wait()
    for task in mirrors:
        task.cancel()
    return code if code >= 0 else 128 - code


def tell_failure(task: asyncio.Task[None]) -> None:
    """A port that cannot be opened is told in the job's own log, where its user looks for why it was not ready."""
    if not task.cancelled() and (error := task.exception()) is not None:
        sys.stderr.write(f"fedproc: a declared port cannot be reached from outside: {error}\n")


def pass_on(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Give a signal to the command, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


if __name__ == "__main__":
    marker = sys.argv.index("--")
    code_ = asyncio.run(run(json.loads(sys.argv[1]), sys.argv[marker + 1 :]))
    sys.stdout.flush()
    os._exit(code_)
