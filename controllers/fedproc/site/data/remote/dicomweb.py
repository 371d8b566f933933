"""DICOMweb as a client (PS3.18): what series there are (QIDO-RS), what they are, and their files (WADO-RS).

What a PACS answers is not trusted: UIDs are held to their alphabet before they become a part of an address or a file's
name, and its RetrieveURL is never asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fedproc.site.data.remote.errors import RemoteError
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.instances import MOST_INSTANCES, instances
from fedproc.site.data.remote.multipart import Parts, boundary_of
from fedproc.site.dataset_settings import DatasetSettings, is_uid

_JSON = "application/dicom+json"
_DICOM = "application/dicom"
_FILES = {"Accept": f'multipart/related; type="{_DICOM}"; transfer-syntax=*'}
"""without ``transfer-syntax=*`` a PACS rewrites what it has into Explicit VR Little Endian, and no hash is the same"""
_PAGE = 200
_MOST_SERIES = 1_000_000
STUDY, SERIES, INSTANCE, _COUNT = "0020000D", "0020000E", "00080018", "00201209"
_ASKED = tuple(("includefield", tag) for tag in (_COUNT, "00080060", "00100020"))


@dataclass(frozen=True)
class ListedSeries:
    """A series as a query answers: ``attributes`` are all that the PACS said of it."""

    study: str
    series: str
    attributes: Mapping[str, Any]

    @property
    def path(self) -> str:
        return f"/studies/{self.study}/series/{self.series}"


class DicomWeb:
    """A PACS. Raises :class:`RemoteError` with its own reason."""

    def __init__(self, http: RemoteHttp) -> None:
        self._http = http

    def series(self, entry: DatasetSettings) -> Iterator[ListedSeries]:
        """The series that a dataset's settings name, each once."""
        seen = set[str]()
        for path, query in _queries(entry):
            for attributes in self._pages(path, query):
                listed = _listed(attributes)
                if listed.series in seen:
                    continue
                seen.add(listed.series)
                if len(seen) > _MOST_SERIES:
                    raise RemoteError(f"the query finds more than {_MOST_SERIES:,} series; narrow it")
                yield listed

    def metadata(self, listed: ListedSeries) -> Iterator[dict[str, Any]]:
        """The elements of all instances of a series (PS3.18, F), one after the other."""
        return self._objects(f"{listed.path}/metadata", None, MOST_INSTANCES)

    @contextmanager
    def files(self, study: str, series: str, instance: str | None = None) -> Iterator[Parts]:
        """The files of a series, or one of them, byte for byte as the PACS has them."""
        path = f"/studies/{study}/series/{series}" + (f"/instances/{instance}" if instance else "")
        with self._http.stream(path, _FILES) as (answer, chunks):
            yield Parts(chunks, boundary_of(answer.headers.get("Content-Type", ""), _DICOM))

    def _pages(self, path: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """A PACS that takes no offset gives its first page again: that ends it."""
        offset, first = 0, None
        while True:
            params = [*query.items(), *_ASKED, ("limit", _PAGE), ("offset", offset)]
            begun = offset
            for found in self._objects(path, params, _MOST_SERIES):
                if offset == begun and found == first:
                    return
                first = found if first is None else first
                yield found
                offset += 1
            if offset == begun:
                return
            if offset > _MOST_SERIES:
                raise RemoteError(f"{path}: it gives pages without end")

    def _objects(self, path: str, params: Any, most: int) -> Iterator[dict[str, Any]]:
        with self._http.spooled(path, params, accept=_JSON) as content:
            if content is not None:
                yield from instances(content, path, self._http.check, most)


def _queries(entry: DatasetSettings) -> Iterable[tuple[str, Mapping[str, str]]]:
    yield from ((f"/studies/{uid}/series", {}) for uid in entry.studies)
    yield from (("/series", {"SeriesInstanceUID": uid}) for uid in entry.series)
    if entry.query:
        yield "/series", entry.query


def _listed(attributes: Mapping[str, Any]) -> ListedSeries:
    study, series = (text_of(attributes, tag) for tag in (STUDY, SERIES))
    if not is_uid(study) or not is_uid(series):
        raise RemoteError("it lists a series whose StudyInstanceUID or SeriesInstanceUID is none, or is not there")
    # its address of the series is never asked, and may differ from one answer to the other
    return ListedSeries(study, series, {tag: value for tag, value in attributes.items() if tag != "00081190"})


def text_of(attributes: Mapping[str, Any], tag: str) -> str:
    """The first value of an element as text; empty if there is none."""
    element = attributes.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    value = values[0] if isinstance(values, list) and values else ""
    if isinstance(value, dict):
        value = value.get("Alphabetic", "")
    return str(value) if isinstance(value, (str, int, float)) else ""
