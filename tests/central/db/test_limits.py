"""A database that does not answer is told, and waited for no longer than that."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.support.postgres import Postgres

from fedproc.central.api.problems import from_error
from fedproc.central.db import engine as engine_module
from fedproc.central.db.engine import connect, read_transaction, write_transaction
from fedproc.common.errors import UnavailableError


@pytest.fixture
def silent() -> Iterator[int]:
    """A port where whoever connects hears nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        yield listening.getsockname()[1]


@pytest.mark.slow
def test_a_server_that_says_nothing_is_given_up(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert engine_module.CONNECT_SECONDS <= 15
    monkeypatch.setattr(engine_module, "CONNECT_SECONDS", 2)
    began = time.monotonic()
    with (
        pytest.raises(UnavailableError, match="database") as caught,
        read_transaction(connect(f"postgresql+psycopg://x@127.0.0.1:{silent}/x")),
    ):
        pass
    assert caught.value.code == "unavailable.database"
    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_what_the_url_says_of_a_limit_counts(silent: int) -> None:
    began = time.monotonic()
    with (
        pytest.raises(UnavailableError),
        read_transaction(connect(f"postgresql+psycopg://x@127.0.0.1:{silent}/x?connect_timeout=2")),
    ):
        pass
    assert time.monotonic() - began < 8


def test_lock_of_sqlite_that_others_hold_is_told_as_a_busy_centre(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BUSY_MS", 1)
    url = f"sqlite:///{tmp_path}/central.db"
    with write_transaction(connect(url)) as holder:
        holder.execute(text("CREATE TABLE t (n INTEGER)"))
        with pytest.raises(UnavailableError) as caught, write_transaction(connect(url)):
            pass
    assert caught.value.message.startswith("the centre is busy: others have been writing all the while; nothing was")
    answer = from_error(caught.value)
    assert (answer.status_code, answer.headers["Retry-After"], b"locked" in answer.body) == (503, "2", False)


def test_a_statement_that_takes_too_long_is_ended(postgres: Postgres) -> None:
    url = postgres.new_database()
    engine = connect(url, statement_seconds=0.3)
    for transaction in (read_transaction, write_transaction):
        with pytest.raises(UnavailableError, match="statement timeout"), transaction(engine) as connection:
            connection.execute(text("SELECT pg_sleep(20)"))
    with read_transaction(connect(url)) as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "1min"
    with read_transaction(connect(url, statement_seconds=0)) as connection:
        assert connection.execute(text("SHOW statement_timeout")).scalar() == "0"


def test_who_gets_no_connection_is_told(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "POOL_SECONDS", 0.2)
    engine = connect(postgres.new_database())
    with contextlib.ExitStack() as all_of_them:
        for _ in range(20):
            all_of_them.enter_context(read_transaction(engine))
        with pytest.raises(UnavailableError, match="no connection to the central database") as caught:
            all_of_them.enter_context(read_transaction(engine))
    assert caught.value.code == "unavailable.database"
    engine.dispose()
