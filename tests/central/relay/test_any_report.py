"""Whatever hosts report is taken in, or kept as a dead letter; what was taken in can be shown by the API."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.contract.wire.test_any_message import MESSAGES, envelope_of
from tests.support.anything import BYTES, as_json, bent
from tests.support.books import Books
from tests.support.central_api import Federation
from tests.support.examples import examples

from fedproc.central.db.engine import serialized_transaction
from fedproc.central.relay.dead_letters import ingest_dead_letters
from fedproc.common.keys import Signer
from fedproc.contract.wire.jws import MESSAGE_TYP, sign
from fedproc.contract.wire.messages import FromHost, JobOrder

FROM_HOST = tuple(message for message in MESSAGES if isinstance(message, FromHost))
FIXTURE = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@st.composite
def reports(draw: Any, job: Any) -> list[dict[str, Any]]:
    """Of one job, at one host; a little wrong each."""
    found = []
    for message in draw(st.lists(st.sampled_from(FROM_HOST), min_size=1, max_size=3)):
        envelope = envelope_of(message) | {"iat": time.time()}
        for name, value in (("job", job.id), ("experiment", job.experiment), ("host", "UB")):
            if name in envelope["body"]:
                envelope["body"][name] = value
        if "outputs" in envelope["body"]:
            envelope["body"] |= {"outputs": [], "artefacts": [], "sequence": draw(st.integers(1, 100))}
        found.append(draw(bent(envelope)))
    return found


def sealed(books: Books, content: Any) -> bytes:
    return sign(as_json(content), Signer(books.hosts.keys["UB"]), typ=MESSAGE_TYP).encode()


def look_at_all(client: httpx.Client, operator: httpx.Client, experiment: str) -> None:
    """All views of what hosts have said."""
    for path in ("", "/report", "/logs", "/results"):
        answer = client.get(f"/experiments/{experiment}{path}")
        assert answer.status_code == 200, answer.text
    for path in (
        "/hosts/",
        "/hosts/UB",
        "/datasets",
        "/hosts/health/",
        "/dead-letters",
        "/hosts/reports",
        "/experiments",
    ):
        answer = operator.get(path)
        known = "status" in answer.json() if path == "/hosts/health/" else answer.status_code in (200, 404)
        assert known, (path, answer.text)


@pytest.fixture
def centre(lone: Federation) -> Any:
    with lone.user() as rosa, lone.operator() as operator:
        yield lone, rosa, operator


@examples(40, suppress_health_check=FIXTURE)
@given(data=st.data())
def test_any_report_is_taken_in_or_kept_and_can_be_shown(centre: Any, data: st.DataObject) -> None:
    federation, rosa, operator = centre
    books = federation.books

    experiment = federation.start(rosa)["id"]
    books.dispatch()
    job = books.job_on(experiment, "UB")
    raws = [sealed(books, one) for one in data.draw(reports(job))] + data.draw(st.lists(BYTES, max_size=1))
    books.take(*[("UB", raw) for raw in raws])
    look_at_all(rosa, operator, experiment)
    operator.post(f"/experiments/{experiment}/lost", json={"reason": "so that no quota of open ones is reached"})


@examples(40, suppress_health_check=FIXTURE)
@given(data=st.data())
def test_any_dead_letter_is_kept(books: Books, data: st.DataObject) -> None:
    order = next(message for message in MESSAGES if isinstance(message, JobOrder))
    content = as_json(data.draw(bent(envelope_of(order) | {"iss": "central", "aud": "UB"})))
    raw = data.draw(st.one_of(BYTES, st.just(sign(content, Signer(books.dispatch_key), typ=MESSAGE_TYP).encode())))
    keys = {books.dispatch_key.thumbprint(): books.dispatch_key}
    with serialized_transaction(books.engine) as connection:
        queue = data.draw(st.sampled_from(["jobs.UB", "control.UB", "x", ""]))
        ingest_dead_letters(connection, [(queue, raw)], keys, time.time() + timedelta(seconds=1).total_seconds())
