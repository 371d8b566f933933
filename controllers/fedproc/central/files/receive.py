"""Taking in a file's bytes from a request: in order, bounded, hashed, and nothing of what was refused."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from fedproc.central.files.blobs import Incoming
from fedproc.central.files.running_hashes import Hash
from fedproc.common.errors import FedprocError, MalformedRequestError, TooLargeError

_BLOCK = 1 << 20
IDLE_SECONDS = 30.0
"""A sender that sends nothing for so long is given up, because it holds the file's lock."""

_DIGEST_HEADER = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):")


async def stream_to(chunks: AsyncIterator[bytes], into: Incoming, most: int, of_these: Hash | None = None) -> bool:
    """Append what comes, at most ``most`` bytes; whether the request came to its end. ``of_these`` gets them as well.

    A connection that is cut keeps what has come. Whatever is refused, or does not fit on the disk, is dropped
    as a whole: raises :class:`TooLargeError`, or :class:`StorageFullError`.
    """
    start, block = into.size, bytearray()
    try:
        ended = False
        async for chunk in _until_cut(chunks):
            block += chunk
            if into.size - start + len(block) > most:
                raise TooLargeError(
                    f"more bytes came than the {most} that are still expected; nothing of them was kept"
                )
            if len(block) >= _BLOCK:
                await _store(into, block, of_these)
            ended = not chunk
        await _store(into, block, of_these)
    except FedprocError:
        await run_in_threadpool(into.cut, start)
        raise
    return ended


async def _store(into: Incoming, block: bytearray, of_these: Hash | None) -> None:
    if block:
        data = bytes(block)
        block.clear()
        await run_in_threadpool(_append, into, data, of_these)


def _append(into: Incoming, data: bytes, of_these: Hash | None) -> None:
    into.append(data)
    if of_these is not None:
        of_these.update(data)


async def _until_cut(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The chunks; the last one is empty exactly if the sender came to its end."""
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                chunk = await anext(chunks)
        except (TimeoutError, ClientDisconnect, StopAsyncIteration):
            return
        yield chunk


def sha256_of_headers(*headers: str | None) -> str | None:
    """The sha256, as hex, in the first ``Repr-Digest`` or ``Content-Digest`` (RFC 9530) that holds one."""
    for header in headers:
        if header is not None and (match := _DIGEST_HEADER.search(header)):
            return _hex(match[1], "digest header")
    return None


def sha256_of_checksum(header: str) -> str:
    """The sha256, as hex, of tus' ``Upload-Checksum``.

    Raises :class:`MalformedRequestError` for others.
    """
    algorithm, _, value = header.partition(" ")
    if algorithm != "sha256":
        raise MalformedRequestError("Upload-Checksum: this server checks sha256 only")
    return _hex(value, "Upload-Checksum")


def _hex(text: str, where: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRequestError(f"{where}: not base64") from error
    if len(raw) != 32:
        raise MalformedRequestError(f"{where}: a sha256 has 32 bytes, this has {len(raw)}")
    return raw.hex()
