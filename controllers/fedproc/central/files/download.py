"""Answers that carry the bytes of files: one file with Range (RFC 9110 section 14), or several as a zip."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from fedproc.central.files.blobs import Blobs
from fedproc.common.errors import NotFoundError, RangeError

_CHUNK = 256 << 10
_RANGE = re.compile(r"^bytes=(\d{1,18})?-(\d{1,18})?$")
_SAFE = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, no-store"}


def saved_as(row: Row[Any]) -> str:
    """Its path; of one that is encrypted to its user with the suffix by which Crypt4GH's tools know it."""
    return f"{row.path}.c4gh" if row.plain_sha256 else str(row.path)


def disposition(path: str) -> str:
    """``Content-Disposition`` for a file of that path (RFC 6266): always saved, never shown."""
    return f"attachment; filename*=UTF-8''{quote(path.rpartition('/')[2], safe='')}"


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a single range; None for the whole file.

    Several ranges, and what is no byte range, are ignored, as RFC 9110 allows. Raises :class:`RangeError` for a
    range that begins behind the end.
    """
    match = _RANGE.match(header or "")
    if match is None or not (match[1] or match[2]):
        return None
    first = int(match[1]) if match[1] else max(0, size - int(match[2]))
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if match[1] and match[2] and int(match[2]) < first:
        return None
    if first >= size:
        raise RangeError(
            f"the file has {size} bytes; the range begins behind its end",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last


class FileDownload(Response):
    """The bytes of one complete file, or the range of them that was asked for."""

    def __init__(self, blobs: Blobs, row: Row[Any], headers: Mapping[str, str]) -> None:
        self._path = blobs.path(row.id)
        tag = f'"{row.sha256}"'
        condition = headers.get("if-range")
        self._range = requested_range(headers.get("range"), row.size) if condition in {None, tag} else None
        first, last = self._range or (0, row.size - 1)
        self._first, self._length = first, last - first + 1
        own = {
            **_SAFE,
            "Accept-Ranges": "bytes",
            "ETag": tag,
            "Repr-Digest": _digest(row.sha256),
            "Content-Disposition": disposition(saved_as(row)),
            "Content-Length": str(self._length),
        }
        if self._range:
            own["Content-Range"] = f"bytes {first}-{last}/{row.size}"
        super().__init__(None, 206 if self._range else 200, own, row.media_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = await run_in_threadpool(_open, self._path)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await run_in_threadpool(source.seek, self._first)
            rest = self._length
            while rest > 0:
                chunk = await run_in_threadpool(source.read, min(_CHUNK, rest))
                if not chunk:
                    raise OSError(f"{self._path} is shorter than its entry says")
                rest -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            source.close()


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise NotFoundError("the bytes of this file are no longer in the file store; tell the operator") from error


def _digest(sha256: str) -> str:
    """``Repr-Digest`` (RFC 9530)."""
    import base64

    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


class _Sink:
    """What a zip is written to: gives back what has come since the last look."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def drain(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zipped(blobs: Blobs, rows: list[Row[Any]], name: str) -> StreamingResponse:
    """All of the files as one zip, made while it is sent."""
    headers = {**_SAFE, "Content-Disposition": disposition(name)}
    return StreamingResponse(_zip(blobs, rows), headers=headers, media_type="application/zip")


def _zip(blobs: Blobs, rows: list[Row[Any]]) -> Iterator[bytes]:
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # type: ignore[call-overload]
        for row in rows:
            moment = datetime.fromtimestamp(row.created, UTC)
            entry = zipfile.ZipInfo(f"{row.output}/{saved_as(row)}", moment.timetuple()[:6])
            with archive.open(entry, "w", force_zip64=True) as target, _open(blobs.path(row.id)) as source:
                while chunk := source.read(_CHUNK):
                    target.write(chunk)
                    yield sink.drain()
    yield sink.drain()
