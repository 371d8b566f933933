"""A message that a host cannot read goes to the dead letters with its reason, and the next one is worked on."""

from __future__ import annotations

import json
import time
import tomllib
import uuid

import httpx
import pytest
from tests.support.amqp import connect

from fedproc.common.http import client_assertion
from fedproc.common.keys import read_key, signer_for
from fedproc.contract.wire import jws, routing
from fedproc.contract.wire.messages import Cancel, Envelope
from fedproc.demo.polling import wait_until

pytestmark = pytest.mark.needs_federation


def signer(running, name):
    return signer_for(running.folder / "keys" / f"{name}.key")


@pytest.fixture(scope="module")
def relay_token(running) -> str:
    issuer = json.loads((running.folder / "issuer.json").read_text())["url"]
    form = client_assertion("fedproc-relay", f"{issuer}/token", read_key(running.folder / "keys" / "relay.key"))
    answer = httpx.post(f"{issuer}/token", data={"grant_type": "client_credentials", **form})
    return str(answer.json()["access_token"])


@pytest.fixture
async def channel(running, relay_token):
    """A channel with the relay's rights: only it may publish to hosts."""
    broker = tomllib.loads((running.folder / "central.toml").read_text())["broker"]
    async with await connect(broker["port"], relay_token, broker["ca_file"], "fedproc-relay") as session:
        yield await session.publishing_channel()


def sealed(running, *, aud="UB", name="dispatch"):
    return jws.seal(Cancel(job="j-01k86kcjqvvkqq35q2ac93tvin"), signer(running, name), iss="central", aud=aud)


def other_version(running):
    body = {"job": "j-01k86kcjqvvkqq35q2ac93tvin"}
    envelope = Envelope(v=99, type="cancel", iss="central", aud="UB", iat=time.time(), jti=uuid.uuid4().hex, body=body)
    return signer(running, "dispatch").sign(envelope.model_dump_json().encode(), typ=jws.MESSAGE_TYP).encode()


BODIES = {
    "no JSON": (lambda running: b"\x00\x01 hello", "unreadable"),
    "no signature": (lambda running: b'{"type": "cancel", "body": {}}', "unreadable"),
    "signed by a stranger": (lambda running: sealed(running, name="catalogue"), "unreadable.key"),
    "a wrong signature": (lambda running: sealed(running)[:-9] + b"AAAAAAAAA", "unreadable.signature"),
    "for another host": (lambda running: sealed(running, aud="BSC"), "unreadable.audience"),
    "of an unknown version": (other_version, "unreadable.version"),
}


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("exchange", [routing.JOBS, routing.CONTROL])
async def test_it_is_kept_with_its_reason_and_the_next_one_is_worked_on(running, channel, name, exchange):
    make, code = BODIES[name]
    body = make(running)
    before = {letter.id for letter in running.operator.dead_letters()}
    await channel.publish(exchange, "UB", body)

    def kept():
        return [letter for letter in running.operator.dead_letters() if letter.id not in before and letter.size]

    wait_until(lambda: bool(kept()) and "not said why" not in kept()[0].reason, 60, "no dead letter with its reason")
    (letter,) = kept()
    assert letter.code.startswith(code)
    assert letter.host == "UB"
    assert letter.queue == f"{exchange}.UB"
    assert letter.size == len(body)
    experiment = running.start("host-acceptance", hosts=["UB"])
    assert running.end(experiment)[-1].state == "succeeded"
