"""Signed messages: what is read, and with which code everything else is refused."""

from __future__ import annotations

import json
import time

import pytest
from joserfc.jwk import ECKey

from fedproc.common.errors import UnreadableError
from fedproc.common.keys import Signer, load_key, public_jwk
from fedproc.contract.ids import new_id
from fedproc.contract.wire import jws
from fedproc.contract.wire.messages import Cancel, Heartbeat, JobOrder

KEY = ECKey.generate_key("P-256")
OTHER = ECKey.generate_key("P-256")
TRUSTED = {KEY.thumbprint(): KEY}
JOB = new_id("j")


def envelope(**changes):
    content = {"v": 1, "type": "cancel", "iss": "central", "aud": "UB", "iat": time.time(), "jti": "x"}
    return json.dumps(content | {"body": {"job": JOB}} | changes).encode()


def signed(payload: bytes, typ: str = jws.MESSAGE_TYP) -> bytes:
    return Signer(KEY).sign(payload, typ=typ).encode()


def test_what_was_sealed_is_read():
    raw = jws.seal(Cancel(job=JOB, reason="enough"), Signer(KEY), iss="central", aud="UB", exp=5.0)
    found, body = jws.unseal(raw, TRUSTED, aud="UB")
    assert body == Cancel(job=JOB, reason="enough")
    assert (found.type, found.exp, found.v) == ("cancel", 5.0, 1)


def test_unknown_fields_are_ignored_unless_critical():
    _, body = jws.unseal(signed(envelope(body={"job": JOB, "novelty": 1})), TRUSTED, aud="UB")
    assert body == Cancel(job=JOB)
    with pytest.raises(UnreadableError) as caught:
        jws.unseal(signed(envelope(body={"job": JOB, "novelty": 1}, crit=["novelty"])), TRUSTED, aud="UB")
    assert caught.value.code == "unreadable.crit"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "unreadable.signature"),
        (b"{}", "unreadable.signature"),
        (b"\xff\xfe\x00", "unreadable.signature"),
        (b"a.b.c", "unreadable.signature"),
        (envelope(), "unreadable.signature"),
        (jws.seal(Cancel(job=JOB), Signer(OTHER), iss="central", aud="UB"), "unreadable.key"),
        (jws.seal(Cancel(job=JOB), Signer(KEY), iss="central", aud="BSC"), "unreadable.audience"),
        (signed(envelope(v=99)), "unreadable.version"),
        (signed(envelope(type="surprise")), "unreadable.type"),
        (signed(envelope(), typ="JWT"), "unreadable.type"),
        (signed(envelope(body={"job": "../../etc"})), "unreadable.schema"),
        (signed(b"[1]"), "unreadable.schema"),
        (signed(b"no json"), "unreadable.schema"),
    ],
)
def test_everything_else_is_unreadable_with_its_code(raw, code):
    with pytest.raises(UnreadableError) as caught:
        jws.unseal(raw, TRUSTED, aud="UB")
    assert caught.value.code == code


def test_a_changed_byte_breaks_the_signature():
    raw = bytearray(jws.seal(Cancel(job=JOB), Signer(KEY), iss="central", aud="UB"))
    middle = raw.index(b".") + 10
    raw[middle] = ord("A") if raw[middle] != ord("A") else ord("B")
    with pytest.raises(UnreadableError) as caught:
        jws.unseal(bytes(raw), TRUSTED, aud="UB")
    assert caught.value.code == "unreadable.signature"


def test_alg_none_is_not_a_signature():
    import base64

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    header = json.dumps({"alg": "none", "kid": KEY.thumbprint(), "typ": jws.MESSAGE_TYP}).encode()
    with pytest.raises(UnreadableError):
        jws.unseal(part(header) + b"." + part(envelope()) + b".", TRUSTED, aud="UB")


def test_artefacts_are_for_their_receiver_only():
    secret = jws.encrypt_to(b"startup kit", public_jwk(KEY))
    assert b"startup" not in secret
    assert jws.decrypt(secret, KEY) == b"startup kit"
    with pytest.raises(UnreadableError, match="this host's key"):
        jws.decrypt(secret, OTHER)


def test_only_p256_keys_are_taken():
    with pytest.raises(ValueError, match="P-384"):
        load_key(ECKey.generate_key("P-384").as_dict(private=True))
    with pytest.raises(ValueError, match="PEM or JWK"):
        load_key(b"-----BEGIN NONSENSE-----")


def test_public_jwk_holds_nothing_private():
    assert "d" not in public_jwk(KEY)


def test_every_message_type_names_its_model():
    assert JobOrder in jws.TYPE_OF
    assert jws.TYPE_OF[Heartbeat] == "heartbeat"
