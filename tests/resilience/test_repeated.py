"""A message that comes again, whenever and however often, changes nothing."""

from __future__ import annotations

import json
import sqlite3
import tomllib

import httpx
import pytest
from tests.resilience.once import ended_once
from tests.support.amqp import connect

from fedproc.common.http import client_assertion
from fedproc.common.keys import Signer, load_key
from fedproc.contract.wire import jws, routing
from fedproc.contract.wire.messages import Cancel

TIMES = 3


def key(running, name):
    return load_key((running.folder / "keys" / f"{name}.key").read_bytes())


def token(running, client) -> str:
    issuer = json.loads((running.folder / "issuer.json").read_text())["url"]
    name = client.removeprefix("fedproc-").removeprefix("host-")
    form = client_assertion(client, f"{issuer}/token", key(running, name))
    answer = httpx.post(f"{issuer}/token", data={"grant_type": "client_credentials", **form})
    return str(answer.json()["access_token"])


async def publish(running, client, exchange, routing_key, *bodies) -> None:
    """As who has this client's rights at the broker."""
    broker = tomllib.loads((running.folder / "central.toml").read_text())["broker"]
    async with await connect(broker["port"], token(running, client), broker["ca_file"], client) as session:
        channel = await session.publishing_channel()
        for body in bodies:
            await channel.publish(exchange, routing_key, body)


def order_of(running, job) -> bytes:
    """The job's message as the relay sent it, signed anew."""
    with sqlite3.connect(f"file:{running.folder}/central/central.sqlite?mode=ro", uri=True) as books:
        (text,) = books.execute("SELECT message FROM outbox WHERE job = ? AND kind = 'job'", (job,)).fetchone()
    return jws.seal_body("job", json.loads(text), Signer(key(running, "dispatch")), iss=jws.CENTRAL, aud="UB")


async def send_again(running, job) -> None:
    await publish(running, "fedproc-relay", routing.JOBS, "UB", *[order_of(running, job)] * TIMES)


async def test_a_job_comes_again_while_it_runs_and_after_its_end(running, tmp_path):
    experiment = running.start("tally", hosts=["UB"], seconds=4)
    job = experiment.jobs[0].id
    running.wait_for(experiment, "work@UB", "running")
    await send_again(running, job)
    ended_once(running, experiment, tmp_path)
    await send_again(running, job)
    running.kill("orchestrator-UB")
    await send_again(running, job)
    follows = running.start("tally", hosts=["UB"])
    ended_once(running, follows, tmp_path / "follows")
    ended_once(running, experiment, tmp_path)


async def test_a_cancel_comes_after_the_end(running, tmp_path):
    experiment = running.start("tally", hosts=["UB"])
    ended_once(running, experiment, tmp_path)
    late = jws.seal(Cancel(job=experiment.jobs[0].id), Signer(key(running, "dispatch")), iss=jws.CENTRAL, aud="UB")
    await publish(running, "fedproc-relay", routing.CONTROL, "UB", *[late] * TIMES)
    ended_once(running, running.start("tally", hosts=["UB"]), tmp_path / "follows")
    ended_once(running, experiment, tmp_path)


@pytest.mark.parametrize("again", ["same", "earlier"])
async def test_a_host_says_again_what_it_said(running, tmp_path, again):
    experiment = running.start("tally", hosts=["UB"])
    ended_once(running, experiment, tmp_path)
    job = experiment.jobs[0].id
    with sqlite3.connect(f"file:{running.folder}/central/central.sqlite?mode=ro", uri=True) as books:
        (text,) = books.execute("SELECT snapshot FROM jobs WHERE id = ?", (job,)).fetchone()
    said = json.loads(text)
    if again == "earlier":
        said |= {"state": "running", "sequence": 2, "outputs": []}
    body = jws.seal_body("snapshot", said, Signer(key(running, "UB")), iss="UB", aud=jws.CENTRAL)
    await publish(running, "host-UB", routing.EVENTS, routing.events_key("UB", "snapshot"), *[body] * TIMES)
    ended_once(running, running.start("tally", hosts=["UB"]), tmp_path / "follows")
    ended_once(running, experiment, tmp_path)
