"""Files through the central API: entries, uploads by tus 1.0.0, downloads that go on where they were cut."""

from __future__ import annotations

from mimetypes import guess_type
from pathlib import Path

import httpx

from fedproc.client.transport import ApiError, Transport, at, not_ours, parsed
from fedproc.common.errors import FedprocError, UnavailableError
from fedproc.common.files import partial_of, sha256_of
from fedproc.common.http import problem_of
from fedproc.contract.api.files import FileView, NewFile

_CHUNK = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}


class FileCalls(Transport):
    """Calls that carry the bytes of files."""

    def files(self) -> list[str]:
        """URIs of the user's files."""
        return parsed(list[str], self._send("GET", "/data/files/"))

    def file(self, file: str) -> FileView:
        return self._one(FileView, "GET", at("data", "file", file))

    def delete_file(self, file: str) -> None:
        """A file of one's own that belongs to no experiment."""
        self._send("DELETE", at("uploads", file), headers=_TUS)

    def put_file(self, path: str, source: Path, media_type: str = "application/octet-stream") -> FileView:
        """Make an entry and send the bytes by tus."""
        new = NewFile(size=source.stat().st_size, sha256=sha256_of(source), media_type=media_type)
        entry = self._one(FileView, "PUT", at("data", "file", *path.split("/")), json=new.model_dump(mode="json"))
        if entry.upload is not None:
            self._send_bytes(self._here(entry.upload, entry), source)
        return self.file(entry.id)

    def _send_bytes(self, url: str, source: Path) -> None:
        offset = _offset(self._send("HEAD", url, headers=_TUS))
        with source.open("rb") as content:
            content.seek(offset)
            while chunk := content.read(_CHUNK):
                headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
                offset = _offset(self._send("PATCH", url, headers=headers, content=chunk))

    def fetch(self, entry: FileView, target: Path) -> Path:
        """Fetch a file to ``target``, going on where an earlier attempt was cut; its sha256 is checked.

        Raises :class:`FedprocError` if another file is there already, or if what came is not what was promised.
        """
        if target.exists():
            if sha256_of(target) == entry.sha256:
                return target
            raise FedprocError(f"{target} is there already with other content: move it away, or choose another folder")
        partial = partial_of(target)
        partial.parent.mkdir(parents=True, exist_ok=True)
        if not _is_whole(partial, entry):
            self._complete(partial, entry)
        partial.rename(target)
        return target

    def _complete(self, partial: Path, entry: FileView) -> None:
        try:
            self._download(self._here(entry.content or "", entry), partial, entry.size)
        except httpx.RequestError as error:
            raise UnavailableError(
                f"{entry.path} was cut off ({error}): fetch it again, it goes on from there"
            ) from error
        if not _is_whole(partial, entry):
            partial.unlink()
            raise FedprocError(f"{entry.path} came damaged (its sha256 is not the promised one): fetch it again")

    def _download(self, url: str, partial: Path, size: int | None) -> None:
        have = partial.stat().st_size if partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have and (size is None or have < size) else {}
        if url.startswith(self.url):
            headers |= self._authorization()
        with self._http.stream("GET", url, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                answer.read()
                raise ApiError(answer.status_code, problem_of(answer))
            with partial.open("ab" if answer.status_code == 206 else "wb") as output:
                for chunk in answer.iter_bytes():
                    output.write(chunk)

    def put_input(self, job: str, name: str, source: Path) -> FileView:
        """Send the bytes of an input that a queued job declares as an upload."""
        params = {"input": name, "sha256": sha256_of(source)}
        kind, encoding = guess_type(source.name)
        headers = {"Content-Type": kind} if kind and not encoding else {}
        with source.open("rb") as content:
            place = at("tasks", job, "input")
            return self._one(FileView, "PUT", place, params=params, headers=headers, content=content)

    def _here(self, link: str, entry: FileView) -> str:
        """A link of the API, led to where it is reached: the name by which it knows itself may not be known here."""
        own = httpx.URL(entry.uri)
        origin = f"{own.scheme}://{own.netloc.decode()}"
        return self._absolute(link.removeprefix(origin))


def _offset(answer: httpx.Response) -> int:
    text = str(answer.headers.get("Upload-Offset", ""))
    if not (text.isascii() and text.isdigit()):
        raise not_ours(answer, "it does not say how many bytes have arrived")
    return int(text)


def _is_whole(partial: Path, entry: FileView) -> bool:
    if not partial.exists() or entry.size not in {None, partial.stat().st_size}:
        return False
    return sha256_of(partial) == entry.sha256
