"""The cohorts that are frozen for jobs of this host, and the folders in which jobs see them."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from fedproc.common.errors import RefusedError
from fedproc.common.log import get_logger
from fedproc.common.tasks import StopFlag, stoppable, stoppable_alone
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.api import DatasetError, OnWait
from fedproc.site.data.cohort import Cohort, choose, persons_of, read_cohort
from fedproc.site.data.index import DatasetIndex, Known
from fedproc.site.data.layout import ChangedError, Layout, below
from fedproc.site.data.persons import Persons, keep, kept
from fedproc.site.dataset_settings import DatasetSettings

log = get_logger(__name__)


class FrozenCohorts:
    """Kept below ``folder``, one folder a job; a dataset's settings may name another one for what jobs see of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def known(self, job: str, dataset: str) -> Cohort | None:
        """What was frozen of a dataset for a job. Blocks."""
        try:
            return read_cohort(self.file(job, dataset))
        except FileNotFoundError:
            return None

    def persons(self, job: str, dataset: str) -> Persons | None:
        """Who was in what a job was given of a dataset, if that was kept. Blocks."""
        return kept(persons_of(self.file(job, dataset)))

    def keep_persons(self, job: str, dataset: str, persons: Persons) -> None:
        """Keep who was in a whole dataset that a job was given. Blocks."""
        keep(persons_of(self.file(job, dataset)), persons)

    async def freeze(
        self, job: str, index: DatasetIndex, dataset: str, known: Known, selection: Selection | None
    ) -> Cohort:
        """Find the selected files in the index, and keep them: also none, which :func:`check_persons` refuses."""

        def work(flag: StopFlag) -> Cohort:
            with index.readonly() as db:
                return choose(db, dataset, known.version, selection, self.file(job, dataset), flag)

        return await stoppable(work)

    async def materialise(self, job: str, dataset: str, entry: DatasetSettings, cohort: Cohort, wait: OnWait) -> Path:
        """The folder of a cohort, complete. Safe to repeat. Raises :class:`DatasetError` and OSError."""
        layout, loop = self._layout(job, dataset, entry), asyncio.get_running_loop()

        def note(count: int, how: str) -> None:
            manner = {"link": "", "clone": " by clones", "copy": " by copies"}[how]
            loop.call_soon_threadsafe(wait, f"materialising {count:,}/{cohort.files:,} files{manner}")

        try:
            how = await stoppable_alone(layout.make, note)
        except ChangedError as error:
            raise _changed(dataset, "since it was selected", "data.version") from error
        finally:
            wait(None)
        if how == "copy":
            log.warning("dataset.copied", dataset=dataset, job=job, cure=_COPIED.format(path=entry.path))
        return self._place(job, dataset, entry)

    async def confirm(self, job: str, dataset: str, entry: DatasetSettings) -> None:
        """Whether what the job was given is what was frozen. Raises :class:`DatasetError`."""
        try:
            await stoppable_alone(self._layout(job, dataset, entry).check)
        except ChangedError as error:
            raise _changed(dataset, "while the job used it", "data.changed") from error

    def discard(self, job: str, layouts: set[Path | None]) -> None:
        """Remove all that is kept for a job. Blocks."""
        for folder in (self._folder, *layouts):
            if folder is not None and (folder / job).exists():
                shutil.rmtree(folder / job)

    def file(self, job: str, dataset: str) -> Path:
        return self._folder / job / f"{dataset}.jsonl"

    def _place(self, job: str, dataset: str, entry: DatasetSettings) -> Path:
        return (entry.links or self._folder) / job / dataset

    def _layout(self, job: str, dataset: str, entry: DatasetSettings) -> Layout:
        place, verify = self._place(job, dataset, entry), entry.verify == "content"
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Layout(below(entry.path), self.file(job, dataset), place, verify=verify)


_COPIED = (
    "nothing need be done; without copies it is faster: name a folder on the file system of {path} as its 'links', and "
    "let the orchestrator's user own the files (docs/datasets.md)"
)


def check_persons(cohort: Cohort, floor: int) -> None:
    """Whether neither those in the cohort nor those left out are fewer than ``floor``. Raises :class:`RefusedError`.

    Of two selections that differ by few persons the results would tell of these. Nobody at all is told apart from a few
    neither by code nor by text: whether a single person is there, and has what was asked for, would be answered by it.
    """
    if cohort.persons < max(1, floor) or 0 < cohort.others < floor:
        raise RefusedError(
            f"this site selects {floor} persons of {cohort.dataset!r} at the least, and leaves none or {floor} out; "
            "select otherwise",
            code="policy.selection",
        )


def _changed(dataset: str, when: str, code: str) -> DatasetError:
    return DatasetError(f"what was selected of dataset {dataset!r} was changed {when}; start again", code=code)
