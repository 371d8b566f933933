"""What one user may have at once. Each check says the limit, what there is, and the way round."""

from __future__ import annotations

from sqlalchemy import Connection

from fedproc.central.db.repositories import experiments, files
from fedproc.central.experiments.placement import Plan
from fedproc.central.settings import CentralSettings
from fedproc.common.errors import QuotaError, StorageFullError, TooLargeError
from fedproc.contract.wire.jws import canonical

MB = 1_000_000
_DELETE = "delete what is not needed (fedproc data delete for files, fedproc experiments delete for results)"
_ASK = "or ask the federation's operator for more"


class Quotas:
    """Those of the settings; users are known by the subjects of their tokens."""

    def __init__(self, settings: CentralSettings) -> None:
        self._settings = settings

    def check_start(self, connection: Connection, user: str) -> None:
        """Whether the user may start another experiment. Raises :class:`QuotaError`, :class:`StorageFullError`."""
        most, open_now = self._settings.quota_of(user).open_experiments, experiments.count_open(connection, user)
        if open_now >= most:
            raise QuotaError(
                f"you have {open_now} experiments that have not ended; {most} may be open at once: wait until one ends,"
                f" cancel one (fedproc experiments cancel ID), {_ASK}",
                code="quota.experiments",
            )
        self.check_room(connection, user, 1)

    def left(self, connection: Connection, user: str) -> tuple[int, int, int]:
        """Experiments that the user may still start, bytes and files that may still be stored; 0 at the least."""
        quota = self._settings.quota_of(user)
        started, (count, stored) = experiments.count_open(connection, user), files.stored(connection, user)
        left = (quota.open_experiments - started, quota.stored_mb * MB - stored, quota.stored_files - count)
        return max(0, left[0]), max(0, left[1]), max(0, left[2])

    def check_size(self, user: str, plan: Plan) -> None:
        """Whether parameters and selections of all jobs together are not too large. Raises :class:`TooLargeError`."""
        most, sizes = self._settings.quota_of(user).submission_mb * MB, dict[int, int]()
        for job in plan.jobs:  # hosts with nothing of their own have the same object
            if id(job.parameters) not in sizes:
                sizes[id(job.parameters)] = len(canonical(job.parameters))
            for selection in job.selections.values():
                if id(selection) not in sizes:
                    sizes[id(selection)] = len(canonical(selection.as_json()))
        total = sum(sizes[id(part)] for job in plan.jobs for part in (job.parameters, *job.selections.values()))
        if total > most:
            raise TooLargeError(
                f"the parameters of the {len(plan.jobs)} jobs have {total} bytes together; {most} may be sent at once: "
                f"name fewer hosts, give large values as an input file, {_ASK}",
                code="quota.submission",
            )

    def check_room(self, connection: Connection, user: str, size: int, *, new: int = 1) -> None:
        """Whether ``size`` more bytes in ``new`` more files may be announced for the user.

        Raises :class:`StorageFullError`.
        """
        self._check_stored(user, files.stored(connection, user), size, new)

    def check_kept(self, connection: Connection, user: str, size: int, *, new: int) -> None:
        """Whether ``size`` bytes that came, in ``new`` files, may be kept beside what is complete.

        Raises :class:`StorageFullError`.
        """
        self._check_stored(user, files.stored(connection, user, state="complete"), size, new)

    def _check_stored(self, user: str, stored: tuple[int, int], size: int, new: int) -> None:
        quota, (count, bytes_) = self._settings.quota_of(user), stored
        if bytes_ + size > (most := quota.stored_mb * MB):
            raise StorageFullError(
                f"the files and results of {user} have {bytes_} bytes, and {size} more would come; {most} may be kept: "
                f"{_DELETE}, {_ASK}",
                code="quota.stored",
            )
        if new and count + new > quota.stored_files:
            raise StorageFullError(
                f"{user} has {count} files, results among them, and {new} more would come; {quota.stored_files} may be"
                f" kept, however small: {_DELETE}, pack many small ones into one, {_ASK}",
                code="quota.files",
            )
