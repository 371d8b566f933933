"""What this host released, for its own Data API to list: a file for each job, in a folder that both may use.

The orchestrator writes there what has left, and nothing else; what it wrote goes with its retention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from fedproc.common.files import read_regular, write_atomically
from fedproc.common.log import get_logger
from fedproc.contract.data_api import ReleasedResult
from fedproc.contract.ids import JOB_PATTERN

log = get_logger(__name__)

_NAME = re.compile(JOB_PATTERN.rstrip("$") + r"\.json$")
_MODE = 0o640
"""for the Data API's group, which owns the folder"""


class Results:
    """Those in ``folder``. Methods block, and raise OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, result: ReleasedResult) -> None:
        """Once more changes nothing: of a job the first counts."""
        path = self._path(result.job)
        if not path.exists():
            write_atomically(path, result.model_dump_json().encode(), _MODE)

    def names(self) -> list[str]:
        """The jobs of which there is one, the first first."""
        return sorted(path.stem for path in self.folder.iterdir() if _NAME.fullmatch(path.name))

    def of(self, job: str) -> ReleasedResult | None:
        """That of one job; None where there is none, or it cannot be read."""
        path = self._path(job)
        try:
            return ReleasedResult.model_validate_json(read_regular(path))
        except FileNotFoundError:
            return None
        except (ValidationError, ValueError) as error:
            log.error("result.unreadable", path=str(path), reason=str(error).splitlines()[0])
            return None

    def all(self) -> Iterator[ReleasedResult]:
        """Each that can be read."""
        for name in self.names():
            if (found := self.of(name)) is not None:
                yield found

    def remove(self, job: str) -> None:
        """Nothing happens if it has gone."""
        with suppress(FileNotFoundError):
            self._path(job).unlink()

    def _path(self, job: str) -> Path:
        return self.folder / f"{job}.json"
