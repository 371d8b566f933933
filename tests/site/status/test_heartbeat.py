"""The heartbeat: signed by the centre's time, and sent even where there is too much to tell."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey

from fedproc.common.keys import Signer
from fedproc.contract.times import now
from fedproc.contract.wire import jws
from fedproc.contract.wire.datasets import OfferedDataset
from fedproc.contract.wire.messages import Capacity, Heartbeat
from fedproc.site.centre.identity import Clock
from fedproc.site.status.heartbeat import HeartbeatSender

KEY = ECKey.generate_key("P-256")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sender(clock: Clock) -> HeartbeatSender:
    services: Any = SimpleNamespace(
        identity=SimpleNamespace(signer=Signer(KEY), clock=clock), signals=SimpleNamespace(heartbeat=None)
    )
    unused: Any = None
    return HeartbeatSender(services, unused, unused, unused)


def heartbeat(datasets: int = 0) -> Heartbeat:
    capacity = Capacity(cpus=1, cpus_free=1, memory=1, memory_free=1, disk=1, disk_free=1)
    offered = tuple(OfferedDataset(id=f"d{n}", version="1", description="x" * 100_000) for n in range(datasets))
    return Heartbeat(
        host="UB", epoch="one", time=now(), interval=5, software="1", capacity=capacity, datasets=offered, open_jobs=7
    )


def test_it_is_signed_by_the_centres_time(sender: HeartbeatSender, clock: Clock) -> None:
    clock.compare(time.time() + 3600)
    envelope, _ = jws.unseal(sender._sealed(heartbeat()), Signer(KEY).trusted, aud=jws.CENTRAL)
    assert envelope.iat == pytest.approx(time.time() + 3600, abs=60)


@pytest.mark.slow
def test_a_host_with_too_much_to_offer_is_alive_all_the_same(sender: HeartbeatSender) -> None:
    _, said = jws.unseal(sender._sealed(heartbeat(datasets=200)), Signer(KEY).trusted, aud=jws.CENTRAL)
    assert isinstance(said, Heartbeat)
    assert (said.datasets, said.open_jobs) == ((), 7)
    assert "may have 4.00 MiB" in said.condition_text


@pytest.mark.parametrize("odd", ["\udcff", None])
async def test_a_host_whose_offers_cannot_be_told_is_alive_all_the_same(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, odd: str | None
) -> None:
    """A name that is no UTF-8; no thread to be had."""
    sent: list[bytes] = []
    whole = heartbeat()

    async def publish(_kind: str, body: bytes) -> None:
        sent.append(body)

    async def offers(_: HeartbeatSender) -> Heartbeat:
        if odd is None:
            raise RuntimeError("can't start new thread")
        return whole.model_copy(update={"condition_text": odd})

    monkeypatch.setattr(HeartbeatSender, "_heartbeat", offers)
    services: Any = SimpleNamespace(
        identity=SimpleNamespace(signer=Signer(KEY), clock=clock),
        signals=SimpleNamespace(heartbeat=None),
        settings=SimpleNamespace(host="UB", heartbeat_seconds=5),
        journal=SimpleNamespace(epoch="one"),
        pool=SimpleNamespace(capacity=lambda: whole.capacity),
        holds=SimpleNamespace(stopped=False, held="its disk is full"),
    )
    books: Any = SimpleNamespace(open_jobs=lambda: ["j-1"], digest=lambda: "")
    broker: Any = SimpleNamespace(publish=publish)
    await HeartbeatSender(services, books, broker, cast(Any, None))._send()
    _, said = jws.unseal(sent[0], Signer(KEY).trusted, aud=jws.CENTRAL)
    assert isinstance(said, Heartbeat)
    assert (said.condition, said.open_jobs) == ("holding", 1)
    assert said.condition_text == "its offers cannot be told; its log says why"
