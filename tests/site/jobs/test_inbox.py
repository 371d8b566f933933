"""What becomes of a message that cannot be journalled."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest
from joserfc.jwk import ECKey

from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import CENTRAL, seal
from fedproc.contract.wire.messages import Cancel
from fedproc.site.jobs import inbox as inbox_module
from fedproc.site.jobs.inbox import Inbox
from fedproc.site.journal import JournalError


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
