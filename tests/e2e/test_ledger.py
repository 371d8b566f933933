"""Two counts of nearly the same patients, one after the other, through API, broker, orchestrator and sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.running import Running

from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation

HOST, NAME = "BSC", "breast-cohort"
DATASET = f"{HOST}:{NAME}"


def version(running: Running) -> str:
    return running.researcher.dataset(DATASET).version


@contextmanager
def without_the_last(table: Path, running: Running) -> Iterator[None]:
    """One patient opts out, and the host has seen it; then all is as before."""
    content, before = table.read_text(), version(running)
    table.write_text("".join(content.splitlines(keepends=True)[:-1]))
    try:
        wait_until(lambda: version(running) != before, 150, "the host does not offer the new version", pause=1)
        yield
    finally:
        table.write_text(content)
        wait_until(lambda: version(running) == before, 150, "the host does not offer what it did", pause=1)


def test_count_of_all_but_one_waits_and_that_of_all_leaves_again(running: Running) -> None:
    (table,) = (running.folder / "data" / HOST / NAME).glob("*.csv")
    job = f"count@{HOST}"
    first = running.start("row-count", datasets=[DATASET])
    running.end(first)
    assert running.jobs(first)[job].state == "succeeded"
    with without_the_last(table, running):
        fewer = running.start("row-count", datasets=[DATASET])
        running.wait_for(fewer, job, "awaiting_release")
        assert running.researcher.results(fewer.id) == []
        running.researcher.cancel(fewer.id)
        running.end(fewer)
    again = running.start("row-count", datasets=[DATASET])
    running.end(again)
    assert running.jobs(again)[job].state == "succeeded"
