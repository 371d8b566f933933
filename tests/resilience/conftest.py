"""One federation for all tests here; each test leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.needs import needs
from tests.support.running import Running, federation

from fedproc.demo.broker import other_root, version
from fedproc.demo.polling import wait_until

CLOCK_HOST = "FORTH"
TALLY = Path(__file__).parent / "tools" / "tally"


def pytest_report_header() -> str:
    return f"broker: RabbitMQ {version(other_root())}"


@pytest.fixture(scope="session")
@needs("needs_federation")
def federation_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("federation")
    faked = {f"orchestrator-{CLOCK_HOST}": fake_clock(folder / "clock")}
    with federation(folder, TALLY.parent, environments=faked) as made:
        yield made


def fake_clock(file: Path) -> dict[str, str]:
    """The environment of a program whose wall clock is as far off as ``file`` says; without the file it is right."""
    (library,) = Path("/usr/lib").glob("*/faketime/libfaketime.so.1")
    return {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(file),
        "FAKETIME_NO_CACHE": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }


@pytest.fixture
def running(federation_for_all: Running) -> Iterator[Running]:
    yield federation_for_all
    wait_until(federation_for_all.works, 60, "the test left a federation that does not work")
