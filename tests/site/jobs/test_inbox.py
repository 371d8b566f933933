"""What becomes of a message that cannot be journalled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey
from tests.contract.wire.test_any_message import KEYS
from tests.site.jobs.test_any_order import sealed, to_host
from tests.support.orchestrator import SECONDS, Host, S, order

from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import Cancel, Finish, Proceed, Start, Wire
from fedproc.site.jobs import inbox as inbox_module
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.journal import Journal, JournalError


class Message:
    """What the broker hands over."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.began = time.monotonic()
        self.given_back_after: float | None = None

    def nack(self) -> None:
        self.given_back_after = time.monotonic() - self.began


async def refuse(*_: object) -> None:
    raise JournalError("no space left on device")


@pytest.mark.slow
@pytest.mark.parametrize("readable", [True, False])
async def test_it_goes_back_to_its_queue_after_a_pause(readable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "_REDELIVERY_PAUSE", 0.2)
    key, reasons = ECKey.generate_key("P-256"), [""][:0]
    services: Any = SimpleNamespace(
        settings=SimpleNamespace(host="UB"),
        holds=SimpleNamespace(journal_fails=reasons.append),
        journal=SimpleNamespace(epoch="one", emit=refuse),
    )
    orchestrator: Any = SimpleNamespace(cancel=refuse)
    order = seal(Cancel(job="j-" + "0" * 26), Signer(key), iss=CENTRAL, aud="UB")
    message = Message(order if readable else b"not a message")
    await Inbox(services, orchestrator, cast(Any, None), {key.thumbprint(): key}).control(cast(Any, message))
    assert reasons == ["no space left on device"]
    assert message.given_back_after is not None
    assert message.given_back_after >= 0.2


async def test_message_that_something_unforeseen_meets_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_module, "_REDELIVERY_PAUSE", 0.001)

    async def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    key = ECKey.generate_key("P-256")
    services: Any = SimpleNamespace(settings=SimpleNamespace(host="UB"))
    message = Message(seal(Cancel(job="j-" + "0" * 26), Signer(key), iss=CENTRAL, aud="UB"))
    orchestrator: Any = SimpleNamespace(cancel=no_thread)
    await Inbox(services, orchestrator, cast(Any, None), {key.thumbprint(): key}).control(cast(Any, message))
    assert message.given_back_after is not None


class Delivered(Message):
    """One that notes whether it was acknowledged."""

    def __init__(self, body: Wire) -> None:
        super().__init__(sealed(to_host(body)))
        self.acknowledged = False

    def ack(self) -> None:
        self.acknowledged = True


JOB = order()
LATER = [
    (Cancel(job=JOB.job, code="cancelled"), "cancel", {}),
    (Start(job=JOB.job), "start", {"gang": True}),
    (Finish(job=JOB.job), "finish", {}),
    (Proceed(job=JOB.job), "proceed", {"ahead": True}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("said", "kept", "asked"), LATER)
async def test_what_is_delivered_again_is_acknowledged_when_it_is_on_the_disk(
    tmp_path: Path, journal: Journal, said: Wire, kept: str, asked: dict[str, bool]
) -> None:
    """A host whose disk is full loses its broker for a moment, and is killed then."""
    host = Host(tmp_path, journal, ())
    inbox = Inbox(host.services, host.orchestrator, Reconciliation(host.services, host.orchestrator), KEYS)
    await host.orchestrator.accept(JOB.model_copy(update=asked))
    run = host.orchestrator.runs[JOB.job]
    await until(lambda: run.record.state is S.prepared or run.record.ready if asked else bool(host.executor.started))
    await run._writer.written()
    host.executor.slowly = asyncio.Event()
    save, journal.save = journal.save, refuse  # type: ignore[method-assign]
    first, again = Delivered(said), Delivered(said)
    before = asyncio.create_task(inbox.control(cast(Any, first)))
    await until(lambda: bool(getattr(run.record, kept)))
    before.cancel()  # the connection to the broker is lost
    after = asyncio.create_task(inbox.control(cast(Any, again)))
    for _ in range(50):
        await asyncio.sleep(0)
    assert not again.acknowledged
    assert kept not in (await journal.known(JOB.job) or {})
    journal.save = save  # type: ignore[method-assign]
    await after
    assert again.acknowledged
    assert kept in (await journal.known(JOB.job) or {})
    await until(lambda: bool(host.executor.started))
    host.executor.slowly.set()
    host.orchestrator.stop()
    await host.ended(JOB.job)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)
