"""What it costs to bring data to a job: a series of a real PACS beside plain HTTP, and a layout of 50,000 files."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
from tests.site.data.dicom_files import image, uid, written
from tests.support.orthanc import PASSWORD, USER, Orthanc, running_orthanc

from bench import many_series, served_series
from bench.figures import Figure, Missing, Result
from bench.measure import Sample, seconds_of, side_by_side
from fedproc.common.tasks import StopFlag
from fedproc.site.data.cohort import Cohort, CohortFile, keep_cohort
from fedproc.site.data.layout import Layout, below
from fedproc.site.data.reading import FileReader
from fedproc.site.data.remote.dicomweb import DicomWeb
from fedproc.site.data.remote.file_store import Store
from fedproc.site.data.remote.http import RemoteHttp
from fedproc.site.data.remote.series_fetch import Receiver, Wanted
from fedproc.site.dataset_settings import AccessSettings, FetchingSettings

_ROWS = 512
_WADO = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*', "Accept-Encoding": "identity"}


def figures(*, quick: bool) -> Iterator[Result]:
    """A series by the store beside the same answer into one file; memory; a layout by hard links."""
    slices, rounds, files = (60, 3, 5_000) if quick else (300, 5, 50_000)
    with tempfile.TemporaryDirectory(prefix="fedproc-bench-data-") as name:
        folder = Path(name)
        yield _layout(folder, files)
        yield many_series.figure(folder, 20_000 if quick else 1_100_000)
        yield from served_series.figures(folder / "served", 20_000 if quick else 1_000_000)
        try:
            with running_orthanc() as orthanc:
                orthanc.put(_slices(slices, "many"))
                orthanc.put(_slices(slices // 10, "few"))
                yield _series(orthanc, folder, slices, rounds)
                yield _memory(orthanc, folder, slices)
        except RuntimeError as error:
            yield Missing("pacs", str(error))


def _slices(count: int, name: str) -> Iterator[bytes]:
    ids = {"StudyInstanceUID": uid(name), "SeriesInstanceUID": uid(f"series {name}"), "Rows": _ROWS, "Columns": _ROWS}
    for number in range(count):
        pixels = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelData": os.urandom(2 * _ROWS * _ROWS)}
        yield written(image(**ids, SOPInstanceUID=uid(f"{name} {number}"), **pixels))


def _wanted(orthanc: Orthanc, name: str, count: int) -> Wanted:
    instances = frozenset(uid(f"{name} {number}") for number in range(count))
    return Wanted(orthanc.url, uid(name), uid(f"series {name}"), instances)


def _series(orthanc: Orthanc, folder: Path, slices: int, rounds: int) -> Figure:
    wanted, auth = _wanted(orthanc, "many", slices), (USER, PASSWORD)
    url = f"{orthanc.url}/studies/{wanted.study}/series/{wanted.series}"

    def plain() -> None:
        with httpx.stream("GET", url, headers=_WADO, auth=auth, timeout=60, trust_env=False) as answer:
            with (folder / "plain").open("wb") as target:
                for chunk in answer.iter_raw():
                    target.write(chunk)

    def by_store() -> None:
        fetch(wanted, _user_file(folder), folder / uuid.uuid4().hex)

    ours, theirs = side_by_side(rounds, by_store, plain)
    sides = {"ours": (ours, "s"), "plain": (theirs, "s")}
    return Figure("series", f"{slices} slices from Orthanc, plain HTTP / ours", theirs.over(ours), 0.3, at_most=False,
                  sides=sides)  # fmt: skip


def _memory(orthanc: Orthanc, folder: Path, slices: int) -> Figure:
    """How much more a process holds at most that fetches ten times as many slices."""
    peaks = {}
    for name, count in (("few", slices // 10), ("many", slices)):
        arguments = [orthanc.url, name, str(count), str(_user_file(folder)), str(folder / f"store-{name}")]
        done = subprocess.run([sys.executable, "-m", "bench.data", *arguments], capture_output=True, check=True)
        peaks[name] = int(done.stdout) / 1024
    more = Sample((peaks["many"] - peaks["few"],))
    sides = {name: (Sample((size,)), "MiB") for name, size in peaks.items()}
    what = f"resident memory that {slices} slices take more than {slices // 10}"
    return Figure("series_memory", what, more, 8, at_most=True, unit="MiB", sides=sides)


def _layout(folder: Path, count: int) -> Figure:
    source, cohort = folder / "source", folder / "cohort"
    files = []
    for number in range(count):
        path = source / f"{number // 500:03}" / f"{number:05}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        found = path.stat()
        relative = os.fsencode(path.relative_to(source))
        files.append(CohortFile(relative, 1, found.st_mtime_ns, found.st_ino, bytes(32)))
    keep_cohort(cohort, Cohort("d", "v", "v", count, count, 1, 0), files)
    layouts = iter(range(100))

    def lay() -> None:
        Layout(below(source), cohort, folder / f"laid-{next(layouts)}").make(lambda *_: None, StopFlag())

    sample = Sample(tuple(seconds_of(lay) for _ in range(3)))
    return Figure("layout", f"{count:,} files laid out by links", sample, 2, at_most=True, unit="s")


def _user_file(folder: Path) -> Path:
    path = folder / "user"
    path.write_text(f"{USER}:{PASSWORD}")
    path.chmod(0o600)
    return path


def fetch(wanted: Wanted, user_file: Path, store: Path) -> None:
    """A series into a new store, as an orchestrator does it."""
    access, fetching = AccessSettings(user_file=user_file), FetchingSettings()
    with RemoteHttp(wanted.source, access, fetching, StopFlag()) as http:
        reader = FileReader()
        read = partial(reader.read, flag=StopFlag())
        try:
            Receiver(DicomWeb(http), Store(store, 10**12), wanted, 1 << 32, read, lambda _: None).fetch()
        finally:
            reader.end()


if __name__ == "__main__":
    source, name, count, user, store = sys.argv[1:]
    instances = frozenset(uid(f"{name} {number}") for number in range(int(count)))
    fetch(Wanted(source, uid(name), uid(f"series {name}"), instances), Path(user), Path(store))
    # not getrusage's, which has what the process was forked from in it
    [peak] = [
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    ]
    sys.stdout.write(peak)
