"""The federation's registry of images: an OCI registry (distribution specification 1.1) behind the centre's gateway.

Blobs are fetched and sent by us, not by a container engine: with a fresh token for each, taken up where they were cut,
through the proxy and with the authority that our programs have anyway, and checked before an engine sees them.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import httpx

from fedproc.catalog.oci import DOCKER_MANIFEST, INDEXES, OCI_MANIFEST, Blobs, Descriptor, Image, digest_of, read_image
from fedproc.common.errors import (
    ForbiddenError,
    NotAuthenticatedError,
    NotFoundError,
    SystemFaultError,
    UnavailableError,
    UnreadableError,
)
from fedproc.common.http import is_problem, text_of
from fedproc.common.log import get_logger
from fedproc.common.retry import attempts

log = get_logger(__name__)
T = TypeVar("T")
_PASSING = (UnavailableError, httpx.TransportError)

Token = Callable[[bool], str]
"""gives an access token; True asks for a fresh one"""

_ATTEMPTS = 8
_LONGEST_PAUSE = 30.0
_AGAIN = {408, 429, 500, 502, 503, 504}
_PIECE = 1 << 20
_MANIFEST_BYTES = 4 << 20
_ACCEPT = ", ".join((OCI_MANIFEST, DOCKER_MANIFEST, *INDEXES))
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def split(reference: str) -> tuple[str, str, str]:
    """Registry, repository and digest of ``registry/repository@sha256:…``."""
    name, _, digest = reference.partition("@")
    registry, _, repository = name.partition("/")
    return registry, repository, digest


class Registry:
    """One registry, named ``name`` in references to images, reached at ``url``."""

    def __init__(self, name: str, url: str, token: Token, http: httpx.Client, *, attempts: int = _ATTEMPTS) -> None:
        self.name = name
        self._url = url.rstrip("/")
        self._token = token
        self._http = http
        self._host = {"Host": name}  # the gateway leads by it where the address is another
        self._attempts = attempts

    # -- reading ---------------------------------------------------------------------------------

    def image(self, repository: str, digest: str, kept: Blobs | None = None) -> Image:
        """The manifest of exactly this digest, from ``kept`` if it is there; of an index this machine's.

        Raises :class:`UnreadableError` if what comes does not have the digest, and what :meth:`_check` raises.
        """
        content = kept.read(digest) if kept else None
        if content is None:
            content = self._manifest(repository, digest)
            if kept:
                kept.add(content)
        chosen = of_this_machine(content)
        return read_image(content) if chosen is None else self.image(repository, chosen, kept)

    def _manifest(self, repository: str, digest: str) -> bytes:
        path = f"/v2/{repository}/manifests/{digest}"
        content = self._persist(lambda: self._send("GET", path, headers={"Accept": _ACCEPT})).content
        if len(content) > _MANIFEST_BYTES or digest_of(content) != digest:
            raise UnreadableError(
                f"{self.name}/{repository}: what the registry gave for {digest} has the digest {digest_of(content)}: "
                "it was changed in the registry or on its way; tell the federation's operator"
            )
        return content

    def fetch(self, repository: str, image: Image, blobs: Blobs) -> None:
        """Fetch what ``blobs`` lacks of the image. Every blob is checked."""
        for blob in image.blobs:
            if not blobs.has(blob):
                with blobs.partial(blob.digest) as place:
                    if not blobs.has(blob):
                        self._persist(partial(self._download, repository, blob, place))
                        blobs.finish(blob.digest, place)

    def _download(self, repository: str, blob: Descriptor, place: Path) -> None:
        have = place.stat().st_size if place.exists() else 0
        if have >= blob.size:
            have = 0
        headers = {**self._host, "Authorization": f"Bearer {self._token(False)}", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        url = f"{self._url}/v2/{repository}/blobs/{blob.digest}"
        with self._http.stream("GET", url, headers=headers) as answer:
            self._check(answer)
            with place.open("ab" if answer.status_code == 206 else "wb") as target:
                for piece in answer.iter_raw(_PIECE):
                    target.write(piece)
                    if target.tell() > blob.size:
                        break
        if place.stat().st_size < blob.size:
            raise UnavailableError(f"{url} ended before its end")

    # -- writing ---------------------------------------------------------------------------------

    def push(self, repository: str, image: Image, blobs: Blobs) -> str:
        """Send what the registry lacks of the image; returns its reference by digest."""
        for blob in image.blobs:
            self._persist(partial(self._upload, repository, blob, blobs.path(blob.digest)))
        path = f"/v2/{repository}/manifests/{image.digest}"
        headers = {"Content-Type": image.media_type}
        self._persist(lambda: self._send("PUT", path, headers=headers, content=image.content))
        return f"{self.name}/{repository}@{image.digest}"

    def _upload(self, repository: str, blob: Descriptor, path: Path) -> None:
        try:
            self._send("HEAD", f"/v2/{repository}/blobs/{blob.digest}")
        except NotFoundError:
            started = self._send("POST", f"/v2/{repository}/blobs/uploads/")
            place = httpx.URL(self._url).join(started.headers["Location"])
            target = str(place.copy_merge_params({"digest": blob.digest}).raw_path, "ascii")
            headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
            self._send("PUT", target, headers=headers, content=_pieces(path))

    # -- the wire --------------------------------------------------------------------------------

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {**self._host, **arguments.pop("headers", {}), "Authorization": f"Bearer {self._token(False)}"}
        answer = self._http.request(method, self._url + path, headers=headers, **arguments)
        self._check(answer)
        return answer

    def _check(self, answer: httpx.Response) -> None:
        """Raise what the status means, with what to do."""
        status = answer.status_code
        if status < 400:
            return
        what = f"the registry {self.name}: {answer.request.method} {answer.request.url.path}: HTTP {status}"
        if status == 401:
            self._token(True)
            raise NotAuthenticatedError(f"{what}: the token was not taken; is the clock right, is this host enrolled?")
        if status == 403:
            raise ForbiddenError(
                f"{what}: not allowed; a host reads only, and only while it is enrolled: ask the operator"
            )
        if status == 413:
            size = answer.request.headers.get("Content-Length", "its")
            raise SystemFaultError(
                f"{what}: something before the registry lets no body of {size} bytes through; have the gateway, or the "
                "proxy on the way, take any (nginx: client_max_body_size 0)",
                code="system_fault.store",
            )
        if status == 404 and not _is_of_registry(answer):
            raise SystemFaultError(
                f"{what}: what answers there is no registry. Is {self.name!r} the name that the gateway has for its "
                f"store (gateway_store_name), and {self._url} its address?",
                code="system_fault.store",
            )
        if status == 404:
            raise NotFoundError(f"{what}: there is no such image; ask the operator to publish the tool again")
        response = answer.read()[:300].decode(errors="replace")
        if status in _AGAIN:
            raise UnavailableError(f"{what}: {response}")
        raise SystemFaultError(f"{what}: {response}", code="system_fault.store")

    def _persist(self, attempt: Callable[[], T]) -> T:
        """Try again what another attempt may mend: a cut, a restart, an expired token."""
        retrying = attempts(self._attempts, _PASSING, first=0.5, longest=_LONGEST_PAUSE, waiting=_note)
        try:
            return retrying(lambda: _with_fresh_token(attempt))
        except _PASSING as error:
            raise UnavailableError(
                f"the registry {self.name} at {self._url} does not answer ({text_of(error)}): can this machine reach "
                "it, is the proxy right, does it run?"
            ) from error


def _is_of_registry(answer: httpx.Response) -> bool:
    """A gateway that does not know the name leads to its API, or answers itself."""
    kind = str(answer.headers.get("content-type", ""))
    return not (is_problem(answer) or kind.startswith("text/html"))


def _with_fresh_token(attempt: Callable[[], T]) -> T:
    """A token that was refused was renewed at once: the second attempt is made with that one."""
    try:
        return attempt()
    except NotAuthenticatedError:
        return attempt()


def _note(error: BaseException, seconds: float) -> None:
    log.warning("registry.waiting", reason=text_of(error), pause_seconds=round(seconds, 1))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as content:
        while piece := content.read(_PIECE):
            yield piece


def of_this_machine(content: bytes) -> str | None:
    """Of an index the digest of this kind of machine's manifest; None for what is no index."""
    try:
        index = json.loads(content)
        if "manifests" not in index:
            return None
        wanted = _ARCHITECTURES.get(platform.machine(), platform.machine())
        for entry in index["manifests"]:
            if (entry["platform"]["os"], entry["platform"]["architecture"]) == ("linux", wanted):
                return str(entry["digest"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableError(f"not the manifest of an image: {error!r}") from error
    raise NotFoundError(f"the image is not for machines of this kind (linux/{wanted}); ask the tool's provider")
