"""The running federation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.federation.browser import Browser
from tests.federation.centre import Centre
from tests.federation.machines import Machine
from tests.support.needs import needs

from fedproc.demo.containers import FOLDER


@pytest.fixture(scope="session")
@needs("needs_federation")
def centre() -> Iterator[Centre]:
    if not (FOLDER / "env").exists():
        pytest.fail("no federation runs: make federation starts one")
    made = Centre()
    yield made
    made.close()


@pytest.fixture(scope="session")
@needs("needs_federation")
def machine() -> Machine:
    """The centre's."""
    return Machine("centre")


@pytest.fixture
@needs("needs_federation")
def ub() -> Machine:
    return Machine("UB")


@pytest.fixture
@needs("needs_federation")
def bsc() -> Machine:
    return Machine("BSC")


@pytest.fixture
@needs("needs_federation")
def browser(centre: Centre) -> Iterator[Browser]:
    made = Browser(centre)
    yield made
    made.close()
