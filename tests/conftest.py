"""What a test needs is told by markers (pyproject.toml); most of them follow from its fixtures (``support/needs.py``).

A test without any of them is a unit test (``make unit``): it may not start a process, and is quick. Under
``pytest -n``, tests that share something costly share a worker, and those that take longest begin first.
"""

from __future__ import annotations

import gc
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import find, settings
from hypothesis.strategies import text
from tests.support.broker import running_broker
from tests.support.browser import browser  # noqa: F401 (a fixture)
from tests.support.examples import wanted
from tests.support.needs import needs, needs_of

from fedproc.demo.broker import BrokerPlan
from fedproc.demo.data import SHARES, write_datasets
from fedproc.demo.imaging import write_images
from fedproc.demo.keys import Keyring

# a busy machine is no fault of what is tested
settings.register_profile("patient", deadline=None, max_examples=wanted(100))
settings.load_profile("patient")

NEEDS = {
    "process", "server", "needs_root", "needs_broker", "needs_database", "needs_postgres", "needs_orthanc",
    "needs_engine", "needs_federation", "needs_browser", "slow",
}  # fmt: skip
WHOLE = re.compile(r"^pytestmark = .*pytest\.mark\.(" + "|".join(sorted(NEEDS)) + ")", re.MULTILINE)
"""in a module of which every test needs something"""
SHARED = {
    "federation": re.compile(r"tests/e2e/"),
    "engine": re.compile(r"tests/site/(tools/|executors/.*\[docker)"),
    "broker": re.compile(r"tests/(common/amqp/|site/centre/test_(broker_access|egress)\.py)"),
    **{
        backend: re.compile(rf"tests/site/executors/.*\[{backend}[-\]]")
        for backend in ("kubernetes", "slurm", "podman", "apptainer", "image", "sandbox")
    },
}
"""By their ids: tests that share something costly share a worker, as those of one file do."""
UNIT_SECONDS = 0.1
"""CPU time that a unit test takes at most in ``make unit``, where nothing else runs; what takes more is ``slow``."""
PATIENCE = 10
"""so many times that it is let pass with a warning: first uses, odd examples, a machine on which other things run"""
STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system"}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """``-m unit`` does not even import a module without a unit test, which would take as long as they do."""
    if config.option.markexpr != "unit":
        return None
    modules = [collection_path] if collection_path.is_file() else list(collection_path.rglob("test_*.py"))
    return (bool(modules) and all(WHOLE.search(module.read_text()) for module in modules)) or None


def pytest_collection() -> None:
    """Most of what is imported stays: to look through it again and again for garbage takes a tenth of ``make unit``."""
    gc.disable()


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.option.markexpr == "unit":
        find(text(min_size=1), bool)  # the first text in a checkout makes hypothesis' table of characters: a second
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        own = {mark.name for mark in item.iter_markers()} & NEEDS
        for need in (needs_of(item) or {"unit"}) if not own else needs_of(item):
            item.add_marker(need)
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    """What takes longest comes first, so that no worker has it left when the others are done."""
    first = (*SHARED, "slow")
    group = "slow" if item.get_closest_marker("slow") else _group(item.nodeid)
    return first.index(group) if group in first else len(first)


def _group(nodeid: str) -> str:
    return next((name for name, ids in SHARED.items() if ids.match(nodeid)), nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Sends whole groups to a worker."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid)

    return ByGroup(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    _running[:] = [item] if item.get_closest_marker("unit") else []
    try:
        return (yield)
    finally:
        _running.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown() -> None:
    """What the session has started for other tests may end with this one."""
    _running.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    began = time.process_time()
    result = yield
    taken = time.process_time() - began
    if taken > UNIT_SECONDS and item.config.option.markexpr == "unit":
        told = f"a unit test took {taken:.1f} s of CPU: mark {item.nodeid} with 'slow'"
        if taken > UNIT_SECONDS * PATIENCE:
            raise AssertionError(told)
        item.warn(pytest.PytestWarning(told))
    return result


_running: list[pytest.Item] = []
"""the unit test that runs"""


def _refuse_processes(event: str, _: object) -> None:
    if _running and event in STARTS:
        raise AssertionError(f"a unit test starts a process: mark {_running[0].nodeid} with 'process'")


sys.addaudithook(_refuse_processes)


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keyring:
    ring = Keyring(tmp_path_factory.mktemp("keys"))
    assert ring.ca_file.exists()
    return ring


@pytest.fixture(scope="session")
@needs("needs_broker")
def broker(keys: Keyring, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerPlan]:
    """A RabbitMQ node for all tests of the session; it takes tokens that the key ``issuer`` signed."""
    with running_broker(tmp_path_factory.mktemp("broker"), keys) as plan:
        yield plan


@pytest.fixture(scope="session")
@needs("slow")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's datasets, laid out as a host lays them out: ``HOST/INPUT/DATASET``."""
    made, root = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("data")
    write_datasets(made)
    write_images(made)
    for host in SHARES:
        for dataset in ("breast-cohort", "wisconsin", "synthetic-lesions"):
            shutil.copytree(made / host / dataset, root / host / dataset / dataset)
    return root
