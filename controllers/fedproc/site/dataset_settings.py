"""Settings of one dataset of a host: where it is, how it is reached, and how it is fetched (docs/datasets.md)."""

from __future__ import annotations

import re
from datetime import time
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from fedproc.common.toml_settings import Section
from fedproc.contract.wire.datasets import MOST_CREATORS, CatalogueId, Short

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_OF_FOLDERS = frozenset({"path", "links"})
_OF_REMOTES = frozenset({"url", "access", "fetching", "identifying_accepted", "remote_id"})
_OF_ARCHIVES = frozenset({"query", "studies", "series"})
_UID = re.compile(r"[0-9]+(\.[0-9]+)*\.?")


class AccessSettings(Section):
    """How a PACS or a Data API is signed in to, and whom it must be. Secrets stand in files (0600), never here."""

    user_file: Path | None = Field(None, description="a file with user:password")
    token_file: Path | None = Field(None, description="instead: a file with a bearer token")
    certificate: Path | None = Field(None, description="PEM: the client certificate that is shown")
    key: Path | None = Field(None, description="PEM: its key")
    ca_file: Path | None = Field(None, description="whose certificate it shows; the system's authorities unless given")
    user_token: bool = Field(
        False, description="a Data API wants the token of a job's user, which the centre exchanges"
    )
    plaintext: bool = Field(False, description="http:// to another machine, too: whoever is between sees everything")

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.user_file and self.token_file:
            raise ValueError("give user_file or token_file, not both")
        if (self.certificate is None) != (self.key is None):
            raise ValueError("give certificate and key, or neither")
        return self


class FetchingSettings(Section):
    """What the site agreed on with those who run the PACS, and how much of it is kept here."""

    hours: str | None = Field(
        None, pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$",
        description="when images are fetched, by this machine's clock, such as 20:00-06:00; always unless given",
    )  # fmt: skip
    megabytes_per_second: float | None = Field(None, gt=0, description="at most; as fast as it comes unless given")
    attempts: int = Field(5, ge=1, description="for each series (or file), before a job gives up")
    wait_seconds: float = Field(10, ge=0, description="before the second attempt; twice as long before each further")
    timeout_seconds: float = Field(60, gt=0, description="without a byte, or with a trickle, after which it was cut")
    query_seconds: float = Field(600, ge=1, description="between two looks at what there is")
    store: Path | None = Field(None, description="folder of what was fetched; below the state's folder unless given")
    store_mb: int = Field(100_000, ge=1, description="how much is kept there; what no job uses goes first")
    store_days: float = Field(30, ge=0, description="after which what no job has used goes; 0: only for want of room")
    largest_mb: int = Field(4096, ge=1, description="of one file; a larger one is not taken")

    @field_validator("hours")
    @classmethod
    def _opens(cls, hours: str | None) -> str | None:
        if hours is not None and len(set(hours.split("-"))) == 1:
            raise ValueError("they begin and end at the same time: leave hours out for all day")
        return hours

    def is_open(self, now: time) -> bool:
        """Whether images may be fetched at this time of day."""
        if self.hours is None:
            return True
        begin, end = (time.fromisoformat(text) for text in self.hours.split("-"))
        return begin <= now < end if begin <= end else now >= begin or now < end


class ServiceSettings(Section):
    """EUCAIM's dataset-service: asked before a job is given the dataset, and told when it begins and ends."""

    url: str = Field(pattern=r"^https?://[^?#\s]+$", description="where its /api begins")
    dataset: str | None = Field(None, pattern=r"^[\w.-]+$", max_length=100, description="the dataset's id there")
    access: AccessSettings = AccessSettings()
    fetching: FetchingSettings = FetchingSettings(attempts=3, wait_seconds=2, timeout_seconds=30)

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        check_private(self.url, self.access)
        return self


class DatasetSettings(Section):
    """One dataset. ``source`` says which of the other keys it has: a folder's ``path``, or the ``url`` of a site's own
    Data API or of a PACS, with ``query``, ``studies`` or ``series`` for what of it is the dataset."""

    source: Literal["folder", "dicomweb", "http"] = "folder"
    path: Path = Field(Path(), description="of a folder")
    url: str = Field(
        "", pattern=r"^((https?|unix)://[^?#\s]+)?$",
        description="of a PACS's DICOMweb, or of a Data API: where its /data/v1 begins, or unix:///PATH of its socket",
    )  # fmt: skip
    remote_id: str | None = Field(None, pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", description="its id at the Data API")
    version: str | None = Field(None, description="what people call its version; the real one follows from its content")
    description: str | None = None
    title: Short = Field("", description="how it is cited; a PACS tells none")
    creators: tuple[Short, ...] = Field((), max_length=MOST_CREATORS, description="who made it, for its citation")
    catalogue: CatalogueId | None = Field(
        None, description="the IRI of its entry in a data catalogue, such as eucaim:breast-2024, by which it is found"
    )
    verify: Literal["stat", "content"] = Field(
        "stat", description="before and after each job: names, lengths, times and inodes, or all bytes, too"
    )
    links: Path | None = Field(
        None, description="a folder on the same file system, for what is selected of it: hard links instead of copies"
    )
    query: dict[str, str] = Field({}, description="of a PACS: attributes and values that its series have (QIDO-RS)")
    studies: tuple[str, ...] = Field((), description="of a PACS: StudyInstanceUIDs")
    series: tuple[str, ...] = Field((), description="of a PACS: SeriesInstanceUIDs")
    identifying_accepted: tuple[str, ...] = Field(
        (), description="of a PACS: what may be in its images, as a folder's dataset.json says it"
    )
    access: AccessSettings = AccessSettings()
    fetching: FetchingSettings = FetchingSettings()
    service: ServiceSettings | None = Field(None, description="EUCAIM's dataset-service, which knows who may use it")

    @model_validator(mode="after")
    def _is_of_its_source(self) -> Self:
        wrong = sorted(self.model_fields_set & _foreign(self.source))
        if wrong:
            raise ValueError(f"a dataset of source {self.source!r} has no {', '.join(wrong)}")
        needed = "path" if self.source == "folder" else "url"
        if needed not in self.model_fields_set:
            raise ValueError(f"a dataset of source {self.source!r} needs {needed}")
        if self.source == "dicomweb":
            self._check_archive()
        check_private(self.url, self.access)
        return self

    def _check_archive(self) -> None:
        if sum(map(bool, (self.query, self.studies, self.series))) != 1:
            raise ValueError("give one of query, studies and series: what of the PACS the dataset is")
        if odd := [uid for uid in (*self.studies, *self.series) if not is_uid(uid)]:
            raise ValueError(f"{odd[0]!r} is no UID: digits and dots, 64 at most")
        if odd := [name for name in self.query if not (name.isalnum() and name.isascii())]:
            raise ValueError(f"{odd[0]!r} is no attribute of a query: give its keyword, such as Modality, or its tag")


def check_private(url: str, access: AccessSettings) -> None:
    """Raises ValueError for an address by which others could read what passes, unless that is said to be right."""
    if "@" in urlsplit(url).netloc:
        raise ValueError("url has a user in it: write user:password into the file that access.user_file names")
    if url.startswith("http://") and urlsplit(url).hostname not in LOOPBACK and not access.plaintext:
        raise ValueError("url is http:// to another machine: use https://, or say access.plaintext = true")


def _foreign(source: str) -> frozenset[str]:
    """Keys that a dataset of this source cannot have."""
    return {
        "folder": _OF_REMOTES | _OF_ARCHIVES,
        "http": _OF_FOLDERS | _OF_ARCHIVES | {"identifying_accepted"},
        "dicomweb": _OF_FOLDERS | {"remote_id"},
    }[source]


def is_uid(text: str) -> bool:
    """Whether it may be a UID (PS3.5, 9.1), or what archives have for one: safe in an address and as a file's name."""
    return _UID.fullmatch(text) is not None and len(text) <= 64
