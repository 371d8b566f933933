"""One federation for all tests here; each test leaves it whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.running import Running, federation

from fedproc.demo.waiting import wait_until

TALLY = Path(__file__).parent / "tools" / "tally"


@pytest.fixture(scope="session")
def federation_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with federation(tmp_path_factory.mktemp("federation"), TALLY.parent) as made:
        yield made


@pytest.fixture
def running(federation_for_all: Running) -> Iterator[Running]:
    yield federation_for_all
    wait_until(federation_for_all.works, 60, "the test left a federation that does not work")
