"""Files between this host and the centre's API, by HTTPS: uploads by tus 1.0.0, downloads by Range.

An API that does not answer is waited for, with growing pauses; the job's deadlines end the waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
from pydantic import TypeAdapter, ValidationError

from fedproc.common.errors import SystemFaultError, UnavailableError
from fedproc.common.files import partial_of, sha256_of
from fedproc.common.http import TRANSIENT, BearerAuth, is_problem, text_of
from fedproc.common.log import get_logger
from fedproc.common.retry import persistently
from fedproc.common.validation import lines_of
from fedproc.contract.api.files import Access, FileView, NewUpload
from fedproc.contract.api.grants import JobGrants
from fedproc.contract.api.hosts import OpenJobsAnswer, OpenJobsReport
from fedproc.contract.api.tools import ToolSummary
from fedproc.contract.tool.tool import ToolRef
from fedproc.contract.wire.artefacts import decrypt_file
from fedproc.contract.wire.logs import WitnessExchange
from fedproc.contract.wire.messages import FileRef
from fedproc.site.centre.identity import Identity

log = get_logger(__name__)
T = TypeVar("T")
OnWait = Callable[[str | None], None]

_CHUNK = 32 << 20
"""bytes of one request"""
_PIECE = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 30.0
_PASSING = (UnavailableError, httpx.HTTPError)


class TransferError(SystemFaultError):
    """The API refused a file for good."""

    code = "transfer"


class UploadObserver(Protocol):
    """Is awaited around each upload: what it raises keeps the bytes here."""

    async def begins(self, new: NewUpload, on_wait: OnWait) -> None:
        """No byte of it has gone."""
        ...

    async def ended(self, new: NewUpload, file: str, on_wait: OnWait) -> None:
        """The centre has all of it, as ``file``."""
        ...


class Transfer:
    """This host's side of the API. ``observer`` is set by whoever watches what leaves."""

    def __init__(self, api_url: str, identity: Identity, http: httpx.AsyncClient) -> None:
        self._api = api_url.rstrip("/")
        self._identity = identity
        self._auth = BearerAuth(identity.token)
        self._http = http
        self.observer: UploadObserver | None = None

    async def upload(self, new: NewUpload, source: Path, on_wait: OnWait) -> str:
        """Send one output and return its file id; goes on where an earlier attempt was cut."""
        if self.observer is not None:
            await self.observer.begins(new, on_wait)

        arrived = 0

        async def attempt() -> str:
            nonlocal arrived
            answer = await self._send("POST", "/uploads", json=new.model_dump(mode="json", exclude_none=True))
            entry = _read(FileView, answer)
            if entry.state != "complete":
                async for arrived in self._send_bytes(entry, source):  # noqa: B007
                    pass
            return entry.id

        file = await self._persist(attempt, on_wait, lambda: arrived)
        if self.observer is not None:
            await self.observer.ended(new, file, on_wait)
        return file

    async def fetch(self, ref: FileRef, target: Path, on_wait: OnWait) -> None:
        """Fetch an input through ``/access/``, check its sha256, decrypt it if it is meant for this host alone."""
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = partial_of(target)

        async def attempt() -> None:
            answer = await self._send("GET", f"/data/file/{ref.file}/access/")
            await self._download(_read(Access, answer).uri, partial, ref)

        await self._persist(attempt, on_wait, lambda: _size(partial))
        await asyncio.to_thread(self._finish, ref, partial, target)

    async def tools(self, on_wait: OnWait) -> list[ToolSummary]:
        """The newest approved version of every tool."""
        answer = await self._persist(partial(self._send, "GET", "/tools"), on_wait)
        return _read(list[ToolSummary], answer)

    async def manifest(self, tool: ToolRef, on_wait: OnWait) -> str:
        """The signed manifest of one tool version."""
        path = f"/tools/{tool.id}/manifest"
        answer = await self._persist(partial(self._send, "GET", path, params={"digest": tool.digest}), on_wait)
        return answer.text

    async def bundle(self, tool: ToolRef, on_wait: OnWait) -> bytes:
        """The packed source of one tool version."""
        path = f"/tools/{tool.id}/bundle"
        answer = await self._persist(partial(self._send, "GET", path, params={"digest": tool.digest}), on_wait)
        return answer.content

    async def report_open_jobs(self, host: str, report: OpenJobsReport) -> OpenJobsAnswer:
        """Report all open jobs to the centre; returns what to do with each. Raises :class:`UnavailableError`."""
        answer = await self._send("POST", f"/hosts/{host}/inventory", json=report.model_dump(mode="json"))
        return _read(OpenJobsAnswer, answer)

    async def exchange_witness(self, host: str, since: int) -> WitnessExchange:
        """The centre's transparency log from ``since`` entries on, and what it has of this host's.

        Raises :class:`UnavailableError`, and :class:`TransferError` where the centre knows of no such thing.
        """
        return _read(WitnessExchange, await self._send("GET", f"/hosts/{host}/witness", params={"since": since}))

    async def grants(self, host: str, job: str) -> JobGrants:
        """What providers say now of the job's datasets. Raises :class:`UnavailableError`, :class:`TransferError`."""
        return _read(JobGrants, await self._send("POST", f"/hosts/{host}/jobs/{job}/grants"))

    async def _send_bytes(self, entry: FileView, source: Path) -> AsyncIterator[int]:
        """Says each time how many bytes the API has."""
        url = entry.upload or f"{self._api}/uploads/{entry.id}"
        head = await self._send("HEAD", url, headers=_TUS)
        offset = _offset(head)
        size = await asyncio.to_thread(_size, source)
        yield offset
        while offset < size:
            part = _Part(source, offset, min(_CHUNK, size - offset))
            headers = {
                **_TUS,
                "Upload-Offset": str(offset),
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(part.size),
            }
            answer = await self._send("PATCH", url, headers=headers, content=part)
            if _offset(answer) <= offset:
                raise TransferError(f"the API takes bytes of {url} and says that it has no more than before")
            offset = _offset(answer)
            yield offset

    async def _download(self, uri: str, partial: Path, ref: FileRef) -> None:
        have = await asyncio.to_thread(_size, partial)
        headers = {"Range": f"bytes={have}-"} if have else {}
        async with self._http.stream("GET", self._absolute(uri), headers=headers) as answer:
            if answer.status_code == 416:
                await asyncio.to_thread(partial.unlink)
                raise UnavailableError("the partial download does not fit the file; it is fetched again")
            await _check(answer)
            mode = "ab" if answer.status_code == 206 else "wb"
            with partial.open(mode) as target:
                async for chunk in answer.aiter_bytes():
                    if target.tell() + len(chunk) > ref.size:
                        raise TransferError(f"more came of file {ref.file} than the {ref.size} bytes that it has")
                    target.write(chunk)

    def _finish(self, ref: FileRef, partial: Path, target: Path) -> None:
        digest = sha256_of(partial)
        if digest != ref.sha256:
            partial.unlink()
            raise TransferError(f"file {ref.file} came with sha256 {digest}, not {ref.sha256}; run it again")
        if ref.encrypted_for is None:
            partial.rename(target)
            return
        plain = target.with_name(target.name + ".plain")
        try:
            decrypt_file(partial, plain, self._identity.key)
            plain.rename(target)
        finally:
            plain.unlink(missing_ok=True)
        partial.unlink()

    def _absolute(self, url: str) -> str:
        return url if url.startswith("http") else self._api + url

    async def _send(self, method: str, url: str, **arguments: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, self._absolute(url), auth=self._auth, **arguments)
        except httpx.HTTPError as error:
            raise UnavailableError(f"the API does not answer: {text_of(error)}") from error
        except (httpx.InvalidURL, ValueError) as error:
            raise TransferError(f"the API gave an address that is none: {error}") from error
        if answer.status_code == 401:
            raise UnavailableError("the API does not take this host's token, nor a fresh one")
        await _check(answer)
        return answer

    async def _persist(
        self, attempt: Callable[[], Awaitable[T]], on_wait: OnWait, progress: Callable[[], int] = lambda: 0
    ) -> T:
        def waits(error: BaseException, pause: float) -> None:
            log.warning("transfer.waiting", reason=text_of(error), pause_seconds=round(pause, 1))
            on_wait(f"the centre's API: {text_of(error)}")

        persist = persistently(_PASSING, first=_FIRST_PAUSE, longest=_LONGEST_PAUSE, waiting=waits, progress=progress)
        result: T = await persist(attempt)
        on_wait(None)
        return result


class _Part:
    """A part of a file as the body of a request, read while it is sent, and once more if it is sent once more.

    As bytes it would stay in memory for long: of httpx' requests and answers some dozens wait for the collector.
    """

    def __init__(self, source: Path, offset: int, size: int) -> None:
        self._source = source
        self._offset = offset
        self.size = size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.size
        with self._source.open("rb") as content:
            content.seek(self._offset)
            while left and (piece := await asyncio.to_thread(content.read, min(_PIECE, left))):
                left -= len(piece)
                yield piece


async def _check(answer: httpx.Response) -> None:
    if answer.status_code < 400:
        return
    text = (await answer.aread()).decode(errors="replace")[:500]
    if answer.status_code == 413 and not is_problem(answer):
        size = answer.request.headers.get("Content-Length", "its")
        text = f"something before the API lets no body of {size} bytes through; have the gateway or the proxy take any"
    refusal = f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {text}"
    if answer.status_code in TRANSIENT:
        raise UnavailableError(refusal)
    raise TransferError(f"the API refused {refusal}")


def _read(kind: type[T], answer: httpx.Response) -> T:
    try:
        return TypeAdapter(kind).validate_json(answer.content)
    except ValidationError as error:
        raise TransferError(f"the API's answer is not as it should be: {lines_of(error)[0]}") from error


def _offset(answer: httpx.Response) -> int:
    try:
        offset = int(answer.headers["Upload-Offset"])
    except (KeyError, ValueError):
        offset = -1
    if offset < 0:
        raise TransferError("the API does not say how much of an upload it has")
    return offset


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
