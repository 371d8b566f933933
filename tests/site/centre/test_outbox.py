"""What a host tells: everything is confirmed or kept, and a snapshot gives way to a newer one of its job."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from unittest.mock import AsyncMock

import pytest
from joserfc.jwk import ECKey

from fedproc.common.errors import UnavailableError
from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import CENTRAL, verify
from fedproc.site.centre.identity import Clock
from fedproc.site.centre.outbox import OutboxPublisher
from fedproc.site.centre.signals import OutboxSignal
from fedproc.site.journal import Outgoing

KEY = ECKey.generate_key("P-256")


class Identity:
    signer, host, clock = Signer(KEY), "UB", Clock()


class Journal:
    def __init__(self, *messages: tuple[str, dict[str, Any]]) -> None:
        self.kept = [Outgoing(n, kind, json.dumps(body)) for n, (kind, body) in enumerate(messages, 1)]

    async def outgoing(self, after: int, limit: int) -> list[Outgoing]:
        return list(self.kept)

    async def confirmed(self, ids: list[int]) -> None:
        self.kept = [entry for entry in self.kept if entry.id not in ids]


class Broker:
    def __init__(self, refused: str = "") -> None:
        self.connected = asyncio.Event()
        self.connected.set()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self._refused = refused

    async def publish(self, kind: str, body: bytes) -> None:
        envelope = json.loads(verify(body, {KEY.thumbprint(): KEY}, typ="fedproc-message+jws"))
        assert envelope["aud"] == CENTRAL
        if envelope["body"].get("state") == self._refused:
            raise UnavailableError("away")
        self.told.append((kind, envelope["body"]))


def snapshot(job: str, sequence: int, state: str) -> tuple[str, dict[str, Any]]:
    return "snapshot", {"job": job, "sequence": sequence, "state": state}


def record(job: str, sequence: int) -> tuple[str, dict[str, Any]]:
    return "record", {"job": job, "stream": "stdout", "sequence": sequence}


async def ran(journal: Journal, broker: Broker, *awaited: str, left: int = 0) -> None:
    """Let the publisher run until the journal keeps no more than that."""
    signal = OutboxSignal()
    publisher = OutboxPublisher(journal, broker, Identity(), signal)  # type: ignore[arg-type]
    running = asyncio.create_task(publisher.run())
    for job in awaited:
        signal.publish(job)
    async with asyncio.timeout(60):
        while len(journal.kept) > left:
            await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.slow
async def test_of_a_jobs_snapshots_that_wait_only_the_newest_goes_and_every_record_does() -> None:
    messages = (
        snapshot("a", 1, "accepted"),
        record("a", 1),
        snapshot("b", 1, "accepted"),
        snapshot("a", 2, "running"),
        record("a", 2),
        snapshot("a", 3, "collecting"),
        ("unread", {"queue": "jobs.UB"}),
    )
    journal, broker = Journal(*messages), Broker()
    await ran(journal, broker)
    assert broker.told == [messages[n] for n in (1, 2, 4, 5, 6)]
    assert journal.kept == []


@pytest.mark.slow
async def test_what_the_broker_does_not_take_is_kept_with_all_that_it_stands_for() -> None:
    messages = (snapshot("a", 1, "accepted"), record("a", 1), snapshot("b", 1, "accepted"), snapshot("a", 2, "running"))
    journal, broker = Journal(*messages), Broker(refused="running")
    await ran(journal, broker, left=2)
    assert broker.told == [messages[1], messages[2]]
    assert [entry.id for entry in journal.kept] == [1, 4]


@pytest.mark.slow
async def test_what_somebody_waits_for_goes_at_once_and_jobs_that_go_on_wait_for_more() -> None:
    messages = (
        snapshot("a", 1, "running"),
        record("a", 1),
        snapshot("b", 1, "running"),
        snapshot("b", 2, "succeeded"),
        ("unread", {"queue": "jobs.UB"}),
    )
    journal, broker = Journal(*messages), Broker()
    await ran(journal, broker, "b", left=2)
    assert broker.told == [messages[3], messages[4]]
    assert [entry.id for entry in journal.kept] == [1, 2]
    await ran(journal, broker)
    assert broker.told[2:] == [messages[0], messages[1]]
    assert journal.kept == []


def _long(*, outputs: int) -> list[dict[str, str]]:
    return [{"path": "p" * 1_000_000}] * outputs


@pytest.mark.slow
async def test_a_snapshot_that_nobody_could_read_goes_without_its_lists_and_still_ends_the_job() -> None:
    kind, large = snapshot("a", 3, "succeeded")
    journal = Journal((kind, large | {"outputs": _long(outputs=20)}), snapshot("b", 1, "accepted"))
    broker = Broker()
    await ran(journal, broker)
    told = {body["job"]: body for _, body in broker.told}
    assert (told["a"]["state"], told["a"]["code"], told["a"]["sequence"]) == ("error", "system_fault.too_large", 3)
    assert "16.00 MiB" in told["a"]["reason"]
    assert "outputs" not in told["a"]
    assert told["b"]["state"] == "accepted"
    assert journal.kept == []


@pytest.mark.slow
async def test_a_record_that_nobody_could_read_keeps_nothing_back() -> None:
    kind, large = record("a", 1)
    journal, broker = Journal((kind, large | {"lines": ["x" * 1_000_000] * 20}), record("a", 2)), Broker()
    await ran(journal, broker)
    assert broker.told == [record("a", 2)]
    assert journal.kept == []


@pytest.mark.slow
@pytest.mark.parametrize("broken", ["{", "[1]", "[" * 100_000, '{"job": "\udcff"}'])
async def test_message_that_cannot_be_read_keeps_no_other_from_going(broken: str) -> None:
    journal, broker = Journal(snapshot("j-1", 1, "running"), record("j-1", 1)), Broker()
    journal.kept.insert(1, Outgoing(9, "record", broken))
    await ran(journal, broker)
    assert [kind for kind, _ in broker.told] == ["snapshot", "record"]


async def test_what_was_due_when_something_unforeseen_came_is_due_again() -> None:
    journal, broker, signal = Journal(snapshot("a", 1, "succeeded")), Broker(), OutboxSignal()
    publisher = OutboxPublisher(journal, broker, Identity(), signal)  # type: ignore[arg-type]
    signal.publish_now()
    broker.publish = AsyncMock(side_effect=KeyError("unforeseen"))  # type: ignore[method-assign]
    with pytest.raises(KeyError):
        await publisher.run()
    async with asyncio.timeout(10):
        assert await signal.due() is None
