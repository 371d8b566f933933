"""A notification that gets lost is no harm."""

from __future__ import annotations

import pytest
from sqlalchemy import create_engine

from fedproc.central.notify import PostgresNotifier
from fedproc.demo.polling import free_ports


def test_a_database_that_is_away_does_not_end_who_notifies(caplog: pytest.LogCaptureFixture) -> None:
    (nobody,) = free_ports(1)
    PostgresNotifier(create_engine(f"postgresql+psycopg://x@127.0.0.1:{nobody}/x")).publish("events")
    assert "notification.lost" in caplog.text
