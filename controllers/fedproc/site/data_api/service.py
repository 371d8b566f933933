"""What the reference Data API does, apart from HTTP: it offers folders, and freezes cohorts of them."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import shutil
import time
from itertools import islice
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from fedproc.common.errors import ConflictError, ForbiddenError, NotFoundError, UnavailableError
from fedproc.common.log import get_logger
from fedproc.contract.data_api import (
    COHORT_PATTERN,
    CohortFiles,
    CohortFileView,
    CohortPersons,
    CohortRequest,
    CohortView,
    DataApiDataset,
    DatasetDescription,
    DatasetList,
    DatasetProblem,
    Kind,
    ReleasedResult,
)
from fedproc.contract.ids import JOB_PATTERN
from fedproc.contract.wire.datasets import DatasetColumns, OfferedDataset
from fedproc.contract.wire.messages import DatasetUse
from fedproc.site.data.api import DatasetError
from fedproc.site.data.cohort import Cohort, CohortFile, files_after, find_file, read_cohort
from fedproc.site.data.folder import FolderDataApi
from fedproc.site.data.results import Results
from fedproc.site.data_api.settings import DataApiSettings

log = get_logger(__name__)
_COHORT = re.compile(COHORT_PATTERN)
_JOB = re.compile(JOB_PATTERN)
_ERRORS: dict[str, type[ConflictError | ForbiddenError | NotFoundError | UnavailableError]] = {
    "data.unknown": NotFoundError,
    "data.version": ConflictError,
    "data.changed": ConflictError,
    "data.identifying": ForbiddenError,
}


class DataService:
    """Over the folders of the settings. Methods that are no coroutines block."""

    def __init__(self, settings: DataApiSettings) -> None:
        self._settings = settings
        self._cohorts = settings.state / "datasets" / "cohorts"
        self._folders = FolderDataApi(
            settings.datasets, settings.state / "datasets", settings.dataset_seconds, settings.dataset_reread_days,
            as_seen=True,
        )  # fmt: skip

    async def listed(self, *, problems: bool) -> DatasetList:
        """What is offered; why the others are not, if ``problems``."""
        offers = await self._folders.offers()
        wrong = [one for one in self._folders.conditions() if one.problem is not None] if problems else []
        return DatasetList(
            datasets=tuple(self._view(offer, self._columns(offer.id)) for offer in offers),
            problems=tuple(DatasetProblem(id=one.id, problem=one.problem or "", cure=one.cure or "") for one in wrong),
        )

    def results(self) -> DatasetList:
        """What was released. Blocks."""
        kept = self._settings.results
        found = Results(kept).all() if kept is not None and kept.is_dir() else ()
        return DatasetList(datasets=tuple(self._released(result) for result in found))

    def _released(self, result: ReleasedResult) -> DataApiDataset:
        names = ",".join(sorted(file.sha256 for file in result.files))
        return DataApiDataset(
            id=result.job, title=f"{result.tool} {result.tool_version}, {result.experiment}", kinds=("results",),
            version=f"sha256:{hashlib.sha256(names.encode()).hexdigest()}", files=len(result.files),
            size=sum(file.size for file in result.files), floor=self._settings.floor, result=result,
        )  # fmt: skip

    def result(self, job: str) -> DatasetDescription | None:
        """That of one job, if there is one. Blocks."""
        kept = self._settings.results
        found = Results(kept).of(job) if kept is not None and _JOB.fullmatch(job) else None
        return None if found is None else DatasetDescription(dataset=self._released(found))

    async def described(self, dataset: str) -> DatasetDescription:
        """Raises :class:`NotFoundError`."""
        for offer in await self._folders.offers():
            if offer.id == dataset:
                columns = self._columns(dataset)
                return DatasetDescription(dataset=self._view(offer, columns), columns=columns)
        raise NotFoundError(f"no dataset {dataset!r} is offered here")

    def _columns(self, dataset: str) -> tuple[DatasetColumns, ...]:
        return tuple(page for page in self._folders.columns(self._settings.floor) if page.dataset == dataset)

    def _view(self, offer: OfferedDataset, columns: tuple[DatasetColumns, ...]) -> DataApiDataset:
        imaging = columns[0].imaging if columns else None
        kinds: list[Kind] = [kind for kind in get_args(Kind) if kind in (offer.kinds or ())]
        return DataApiDataset(
            id=offer.id, title=offer.title or offer.description, version=offer.version, label=offer.label,
            description=offer.description, creators=offer.creators,
            kinds=tuple(kinds) or ("files",), files=offer.files, size=offer.size, floor=self._settings.floor,
            persons=imaging.persons if imaging else None, studies=imaging.studies if imaging else None,
            series=imaging.series if imaging else None,
        )  # fmt: skip

    async def freeze(self, dataset: str, request: CohortRequest) -> CohortView:
        """Raises RefusedError with ``policy.selection``, and errors by what is wrong with the dataset."""
        cohort, use = f"c-{secrets.token_hex(16)}", DatasetUse(id=dataset, version=request.version)
        try:
            await self._folders.freeze(use, request.selection, cohort, max(self._settings.floor, request.floor))
        except DatasetError as error:
            await self._folders.discard(cohort)
            raise _ERRORS.get(error.code, UnavailableError)(error.message, code=error.code) from error
        except BaseException:
            await self._folders.discard(cohort)
            raise
        frozen = await asyncio.to_thread(self.cohort, cohort)
        log.info("cohort.frozen", dataset=dataset, cohort=cohort[:10], files=frozen.files, version=frozen.version)
        return frozen

    def cohort(self, cohort: str) -> CohortView:
        """Raises :class:`NotFoundError`."""
        found: Cohort = read_cohort(self._file(cohort))
        return CohortView(
            id=cohort, dataset=found.dataset, dataset_version=found.dataset_version, version=found.version,
            files=found.files, size=found.size,
        )  # fmt: skip

    async def persons(self, cohort: str) -> CohortPersons:
        """Raises :class:`NotFoundError`."""
        view = await asyncio.to_thread(self.cohort, cohort)
        found = await self._folders.persons(view.dataset, view.dataset_version, cohort)
        return CohortPersons.model_validate({way: tuple(sorted(ids)) for way, ids in found.by.items()})

    def files(self, cohort: str, after: bytes | None, limit: int) -> CohortFiles:
        """The page behind the path ``after``."""
        found = list(islice(files_after(self._file(cohort), after), limit + 1))
        views = tuple(_shown(file) for file in found[:limit])
        return CohortFiles(files=views, next=views[-1].path if len(found) > limit else None)

    def file(self, cohort: str, path: bytes) -> tuple[Path, str, CohortFile]:
        """The folder, the dataset's id, and the file. Raises :class:`NotFoundError`."""
        kept = self._file(cohort)
        dataset = kept.name.removesuffix(".jsonl")
        file, entry = find_file(kept, path), self._settings.datasets.get(dataset)
        if file is None or entry is None:
            raise NotFoundError("the cohort has no such file")
        return entry.path, dataset, file

    def forget(self, cohort: str) -> None:
        """Raises :class:`NotFoundError`."""
        shutil.rmtree(self._file(cohort).parent)

    def forget_old(self) -> None:
        """Those that nobody has forgotten for too long."""
        before = time.time() - self._settings.cohort_days * 86_400
        for folder in self._cohorts.iterdir() if self._cohorts.exists() else ():
            if folder.stat().st_mtime < before:
                shutil.rmtree(folder)
                log.info("cohort.expired", cohort=folder.name[:10])

    def _file(self, cohort: str) -> Path:
        if _COHORT.fullmatch(cohort) is not None:
            for found in (self._cohorts / cohort).glob("*.jsonl"):
                return found
        raise NotFoundError("there is no such cohort, or it was forgotten")


def _shown(file: CohortFile) -> CohortFileView:
    return CohortFileView(path=quote(file.path), size=file.size, sha256=file.sha256.hex())
