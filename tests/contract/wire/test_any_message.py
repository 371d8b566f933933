"""Whatever comes from the wire is a message, or an error of ours that says why it is none."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from tests.support.anything import BYTES, JSON, TEXTS, as_json, bent
from tests.support.examples import examples

from fedproc.common.errors import UnreadableError
from fedproc.common.keys import Signer, public_jwk
from fedproc.contract.times import now
from fedproc.contract.wire import messages as m
from fedproc.contract.wire.jws import CENTRAL, MESSAGE_TYP, decrypt, encrypt_to, seal, sign, unseal

pytestmark = pytest.mark.slow


KEY = ECKey.generate_key("P-256")
KEYS = {KEY.thumbprint(): KEY}
JOB, EXPERIMENT, FILE, SHA = "j-" + "0" * 26, "e-" + "0" * 26, "f-" + "0" * 26, "0" * 64
_FILE = m.FileRef(file=FILE, sha256=SHA, size=1, path="a/b", input="data", host="UB", task="local", output="sums")
_OUTPUT = m.Output(output="sums", path="a", file=FILE, sha256=SHA, size=3, recipient="UB")
_DATASET = m.OfferedDataset(id="cohort", version="1", description="x", files=1, size=2)
_CAPACITY = m.Capacity(
    cpus=1, cpus_free=1, memory=1, memory_free=1, disk=1, disk_free=1, gpus=(m.GpuInfo(uuid="GPU-1", name="x", vram=1),)
)
MESSAGES: tuple[m.Wire, ...] = (
    m.JobOrder(
        job=JOB,
        experiment=EXPERIMENT,
        task="local",
        tool=m.ToolRef(id="km", version="1.0.0", digest="sha256:" + SHA),
        user=m.User(sub="rosa", name="Rosa"),
        project="p",
        permit="q",
        purpose="r",
        told_by={"project": "eucaim"},
        datasets=(m.DatasetUse(id="cohort", version="1"),),
        parameters={"a": [1, {"b": 2.5}]},
        inputs=(_FILE,),
        deadlines=m.Deadlines(
            start_by=now(), end_by=now(), release_by=now() + timedelta(1), hold_until=now(), hold_seconds=3
        ),
        gang=True,
        hosts={"local": ("UB",)},
        recipients={"UB": public_jwk(KEY)},
    ),
    m.Start(
        job=JOB,
        artefacts=(_FILE,),
        peers=(m.Peer(task="server", job=JOB, host="UB", address="h:1", server_names={"grpc": "x"}, key="k"),),
    ),
    m.Finish(job=JOB),
    m.Cancel(job=JOB, code="a", reason="b"),
    m.OpenJobsRequest(host="UB"),
    m.Revocation(host="UB", key="k", at=now(), revoked=False),
    m.Snapshot(
        host="UB",
        epoch="one",
        job=JOB,
        experiment=EXPERIMENT,
        sequence=2,
        state="running",
        code="c",
        reason="r",
        ready=True,
        waiting_for="w",
        times={"running": now()},
        executor="sandbox",
        runtime="r",
        command=("a",),
        exit_code=3,
        used=m.Used(cpu_seconds=1, memory_peak=2, seconds=3),
        outputs=(_OUTPUT,),
        artefacts=(_OUTPUT,),
        connections=(m.ConnectionUse(task="a", host="UB", sent=1, received=2, cut="x"),),
    ),
    m.Record(
        host="UB",
        epoch="one",
        job=JOB,
        experiment=EXPERIMENT,
        stream="metrics",
        sequence=1,
        time=now(),
        metrics={"a": 1},
    ),
    m.Record(
        host="UB", epoch="one", job=JOB, experiment=EXPERIMENT, stream="stdout", sequence=1, time=now(), lines=("x",)
    ),
    m.Heartbeat(
        host="UB",
        epoch="one",
        time=now(),
        interval=10,
        software="1",
        capacity=_CAPACITY,
        executors=("sandbox",),
        condition="stopped",
        condition_text="x",
        tools=(m.AdmittedTool(id="km", digest="sha256:" + SHA),),
        tools_ready=(m.ReadyTool(id="km", version="1", digest="sha256:" + SHA, tasks=("a",)),),
        datasets=(_DATASET,),
        open_jobs=1,
        open_jobs_digest="x",
        check={"alarms": ["x"]},
    ),
    m.HostReport(host="UB", epoch="one", time=now(), report={"a": [1]}),
    m.DeadLetterReason(host="UB", epoch="one", code="c", reason="r", sha256=SHA, queue="jobs.UB"),
)
"""one of each kind, with every field"""
KINDS = st.sampled_from(MESSAGES)


def envelope_of(message: m.Wire) -> dict[str, Any]:
    body = message.model_dump(mode="json")
    return {
        "v": 1,
        "type": m.TYPE_OF[type(message)],
        "iss": "UB",
        "aud": CENTRAL,
        "iat": 1e9,
        "exp": 2e9,
        "jti": "a",
        "crit": [],
        "body": body,
    }


def read(raw: bytes) -> None:
    """It is read, or refused in words that can be sent and shown."""
    try:
        _, body = unseal(raw, KEYS, aud=CENTRAL)
    except UnreadableError as error:
        assert error.code.startswith("unreadable")
        error.message.encode()
        json.dumps(error.message)
    else:
        assert type(body) in m.TYPE_OF


@examples(200)
@given(st.data())
def test_signed_message_with_any_body_is_read_or_refused(data: st.DataObject) -> None:
    read(sign(as_json(data.draw(bent(envelope_of(data.draw(KINDS))))), Signer(KEY), typ=MESSAGE_TYP).encode())


@examples(100)
@given(BYTES)
def test_signed_bytes_that_are_no_message_are_refused(payload: bytes) -> None:
    with pytest.raises(UnreadableError):
        unseal(sign(payload, Signer(KEY), typ=MESSAGE_TYP).encode(), KEYS, aud=CENTRAL)


@examples(100)
@given(BYTES)
def test_bytes_that_nobody_signed_are_refused(raw: bytes) -> None:
    with pytest.raises(UnreadableError):
        unseal(raw, KEYS, aud=CENTRAL)


@examples(150)
@given(st.data())
def test_token_that_was_cut_or_joined_is_refused(data: st.DataObject) -> None:
    parts = seal(data.draw(KINDS), Signer(KEY), iss="UB", aud=CENTRAL).split(b".")
    place = data.draw(st.integers(0, 2))
    header = data.draw(
        bent({"alg": "ES256", "typ": MESSAGE_TYP, "kid": KEY.thumbprint(), "crit": ["exp"], "b64": False})
    )
    parts[place] = data.draw(st.one_of(BYTES, TEXTS.map(lambda text: text.encode(errors="replace"))))
    if data.draw(st.booleans()):
        parts[0] = _base64(as_json(header))
    read(b".".join(parts[: data.draw(st.integers(0, 3))] + parts[data.draw(st.integers(0, 3)) :]))


def _base64(content: bytes) -> bytes:
    import base64

    return base64.urlsafe_b64encode(content).rstrip(b"=")


@examples(60)
@given(st.data())
def test_artefact_of_any_bytes_is_decrypted_or_refused(data: st.DataObject) -> None:
    token = bytearray(encrypt_to(b"secret", public_jwk(KEY)))
    if data.draw(st.booleans()):
        token[data.draw(st.integers(0, len(token) - 1))] = data.draw(st.integers(0, 255))
    else:
        token = bytearray(data.draw(BYTES))
    try:
        decrypt(bytes(token), KEY)
    except UnreadableError as error:
        error.message.encode()


@examples(60)
@given(st.data())
def test_artefact_for_any_key_is_encrypted_or_refused(data: st.DataObject) -> None:
    key = data.draw(bent(public_jwk(KEY), JSON))
    try:
        encrypt_to(b"secret", key)
    except UnreadableError as error:
        error.message.encode()
