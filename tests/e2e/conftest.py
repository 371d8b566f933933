"""One federation for all tests here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.needs import needs
from tests.support.running import ROOT, Running, federation


@pytest.fixture(scope="session")
@needs("needs_federation")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("federation")
    with federation(folder, ROOT / "docs" / "examples", Path(__file__).parent / "tools") as made:
        yield made
