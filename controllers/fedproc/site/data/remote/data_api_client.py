"""A site's own Data API as a client (docs/data-api.json). What it answers is held to the contract, and not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar
from urllib.parse import quote, unquote_to_bytes

from pydantic import BaseModel, ValidationError

from fedproc.common.validation import lines_of
from fedproc.contract.data_api import (
    MOST_LISTED,
    PREFIX,
    CohortFiles,
    CohortPersons,
    CohortRequest,
    CohortView,
    DatasetDescription,
)
from fedproc.site.data.cohort import CohortFile
from fedproc.site.data.remote.errors import RemoteError, RemotePassingError
from fedproc.site.data.remote.file_store import Kept, SourceStore
from fedproc.site.data.remote.http import TRICKLE, RemoteHttp

M = TypeVar("M", bound=BaseModel)
_MOST_FILES = 20_000_000
_LONGEST_PATH = 4096


class DataApiClient:
    """Blocks; raises :class:`RemoteError`."""

    def __init__(self, http: RemoteHttp) -> None:
        self._http = http

    def described(self, dataset: str) -> DatasetDescription:
        """One dataset that it offers."""
        return _read(DatasetDescription, self._http.json(f"{PREFIX}/datasets/{dataset}"))

    def freeze(self, dataset: str, request: CohortRequest, token: str | None) -> CohortView:
        """Have it freeze a cohort, in the name of the user whose ``token`` it is, if it wants one."""
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        body = request.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
        path = f"{PREFIX}/datasets/{dataset}/cohorts"
        return _read(CohortView, self._http.json(path, method="POST", body=body, headers=headers))

    def files(self, cohort: CohortView) -> Iterator[CohortFile]:
        """All files of a cohort, in the order of their paths."""
        after, last, count = None, b"", 0
        while True:
            params = {"limit": str(MOST_LISTED)} | ({} if after is None else {"after": after})
            page = _read(CohortFiles, self._http.json(f"{PREFIX}/cohorts/{cohort.id}/files", params))
            for file in page.files:
                path, count = _path_of(file.path), count + 1
                if path <= last or count > min(cohort.files, _MOST_FILES):
                    raise RemoteError("it lists files twice, not in order, or more than the cohort has")
                last = path
                yield CohortFile(path, file.size, 0, 0, bytes.fromhex(file.sha256))
            if page.next is None:
                return
            if not page.files or page.next == after:
                raise RemoteError("it lists pages that lead no further")
            after = page.next

    def fetch(self, cohort: CohortView, file: CohortFile, store: SourceStore, largest: int) -> Kept:
        """The bytes of one file into the store, where it is claimed; one that is there already is not fetched."""
        kept = Kept(file.sha256.hex(), file.size)
        store.claim([kept])
        if store.has(kept):
            return kept
        try:
            self._fetch(cohort, file, store, largest)
        finally:
            store.release([kept])
        return kept

    def _fetch(self, cohort: CohortView, file: CohortFile, store: SourceStore, largest: int) -> None:
        """Where an answer is cut, it is asked for the rest, as long as each piece is more than a trickle."""
        path = f"{PREFIX}/cohorts/{cohort.id}/files/{quote(file.path)}"
        with store.incoming(largest) as come:
            while True:
                begun = come.size
                try:
                    headers = {"Range": f"bytes={begun}-"} if begun else {}
                    with self._http.stream(path, headers) as (answer, chunks):
                        if begun and answer.status_code != 206:
                            raise RemoteError(f"{path}: it does not go on where it was cut (HTTP {answer.status_code})")
                        for chunk in chunks:
                            come.write(chunk)
                            if come.size > file.size:
                                raise RemoteError(f"{path}: it sends more than the {file.size} bytes that it listed")
                except RemotePassingError:
                    if come.size - begun < TRICKLE:
                        raise
                    continue
                break
            if come.size != file.size:
                raise RemoteError(f"{path}: it sends {come.size} bytes, and listed {file.size}")
            if come.digest.digest() != file.sha256:
                raise RemoteError(f"{path}: it sends other bytes than it listed")
            store.take(come)

    def persons(self, cohort: str) -> Mapping[str, frozenset[str]]:
        """Who is in a cohort, by the ways in which they are told apart; nobody, where it does not say so of any.

        Raises :class:`RemoteError` where it has forgotten the cohort, too.
        """
        path = f"{PREFIX}/cohorts/{cohort}"
        try:
            found = _read(CohortPersons, self._http.json(f"{path}/persons"))
        except RemoteError as error:
            if error.status != 404:
                raise
            _read(CohortView, self._http.json(path))
            return {}
        return {way: frozenset(ids) for way, ids in found if ids is not None}

    def forget(self, cohort: str) -> None:
        """Nobody needs the cohort any more."""
        self._http.json(f"{PREFIX}/cohorts/{cohort}", method="DELETE")


def _read(kind: type[M], found: object) -> M:
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        raise RemoteError(f"it does not answer as docs/data-api.json has it: {lines_of(error)[0]}") from error


def _path_of(text: str) -> bytes:
    """A path below the dataset's folder, whatever bytes it has."""
    path = unquote_to_bytes(text)
    parts = path.split(b"/")
    if (
        b"\0" in path
        or len(path) > _LONGEST_PATH
        or any(part in {b"", b".", b".."} or len(part) > 255 for part in parts)
    ):
        raise RemoteError("it lists a file whose name leads elsewhere, or is none")
    return path
