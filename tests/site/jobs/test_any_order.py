"""Whatever comes from the centre is journalled, or kept as unreadable; nothing ends the daemon, no job stays."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.contract.wire.test_any_message import KEY, KEYS, MESSAGES, envelope_of
from tests.support.anything import BYTES, as_json, bent
from tests.support.examples import examples
from tests.support.orchestrator import Host, order

from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import MESSAGE_TYP, sign
from fedproc.contract.wire.messages import ToHost, Wire
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.jobs.reconciliation import Reconciliation
from fedproc.site.journal import Journal

TO_HOST = tuple(message for message in MESSAGES if isinstance(message, ToHost))
ORDER = order().model_copy(update={"gang": True})


class Message:
    """What the broker hands over."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.settled: list[str] = []

    def ack(self) -> None:
        self.settled.append("ack")

    def nack(self) -> None:
        self.settled.append("nack")

    def reject(self) -> None:
        self.settled.append("reject")


def sealed(content: Any) -> bytes:
    return sign(as_json(content), Signer(KEY), typ=MESSAGE_TYP).encode()


def to_host(message: Wire) -> dict[str, Any]:
    return envelope_of(message) | {"iss": "central", "aud": "UB"}


@st.composite
def conversation(draw: Any) -> list[bytes]:
    """A job that is ordered, and what is said of it and of others, each a little wrong."""
    orders = [to_host(ORDER)] + [to_host(one) for one in TO_HOST]
    for one in orders[1:]:
        if "job" in one["body"]:
            one["body"]["job"] = ORDER.job
    said = draw(st.lists(st.sampled_from(orders).flatmap(lambda one: st.just(one) | bent(one)), max_size=4))
    return [sealed(one) for one in said] + draw(st.lists(BYTES, max_size=1))


async def heard(folder: Path, raws: list[bytes]) -> None:
    journal = Journal(folder / "journal.sqlite")
    await journal.open()
    host = Host(folder, journal, ())
    try:
        host.services.transfer = cast(Any, NoTransfer())
        reconciliation = Reconciliation(host.services, host.orchestrator)
        inbox = Inbox(host.services, host.orchestrator, reconciliation, KEYS)
        for raw in raws:
            for receive in (inbox.job, inbox.control):
                message = Message(raw)
                await receive(cast(Any, message))
                assert message.settled in (["ack"], ["reject"]), "held for ever: it comes again and again"
        for _, kind, body in [(entry.id, entry.kind, entry.body) for entry in await journal.outgoing(0)]:
            json.loads(body)
            assert kind in ("snapshot", "unread")
        reconciliation.digest()
        host.orchestrator.stop()
        async with asyncio.timeout(10):
            while host.orchestrator.runs:
                await asyncio.sleep(0.01)
    finally:
        await host.orchestrator.close()
        await journal.close()


class NoTransfer:
    """The centre's API, which is away."""

    async def report_open_jobs(self, *_: object) -> None:
        from fedproc.common.errors import UnavailableError

        raise UnavailableError("away")


@pytest.mark.slow
@examples(60)
@given(raws=conversation())
def test_any_messages_of_the_centre_are_settled(tmp_path_factory: pytest.TempPathFactory, raws: list[bytes]) -> None:
    asyncio.run(heard(tmp_path_factory.mktemp("host"), raws))
