"""The central API from a program: one method per call, contract models in and out."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter

from fedproc.common.errors import FedprocError, InvalidInputError, NotAuthenticatedError, UnavailableError
from fedproc.common.files import sha256_of
from fedproc.contract.api.base import Token
from fedproc.contract.api.enrolments import EnrolmentCode, EnrolmentView, NewEnrolment
from fedproc.contract.api.experiments import (
    EventView,
    ExperimentRequest,
    ExperimentView,
    LogLines,
    Logs,
    Page,
    Report,
)
from fedproc.contract.api.files import FileView, NewFile
from fedproc.contract.api.hosts import DatasetView, HostEnrolment, HostReportView, HostView
from fedproc.contract.api.operations import DeadLetter, DeadLetterPage, Health
from fedproc.contract.api.tools import TaskView, ToolSummary, ToolView

M = TypeVar("M", bound=BaseModel)
_CHUNK = 1 << 20
_TUS = {"Tus-Resumable": "1.0.0"}
_EARLY = 20.0


class ApiError(FedprocError):
    """The API refused; ``status`` and ``detail`` hold its problem details (RFC 9457)."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP {status}"))
        self.status = status
        self.code = str(problem.get("code") or "error")
        self.problem = problem


def trusted(ca_file: str | None) -> ssl.SSLContext:
    """A context that trusts the CA in ``ca_file``, or the system's.

    Raises :class:`InvalidInputError` naming the file.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as fault:
        raise InvalidInputError(f"{ca_file}: no CA certificate can be read there ({fault}): see FEDPROC_CA") from fault


class Client:
    """Signs in with a password if it has one (POST /token), or uses the token that it is given."""

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: Token | None = None,
        ca_file: str | None = None,
        timeout: float = 30,
    ) -> None:
        self.url = url.rstrip("/")
        self._credentials = (username, password)
        self._http = httpx.Client(verify=trusted(ca_file), timeout=timeout)
        self._expires = 0.0
        self.token = token
        if token is not None:
            self._expires = time.monotonic() + token.expires_in

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    # -- signing in ------------------------------------------------------------------------------

    def sign_in(self) -> Token:
        """Get a token by the refresh token of the one at hand, or by password.

        Raises :class:`NotAuthenticatedError`.
        """
        forms = self._ways_in()
        if not forms:
            raise NotAuthenticatedError(
                "not signed in: run `fedproc login`, or set FEDPROC_USERNAME and FEDPROC_PASSWORD"
            )
        for form in forms:
            answer = self._raw("POST", "/token", data=form)
            if answer.status_code == 200:
                self.token = Token.model_validate_json(answer.content)
                self._expires = time.monotonic() + self.token.expires_in
                return self.token
        said = _problem(answer)
        raise NotAuthenticatedError(
            f"not signed in: {said.get('error_description') or said.get('detail') or said.get('error')}"
        )

    def _ways_in(self) -> list[dict[str, str]]:
        username, password = self._credentials
        forms = []
        if self.token and self.token.refresh_token:
            forms.append({"grant_type": "refresh_token", "refresh_token": self.token.refresh_token})
        if username and password:
            forms.append({"grant_type": "password", "username": username, "password": password})
        return forms

    def access_token(self, *, fresh: bool = False) -> str:
        """A token that is good for a while."""
        if fresh or self.token is None or time.monotonic() > self._expires - _EARLY:
            self.sign_in()
        assert self.token is not None
        return self.token.access_token

    def _authorization(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access_token()}"}

    # -- what there is ---------------------------------------------------------------------------

    def hosts(self, *, everyone: bool = False) -> list[HostView]:
        return self._list(HostView, "/hosts/", params={"all": "true"} if everyone else None)

    def host_reports(self) -> list[HostReportView]:
        return self._list(HostReportView, "/hosts/reports")

    def host(self, host: str) -> HostView:
        return self._one(HostView, "GET", f"/hosts/{host}")

    def enrol(self, host: str, enrolment: HostEnrolment) -> HostView:
        return self._one(HostView, "PUT", f"/hosts/{host}", json=enrolment.model_dump(mode="json"))

    def revoke(self, host: str, reason: str) -> HostView:
        return self._one(HostView, "POST", f"/hosts/{host}/revocation", json={"reason": reason})

    def offer(self, new: NewEnrolment) -> EnrolmentCode:
        return self._one(EnrolmentCode, "POST", "/enrolments", json=new.model_dump(mode="json"))

    def enrolments(self) -> list[EnrolmentView]:
        return self._list(EnrolmentView, "/enrolments")

    def enrolment(self, host: str) -> EnrolmentView:
        return self._one(EnrolmentView, "GET", f"/enrolments/{host}")

    def confirm(self, host: str, certificate: str) -> EnrolmentView:
        body = {"certificate": certificate}
        return self._one(EnrolmentView, "POST", f"/enrolments/{host}/certificate", json=body)

    def reject(self, host: str, reason: str) -> EnrolmentView:
        return self._one(EnrolmentView, "POST", f"/enrolments/{host}/refusal", json={"reason": reason})

    def health(self) -> Health:
        """The centre's health; a degraded one is an answer too."""
        answer = self._raw("GET", "/hosts/health/", headers=self._authorization())
        return Health.model_validate_json(answer.content)

    def tools(self) -> list[ToolSummary]:
        return self._list(ToolSummary, "/tools")

    def tool(self, tool: str) -> ToolView:
        return self._one(ToolView, "GET", f"/tools/{tool}")

    def manifest(self, tool: str, version: str) -> str:
        """The signed manifest of one version."""
        return self._send("GET", f"/tools/{tool}/manifest", params={"version": version}).text

    def bundle(self, tool: str, version: str) -> bytes:
        """The packed source of one version."""
        return self._send("GET", f"/tools/{tool}/bundle", params={"version": version}).content

    def tasks(self) -> list[TaskView]:
        return self._list(TaskView, "/tools/tasks")

    def add_tool(self, manifest: str, bundle: bytes) -> ToolView:
        files = {"bundle": ("bundle.tar.gz", bundle, "application/gzip")}
        return self._one(ToolView, "POST", "/tools", data={"manifest": manifest}, files=files)

    def datasets(self) -> list[DatasetView]:
        return self._list(DatasetView, "/datasets")

    # -- experiments -----------------------------------------------------------------------------

    def run(self, request: ExperimentRequest, *, key: str | None = None) -> ExperimentView:
        headers = {"Idempotency-Key": key} if key else {}
        body = request.model_dump(mode="json", exclude_none=True)
        return self._one(ExperimentView, "POST", "/experiments", json=body, headers=headers)

    def experiment(self, experiment: str) -> ExperimentView:
        return self._one(ExperimentView, "GET", f"/experiments/{experiment}")

    def experiments(self, **query: Any) -> Page:
        params = {name: value for name, value in query.items() if value is not None}
        return self._one(Page, "GET", "/experiments", params=params)

    def cancel(self, experiment: str) -> ExperimentView:
        return self._one(ExperimentView, "POST", f"/experiments/{experiment}/cancel")

    def results(self, experiment: str) -> list[FileView]:
        return self._list(FileView, f"/experiments/{experiment}/results")

    def report(self, experiment: str) -> Report:
        return self._one(Report, "GET", f"/experiments/{experiment}/report")

    def logs(self, experiment: str) -> list[LogLines]:
        """All log lines that the hosts let out so far."""
        found: list[LogLines] = []
        cursor: int | None = None
        while True:
            params = {} if cursor is None else {"cursor": cursor}
            page = self._one(Logs, "GET", f"/experiments/{experiment}/logs", params=params)
            found += page.items
            if page.next is None:
                return found
            cursor = page.next

    def put_input(self, job: str, name: str, source: Path) -> FileView:
        """Send the bytes of an input that a queued job declares as an upload."""
        params = {"input": name, "sha256": sha256_of(source)}
        with source.open("rb") as content:
            return self._one(FileView, "PUT", f"/tasks/{job}/input", params=params, content=content)

    def events(self, experiment: str, after: int = 0) -> Iterator[EventView]:
        """Every event of the experiment, live, until it has ended; a cut stream is taken up where it was cut."""
        pause = 0.2
        while True:
            try:
                for event in self._stream(experiment, after):
                    after, pause = event.id, 0.2
                    yield event
            except httpx.TransportError as fault:
                if pause > 20:
                    raise UnavailableError(f"the event stream of {self.url} does not come back: {fault}") from fault
                time.sleep(pause)
                pause *= 2
            else:
                return

    def _stream(self, experiment: str, after: int) -> Iterator[EventView]:
        headers = {**self._authorization(), "Accept": "text/event-stream"}
        if after:
            headers["Last-Event-ID"] = str(after)
        url = f"{self.url}/experiments/{experiment}/events"
        with self._http.stream("GET", url, headers=headers, timeout=httpx.Timeout(30, read=60)) as answer:
            if answer.status_code != 200:
                answer.read()
                raise ApiError(answer.status_code, _problem(answer))
            for line in answer.iter_lines():
                if line.startswith("data:"):
                    yield EventView.model_validate_json(line[5:].strip())

    def dead_letters(self) -> list[DeadLetter]:
        """The latest messages that could not be read (operators)."""
        return self._one(DeadLetterPage, "GET", "/dead-letters").items

    # -- files -----------------------------------------------------------------------------------

    def files(self) -> list[str]:
        """URIs of the user's files."""
        return [str(uri) for uri in self._send("GET", "/data/files/").json()]

    def file(self, file: str) -> FileView:
        return self._one(FileView, "GET", f"/data/file/{file}")

    def put_file(self, path: str, source: Path, media_type: str = "application/octet-stream") -> FileView:
        """Make an entry and send the bytes by tus."""
        new = NewFile(size=source.stat().st_size, sha256=sha256_of(source), media_type=media_type)
        entry = self._one(FileView, "PUT", f"/data/file/{path}", json=new.model_dump(mode="json"))
        if entry.upload is not None:
            self._send_bytes(self._here(entry.upload, entry), source)
        return self.file(entry.id)

    def _send_bytes(self, url: str, source: Path) -> None:
        offset = int(self._send("HEAD", url, headers=_TUS).headers["Upload-Offset"])
        with source.open("rb") as content:
            content.seek(offset)
            while chunk := content.read(_CHUNK):
                headers = {**_TUS, "Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
                offset = int(self._send("PATCH", url, headers=headers, content=chunk).headers["Upload-Offset"])

    def fetch(self, entry: FileView, target: Path) -> Path:
        """Fetch a file to ``target``, going on where an earlier attempt was cut; its sha256 is checked.

        Raises :class:`FedprocError` if another file is there already, or if what came is not what was promised.
        """
        if target.exists():
            if sha256_of(target) == entry.sha256:
                return target
            raise FedprocError(f"{target} is there already with other content: move it away, or choose another folder")
        partial = target.with_name(target.name + ".part")
        partial.parent.mkdir(parents=True, exist_ok=True)
        have = partial.stat().st_size if partial.exists() else 0
        try:
            self._download(self._here(entry.content or "", entry), partial, have)
        except httpx.TransportError as fault:
            raise UnavailableError(
                f"{entry.path} was cut off ({fault}): fetch it again, it goes on from there"
            ) from fault
        if sha256_of(partial) != entry.sha256:
            partial.unlink()
            raise FedprocError(f"{entry.path} came damaged (its sha256 is not the promised one): fetch it again")
        partial.rename(target)
        return target

    def _download(self, url: str, partial: Path, have: int) -> None:
        headers = {"Range": f"bytes={have}-"} if have else {}
        if url.startswith(self.url):
            headers |= self._authorization()
        with self._http.stream("GET", url, headers=headers) as answer:
            if answer.status_code not in (200, 206):
                answer.read()
                raise ApiError(answer.status_code, _problem(answer))
            with partial.open("ab" if answer.status_code == 206 else "wb") as output:
                for chunk in answer.iter_bytes():
                    output.write(chunk)

    # -- the wire --------------------------------------------------------------------------------

    def _one(self, model: type[M], method: str, path: str, **arguments: Any) -> M:
        return model.model_validate_json(self._send(method, path, **arguments).content)

    def _list(self, model: type[M], path: str, **arguments: Any) -> list[M]:
        return TypeAdapter(list[model]).validate_json(self._send("GET", path, **arguments).content)  # type: ignore[valid-type]

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {**arguments.pop("headers", {}), **self._authorization()}
        answer = self._raw(method, path, headers=headers, **arguments)
        if answer.status_code >= 400:
            raise ApiError(answer.status_code, _problem(answer))
        return answer

    def _raw(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, self._absolute(path), **arguments)
        except httpx.TransportError as fault:
            raise UnavailableError(
                f"{self.url} does not answer ({fault}): is the address right (FEDPROC_URL), is the API running?"
            ) from fault

    def _here(self, link: str, entry: FileView) -> str:
        """A link of the API, led to where it is reached: the name by which it knows itself may not be known here."""
        own = httpx.URL(entry.uri)
        origin = f"{own.scheme}://{own.netloc.decode()}"
        return self._absolute(link.removeprefix(origin))

    def _absolute(self, path: str) -> str:
        return path if path.startswith("http") else self.url + path


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = json.loads(answer.content)
    except ValueError:
        return {"detail": f"HTTP {answer.status_code}: {answer.text[:200]}"}
    return body if isinstance(body, dict) else {"detail": str(body)}
