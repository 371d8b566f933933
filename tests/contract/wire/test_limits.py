"""How large messages, manifests and artefacts may be: each is read up to its limit, and not sent above it."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey
from tests.support.yaml_files import read_yaml

from fedproc.catalog.signing import sign_manifest, verify_manifest
from fedproc.central.api.middleware import MAX_BODY
from fedproc.common.errors import TooLargeError, UnreadableError
from fedproc.common.keys import Signer, public_jwk
from fedproc.contract.api.hosts import OPEN_JOBS, OpenJobsReport
from fedproc.contract.ids import new_id
from fedproc.contract.states import JobState
from fedproc.contract.times import now
from fedproc.contract.tool.tool import Manifest, SourceFile
from fedproc.contract.wire import jws, limits, routing
from fedproc.contract.wire.messages import Cancel, FileRef, Output, Peer, Snapshot, Start
from fedproc.contract.wire.open_jobs import OpenJob

pytestmark = pytest.mark.slow


ROOT = Path(__file__).parents[3]
KEY = ECKey.generate_key("P-256")
TRUSTED = {KEY.thumbprint(): KEY}
JOB, EXPERIMENT, FILE = new_id("j"), new_id("e"), new_id("f")


def cancel_of(size: int) -> bytes:
    """A signed cancel of exactly so many bytes, or one less where Base64 has no such length."""
    body: dict[str, Any] = {"v": 1, "type": "cancel", "iss": "central", "aud": "UB", "iat": time.time(), "jti": "x"}

    def payload(letters: int) -> bytes:
        return json.dumps(body | {"body": {"job": JOB, "reason": "x" * letters}}).encode()

    def sealed(said: bytes) -> bytes:
        return Signer(KEY).sign(said, typ=jws.MESSAGE_TYP).encode()

    def in_base64(count: int) -> int:
        return (4 * count + 2) // 3

    empty = payload(0)
    around = len(sealed(empty)) - in_base64(len(empty))
    return sealed(payload((size - around) * 3 // 4 - len(empty)))


@pytest.mark.parametrize("size", [129_536, 129_600, 1 << 20, limits.MESSAGE_BYTES])
def test_a_message_is_read_up_to_its_limit(size: int) -> None:
    raw = cancel_of(size)
    assert size - 2 <= len(raw) <= size
    assert isinstance(jws.unseal(raw, TRUSTED, aud="UB")[1], Cancel)


def test_a_message_above_its_limit_is_neither_sent_nor_read() -> None:
    with pytest.raises(UnreadableError, match=r"16\.00 MiB are read") as caught:
        jws.unseal(cancel_of(limits.MESSAGE_BYTES + 4), TRUSTED, aud="UB")
    assert caught.value.code == "unreadable.size"
    large = Cancel(job=JOB, reason="x" * limits.MESSAGE_BYTES)
    with pytest.raises(TooLargeError, match=r"cancel for UB: signed, it has 21\.33 MiB; .* may have 16\.00 MiB"):
        jws.seal(large, Signer(KEY), iss="central", aud="UB")


def test_what_may_be_sent_can_be_read() -> None:
    """The sender's limit is not above the reader's."""
    said = limits.MESSAGE_BYTES * 3 // 4 - 2000
    raw = jws.seal(Cancel(job=JOB, reason="x" * said), Signer(KEY), iss="central", aud="UB")
    assert limits.MESSAGE_BYTES - 4000 < len(raw) <= limits.sealed_size(said + 60)
    assert jws.unseal(raw, TRUSTED, aud="UB")[1].reason == "x" * said  # type: ignore[attr-defined]


def manifest_of(files: int) -> Manifest:
    described = json.loads(_description().model_dump_json(by_alias=True, exclude_defaults=True))
    named = tuple(SourceFile(path=f"{n:06}/" + "x" * 120, sha256="0" * 64, size=n) for n in range(files))
    return Manifest.model_validate({"tool": described, "files": named})


def _description() -> Any:
    from fedproc.catalog.folder import load_tool

    return load_tool(next((ROOT / "tool_catalog").glob("*/tool.yaml")).parent).tool


def test_a_manifest_is_read_up_to_its_limit_and_not_signed_above_it() -> None:
    large = manifest_of(20_000)
    signed = sign_manifest(large, Signer(KEY))
    assert 4 * limits.MIB < len(signed) < limits.MANIFEST_BYTES
    assert verify_manifest(signed, TRUSTED)[0] == large
    with pytest.raises(TooLargeError, match=r"fedproc-manifest\+jws may have 8\.00 MiB"):
        sign_manifest(manifest_of(40_000), Signer(KEY))
    above = Signer(KEY).sign(b"x" * limits.MANIFEST_BYTES, typ=jws.MANIFEST_TYP)
    with pytest.raises(UnreadableError) as caught:
        jws.verify(above, TRUSTED, typ=jws.MANIFEST_TYP)
    assert caught.value.code == "unreadable.size"


@pytest.mark.parametrize("size", [1, 48_000, 49_152, 49_153, 10_000_000])
def test_an_artefact_of_any_size_is_read(size: int) -> None:
    content = b"\xff" * size
    assert jws.decrypt(jws.encrypt_to(content, public_jwk(KEY)), KEY) == content


def outputs(count: int) -> tuple[Output, ...]:
    usual: dict[str, Any] = {
        "output": "o" * 48,
        "file": FILE,
        "sha256": "0" * 64,
        "size": 10**11,
        "recipient": "H" * 31,
    }
    kind = "a" * 63 + "/" + "b" * 63
    return tuple(Output(path=f"{n:05}" + "p" * 250, media_type=kind, **usual) for n in range(count))


@pytest.mark.parametrize("count", [450, 10_000])
def test_a_snapshot_names_all_outputs_of_a_job(count: int) -> None:
    said = Snapshot(
        host="UB", epoch="e" * 32, job=JOB, experiment=EXPERIMENT, sequence=1, state=JobState.succeeded,
        outputs=outputs(count), times={state.value: now() for state in JobState},
    )  # fmt: skip
    raw = jws.seal(said, Signer(KEY), iss="UB", aud=jws.CENTRAL)
    assert len(raw) < limits.MESSAGE_BYTES
    assert jws.unseal(raw, TRUSTED, aud=jws.CENTRAL)[1] == said


def test_a_start_names_a_thousand_peers() -> None:
    names = {f"port-{n}": "n" * 100 for n in range(4)}
    peer = Peer(task="t" * 48, job=JOB, host="H" * 31, address="a" * 253 + ":65535", server_names=names, key="k" * 43)
    artefact = FileRef(file=FILE, sha256="0" * 64, size=1, path="p" * 255, encrypted_for="UB")
    said = Start(job=JOB, peers=(peer,) * 1000, artefacts=(artefact,) * 1000)
    raw = jws.seal(said, Signer(KEY), iss="central", aud="UB")
    assert len(raw) < 4 * limits.MIB
    assert jws.unseal(raw, TRUSTED, aud="UB")[1] == said


def test_the_broker_takes_what_may_be_sent() -> None:
    defaults = (ROOT / "roles/rabbitmq/defaults/main.yml").read_text()
    (most,) = re.findall(r"^rabbitmq_message_mb: (\d+)", defaults, re.MULTILINE)
    assert int(most) * limits.MIB >= limits.MESSAGE_BYTES


def test_the_broker_bounds_the_queues_as_the_contract_says() -> None:
    usual = read_yaml(ROOT / "roles/rabbitmq/defaults/main.yml")
    assert usual["rabbitmq_events_queue_mb"] * limits.MIB == limits.EVENTS_QUEUE_BYTES
    assert usual["rabbitmq_jobs_queue_mb"] * limits.MIB == limits.JOBS_QUEUE_BYTES
    assert usual["rabbitmq_jobs_queue_messages"] == limits.JOBS_QUEUE_MESSAGES
    policies = read_yaml(ROOT / "roles/rabbitmq/vars/main.yml")["_rabbitmq_queue_policies"]
    for name, (pattern, bounds) in routing.POLICIES.items():
        assert f"'name': '{name}', 'pattern': '{pattern}'" in policies
        assert all(f"'{key}': " in policies for key in bounds)
    for host in ("UB", "a_1"):
        named = [routing.events_queue(host), routing.jobs_queue(host), routing.control_queue(host), routing.DEAD]
        found = [[name for name, (pattern, _) in routing.POLICIES.items() if re.search(pattern, one)] for one in named]
        assert found == [["fedproc-events"], ["fedproc-jobs"], ["fedproc-jobs"], []]


def test_the_api_takes_the_longest_list_of_open_jobs() -> None:
    longest = max(JobState, key=lambda state: len(state.value))
    jobs = [OpenJob(job=JOB, state=longest, sequence=10**6)] * OPEN_JOBS
    assert len(OpenJobsReport(epoch="e" * 32, jobs=jobs).model_dump_json()) < MAX_BODY
    with pytest.raises(ValueError, match="40000"):
        OpenJobsReport(epoch="e", jobs=[*jobs, jobs[0]])
