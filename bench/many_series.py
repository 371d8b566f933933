"""Selections over an index of a million series.

The rows are those of the NCI Imaging Data Commons, of real patients, studies and scanners, where ``FEDPROC_IDC_SERIES``
names them as CSV (docs/bench.md says how it is made); else they are made up, and are called so. The index is filled as
a pass fills it, and no file is written or read.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from tests.site.data.dicom_files import uid

from bench.figures import Figure
from bench.measure import Sample, seconds_of
from fedproc.common.tasks import StopFlag
from fedproc.contract.wire.selection import Selection
from fedproc.site.data.cohort import choose
from fedproc.site.data.dicom import Instance
from fedproc.site.data.examining import Examined
from fedproc.site.data.index import DatasetIndex, conclude, keep, next_pass
from fedproc.site.data.walking import FILE, Entry

SOURCE = "FEDPROC_IDC_SERIES"
_BATCH = 20_000


def figure(folder: Path, count: int, rounds: int = 3) -> Figure:
    """How long the slowest of some selections takes, each kept as a cohort: of a person, a series, a query."""
    name, rows = rows_of(count)
    index = DatasetIndex(folder / "series.sqlite")
    fill(index, rows, lambda series: Entry(series.encode(), FILE, 1))
    asked, files = selections(index)

    def select(selection: Selection) -> None:
        with index.readonly() as db:
            choose(db, "many", "v", selection, folder / "selected.jsonl", StopFlag())

    found = {
        what: Sample(tuple(seconds_of(lambda chosen=chosen: select(chosen)) for _ in range(rounds)))  # type: ignore[misc]
        for what, chosen in asked.items()
    }
    slowest = max(found.values(), key=lambda sample: sample.median)
    sides = {what: (sample, "s") for what, sample in found.items()}
    return Figure(
        "series_query", f"a selection from {files:,} {name}", slowest, 0.5, at_most=True, unit="s", sides=sides
    )


def selections(index: DatasetIndex) -> tuple[dict[str, Selection], int]:
    """What is asked of an index, and how many files it has."""
    with index.readonly() as db:
        patient, series, files = db.execute(
            "SELECT MIN(patient), MIN(series), (SELECT COUNT(*) FROM files) FROM series"
        ).fetchone()
    asked = {
        "person": Selection(patient=(patient,)), "series": Selection(series=(series,)),
        "query": Selection(modality=("US",), sex=("F",), age_from=40, age_to=60),
    }  # fmt: skip
    return asked, files


def rows_of(count: int) -> tuple[str, Iterator[Mapping[str, str]]]:
    if source := os.environ.get(SOURCE):
        return "series of idc-index-data", islice(_read(Path(source)), count)
    return "synthetic series", _made_up(count)


def _read(path: Path) -> Iterator[Mapping[str, str]]:
    with path.open(newline="") as table:
        yield from csv.DictReader(table)


def _made_up(count: int) -> Iterator[Mapping[str, str]]:
    """As many persons and studies for each series as the real ones have, from one seed."""
    chance = random.Random(1)
    for number in range(count):
        yield {
            "PatientID": f"SYNTHETIC-{number // 12}", "StudyInstanceUID": uid(f"study {number // 6}"),
            "SeriesInstanceUID": f"2.25.{chance.getrandbits(100)}", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
            "Modality": chance.choice(("CT", "CT", "MR", "SM", "CR", "PT", "US")),
            "BodyPartExamined": chance.choice(("CHEST", "BREAST", "PROSTATE", "BRAIN", "")),
            "Manufacturer": chance.choice(("ACME", "Another", "Third")), "PatientSex": chance.choice("FM"),
            "PatientAge": f"{chance.randrange(18, 95):03}Y", "StudyDate": f"{chance.randrange(2000, 2025)}-01-01",
        }  # fmt: skip


def fill(
    index: DatasetIndex,
    rows: Iterator[Mapping[str, str]],
    place: Callable[[str], Entry],
    fingerprint: Callable[[], str] = lambda: "",
) -> None:
    """As a pass does that found each series' file where ``place`` says."""
    with index.opened() as db:
        number = next_pass(db)
        while batch := list(islice(rows, _BATCH)):
            db.execute("BEGIN IMMEDIATE")
            for row in batch:
                keep(db, _examined(row, place), number)
            db.execute("COMMIT")
        conclude(db, fingerprint(), number)


def _examined(row: Mapping[str, str], place: Callable[[str], Entry]) -> Examined:
    series, age = row["SeriesInstanceUID"], row["PatientAge"] or ""
    years = float(age[:3]) if age[:3].isdecimal() and age.endswith("Y") else None
    instance = Instance(
        row["PatientID"], row["StudyInstanceUID"], series, f"{series}.1", row["SOPClassUID"], row["Modality"],
        row["BodyPartExamined"], row["Manufacturer"], row["PatientSex"], years, row["StudyDate"] or None,
    )  # fmt: skip
    return Examined(place(series), bytes(32), instance)
