"""A million series by HTTP: ``fedproc data-api`` over a folder with a file for each, and an index that knows them.

The files are empty, and the index is filled as a pass over them fills it (:mod:`bench.many_series`): what is measured
is the service, with its looks at the folder, and not how fast a disk reads a million images.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from bench import many_series
from bench.figures import Figure
from bench.measure import Sample
from fedproc.common.tasks import StopFlag
from fedproc.contract.data_api import MOST_LISTED, PREFIX
from fedproc.site.data.index import DatasetIndex
from fedproc.site.data.walking import Entry, entry_of, folder_state

_OF_FOLDER = 1000
_WAIT_SECONDS = 600.0


def figures(folder: Path, count: int, rounds: int = 3) -> Iterator[Figure]:
    """The slowest selection and the slowest page of the whole dataset's files; memory beside that with few files."""
    few, many = _Served(folder / "few", count // 100), _Served(folder / "many", count)
    peaks = {}
    for served in (few, many):
        with served.running() as peak:
            asked, files = many_series.selections(served.index)
            selections = {what: {"selection": one.as_json()} for what, one in asked.items()}
            frozen = {what: served.timed(rounds, body) for what, body in selections.items()}
            whole, cohort = served.freeze({})
            pages = served.pages(cohort)
            peaks[served.data.parent.name] = peak()
    slowest = max(frozen.values(), key=lambda sample: sample.median)
    sides = {**{what: (sample, "s") for what, sample in frozen.items()}, "whole": (Sample((whole,)), "s")}
    what = f"a selection by HTTP from {files:,} series that lie in a folder"
    yield Figure("served_query", what, slowest, 0.5, at_most=True, unit="s", sides=sides)
    what = f"a page of {MOST_LISTED:,} of a cohort's {files:,} files, the slowest of {len(pages)}"
    yield Figure("served_page", what, Sample((max(pages),)), 0.5, at_most=True, unit="s")
    more = Sample((peaks["many"] - peaks["few"],))
    sides = {name: (Sample((size,)), "MiB") for name, size in peaks.items()}
    what = f"resident memory that the service takes more for {files:,} series than for a hundredth of them"
    yield Figure("served_memory", what, more, 64, at_most=True, unit="MiB", sides=sides)


class _Served:
    """A folder of series, and the service over it."""

    def __init__(self, folder: Path, count: int) -> None:
        self.data = folder / "data"
        self._state, self._socket = folder / "state", folder / "api.sock"
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(self._socket)), base_url=f"http://data{PREFIX}", timeout=_WAIT_SECONDS
        )
        _, rows = many_series.rows_of(count)
        self._numbers = itertools.count()
        self.index = DatasetIndex(self._state / "datasets" / "many.sqlite")
        many_series.fill(self.index, rows, self._file, lambda: folder_state(self.data, StopFlag()).fingerprint)

    def _file(self, series: str) -> Entry:
        number = next(self._numbers)
        path = f"{number // _OF_FOLDER:05}/{series}"
        if number % _OF_FOLDER == 0:
            (self.data / path).parent.mkdir(parents=True)
        os.close(os.open(self.data / path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        return entry_of(path.encode(), (self.data / path).stat())

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Yields what tells how much memory it has held at most, in MiB."""
        settings = self.data.parent / "data-api.toml"
        settings.write_text(
            f'state = "{self._state}"\nsocket = "{self._socket}"\nfloor = 1\n[datasets.many]\npath = "{self.data}"\n'
        )
        program = (
            f"from pathlib import Path; from fedproc.site.data_api.daemon import serve; serve(Path({str(settings)!r}))"
        )
        process = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
        try:
            self._wait_until_offered()
            yield lambda: _peak(process.pid)
        finally:
            process.terminate()
            process.wait()

    def _wait_until_offered(self) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while time.monotonic() < until:
            try:
                if self._client.get("/datasets").json()["datasets"]:
                    return
            except httpx.TransportError:
                pass  # it does not listen yet
            time.sleep(0.2)
        raise RuntimeError("the service offers no dataset")

    def timed(self, rounds: int, body: dict[str, Any]) -> Sample:
        return Sample(tuple(self.freeze(body)[0] for _ in range(rounds)))

    def freeze(self, body: dict[str, Any]) -> tuple[float, str]:
        """The seconds that it takes, and the cohort's id; one that takes long is asked for again, as clients do."""
        began = time.monotonic()
        while (answer := self._client.post("/datasets/many/cohorts", json=body)).status_code == 503:
            time.sleep(0.1)
        answer.raise_for_status()
        return time.monotonic() - began, str(answer.json()["id"])

    def pages(self, cohort: str) -> list[float]:
        """The seconds of each page of its files."""
        found, after = list[float](), dict[str, str]()
        while True:
            began = time.monotonic()
            page = self._client.get(f"/cohorts/{cohort}/files", params=after).raise_for_status().json()
            found.append(time.monotonic() - began)
            if page.get("next") is None:
                return found
            after = {"after": page["next"]}


def _peak(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
