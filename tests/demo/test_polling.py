"""Ports that nobody has, and that nobody gets before the program they are for; and waiting for that program."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.demo import polling
from fedproc.demo.polling import free_ports, wait_for_start


def test_free_ports_are_none_that_an_outgoing_connection_may_get() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    with socket.socket() as taken:
        (port,) = free_ports(1)
        taken.bind(("127.0.0.1", port))
        found = free_ports(500)
    assert len(set(found)) == 500
    assert port not in found
    assert max(found) < first


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Each pause is of ten seconds."""
    now = [100.0]
    monkeypatch.setattr(polling.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(polling.time, "sleep", lambda _: now.__setitem__(0, now[0] + 10))
    return now


def test_start_that_takes_long_says_what_it_waits_for(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_START_SECONDS", "100")
    said: list[str] = []
    with pytest.raises(UnavailableError, match=r"^the broker is silent; load \d+ on \d+ CPUs; DEMO_START_SECONDS=200 "):
        wait_for_start(lambda: False, "the broker is silent", said.append)
    assert clock[0] == 210
    assert [text.partition(" (")[0] for text in said] == [
        "still waiting, for at most 70 s more: the broker is silent",
        "still waiting, for at most 10 s more: the broker is silent",
    ]


def test_start_that_is_there_says_nothing(clock: list[float]) -> None:
    said: list[str] = []
    wait_for_start(lambda: clock[0] > 110, "the broker is silent", said.append)
    assert said == []


@pytest.mark.parametrize("named", ["0", "-1", "soon", "1e9"])
def test_start_for_no_number_of_seconds_is_refused(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEMO_START_SECONDS", named)
    with pytest.raises(InvalidInputError, match="DEMO_START_SECONDS is a number of seconds"):
        wait_for_start(lambda: True, "x")
