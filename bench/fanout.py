"""One experiment on very many hosts, beside raw publishing to the same queues."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import ssl
import time
import tomllib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from joserfc.jwk import ECKey

from bench.figures import Figure
from bench.measure import Sample, side_by_side
from bench.running import Running
from fedproc.common.amqp import BrokerAddress, ClosedByBrokerError, PublishingChannel, Session
from fedproc.common.keys import public_jwk
from fedproc.contract.api.experiments import ExperimentRequest
from fedproc.contract.api.hosts import HostEnrolment
from fedproc.contract.wire import routing
from fedproc.demo.polling import wait_until

_LOOK = 0.002
_PATIENCE = 300


def figure(running: Running, *, quick: bool) -> Figure:
    """Enrols the hosts, which nobody plays: what is published stays in their queues."""
    count, rounds = (100, 3) if quick else (1000, 5)
    hosts = [f"FAN{number:04}" for number in range(count)]
    _enrol(running, hosts)
    books = sqlite3.connect(f"file:{running.folder}/central/central.sqlite?mode=ro", uri=True, check_same_thread=False)
    with asyncio.Runner() as loop:
        raw = _Raw(running, hosts)
        loop.run(raw.open())
        wait_until(lambda: loop.run(raw.is_declared(hosts[-1])), _PATIENCE, "the relay does not declare the queues")
        _fan_out(running, books, hosts)
        raw.size = _size_of_a_message(books, hosts)
        ours, bare = side_by_side(
            rounds, lambda: _fan_out(running, books, hosts), lambda: loop.run(raw.publish()), warm=1
        )  # fmt: skip
        loop.run(raw.close())
    rates = [Sample(tuple(count / seconds for seconds in sample.values)) for sample in (ours, bare)]
    return Figure(
        "fan_out",
        f"one experiment fanned out to {count:,} queues, from `POST /experiments` to the last confirm, messages/s ÷ "
        "raw publish with confirms",
        rates[0].over(rates[1]),
        0.5,
        at_most=False,
        sides={"fedproc": (rates[0], "/s"), "raw": (rates[1], "/s")},
    )


def _enrol(running: Running, hosts: Sequence[str]) -> None:
    key = public_jwk(ECKey.generate_key("P-256"))
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(lambda host: running.operator.enrol(host, HostEnrolment(roles=["compute"], public_key=key)), hosts)
        )


def _fan_out(running: Running, books: sqlite3.Connection, hosts: Sequence[str]) -> None:
    """Until the last message of the experiment is confirmed by the broker."""
    experiment = running.researcher.run(ExperimentRequest(tool="noop", hosts=list(hosts))).id
    until = time.monotonic() + _PATIENCE
    query = "SELECT count(*) FROM outbox WHERE sent IS NULL"
    while books.execute(query).fetchone()[0]:
        if time.monotonic() > until:
            raise TimeoutError(f"experiment {experiment} was not fanned out in {_PATIENCE} s")
        time.sleep(_LOOK)


def _size_of_a_message(books: sqlite3.Connection, hosts: Sequence[str]) -> int:
    """Of a job message as it is on the wire, near enough: base64 of its JSON in an envelope with a signature.

    The relay puts in the hosts of the experiment, which the outbox does not repeat in every row.
    """
    (body,) = books.execute("SELECT message FROM outbox WHERE kind = 'job' ORDER BY id DESC LIMIT 1").fetchone()
    put_in = json.dumps({"hosts": {"nothing": hosts}}, separators=(",", ":"))
    return (len(body) + len(put_in) + 220) * 4 // 3 + 250


class _Raw:
    """A publisher that does nothing but publish, all at once, and wait for the confirms."""

    def __init__(self, running: Running, hosts: Sequence[str]) -> None:
        self._running = running
        self._hosts = hosts
        self._session: Session
        self._channel: PublishingChannel
        self.size = 0

    async def open(self) -> None:
        broker = tomllib.loads((self._running.folder / "central.toml").read_text())["broker"]
        context = ssl.create_default_context(cafile=broker["ca_file"])
        user = broker.get("client_id", "fedproc-relay")
        address = BrokerAddress(broker["host"], broker["port"], "/", user, "bench", context)
        self._session = await Session.open(address, self._token)
        self._channel = await self._session.publishing_channel()

    async def _token(self) -> tuple[str, float]:
        return self._running.relay_token(), 300.0

    async def is_declared(self, host: str) -> bool:
        channel = await self._session.channel()
        try:
            await channel.waiting(routing.events_queue(host))
        except ClosedByBrokerError:
            return False
        await channel.close()
        return True

    async def publish(self) -> None:
        body = b"x" * self.size
        await asyncio.gather(*(self._channel.publish(routing.JOBS, host, body) for host in self._hosts))

    async def close(self) -> None:
        await self._session.close()
