"""How a host comes in: code, request, fingerprint, certificate; from both sides, and with everything that is wrong."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from sqlalchemy import update
from tests.support.central_api import Federation, problem
from tests.support.issuer import TestIssuer
from tests.support.needs import needs
from tests.support.proxying import ConnectProxy

from fedproc.central.db.engine import write_transaction
from fedproc.central.db.schema import enrolments
from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.contract.enrolment import (
    CODE_HEADER,
    certificate_sha256,
    fingerprint,
    fingerprint_of_pem,
    make_request,
    read_certificate,
)
from fedproc.demo.keys import Keyring
from fedproc.demo.polling import free_ports
from fedproc.site.centre.enrolment.client import EnrolmentRefusedError, enrol
from fedproc.site.centre.enrolment.request import EnrolmentOptions, EnrolmentResult

pytestmark = pytest.mark.server

HOST = "NEW_ONE"


@dataclass
class Place:
    """A centre over TLS with an authority of its own, and what an operator and a site do there."""

    federation: Federation
    keys: Keyring
    operator: httpx.Client
    anyone: httpx.Client

    def code(self, host: str = HOST, **more: Any) -> str:
        made = self.operator.post("/enrolments", json={"host": host, **more})
        assert made.status_code == 201, made.text
        assert made.headers["cache-control"] == "no-store"
        code: str = made.json()["code"]
        return code

    def put(self, code: str, request: str, host: str = HOST) -> httpx.Response:
        return self.anyone.put(f"/enrolments/{host}", json={"code": code, "request": request})

    def seen(self, code: str, host: str = HOST) -> httpx.Response:
        return self.anyone.get(f"/enrolments/{host}", headers={CODE_HEADER: code})

    def sign(self, request: str, **changed: Any) -> str:
        """As the authority does, which the API cannot."""
        asked = x509.load_pem_x509_csr(request.encode())
        own = {"key": asked.public_key(), "subject": asked.subject, "ca": False, "days": 30, "signer": self._ca_key()}
        return certificate(self.keys, **{**own, **changed})

    def _ca_key(self) -> Any:
        return serialization.load_pem_private_key(self.keys.key("ca").private.read_bytes(), None)

    def confirm(self, certificate: str, host: str = HOST) -> httpx.Response:
        return self.operator.post(f"/enrolments/{host}/certificate", json={"certificate": certificate})

    def asking(self, folder: Path, host: str = HOST) -> EnrolmentOptions:
        return EnrolmentOptions(self.federation.url, host, folder, ca_file=self.keys.ca_file)


def certificate(keys: Keyring, key: Any, subject: x509.Name, ca: bool, days: float, signer: Any) -> str:
    authority = x509.load_pem_x509_certificate(keys.ca_file.read_bytes())
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=60))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .sign(signer, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
@needs("server")
def centre(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: TestIssuer
) -> Iterator[tuple[Federation, Keyring]]:
    folder = tmp_path_factory.mktemp("enrolling")
    keys = Keyring(folder / "keys")
    database = request.getfixturevalue("postgres").new_database()
    running = Federation(database, folder, issuer, authority=keys.ca_file)
    running.tls = keys.server("api")
    with running:
        yield running, keys


@pytest.fixture
def place(centre: tuple[Federation, Keyring]) -> Iterator[Place]:
    federation, keys = centre
    token = {"Authorization": f"Bearer {federation.issuer.token('olga', 'operator')}"}
    common: dict[str, Any] = {
        "base_url": federation.url,
        "verify": ssl.create_default_context(cafile=keys.ca_file),
        "trust_env": False,
    }
    with httpx.Client(headers=token, **common) as operator, httpx.Client(**common) as anyone:
        yield Place(federation, keys, operator, anyone)


def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


# -- the whole way


def test_a_host_comes_in(place: Place, tmp_path: Path) -> None:
    told: list[str] = []
    code = place.code()
    first = enrol(place.asking(tmp_path), lambda: code, 0, told.append)
    assert (first.state, first.changed, told) == ("requested", True, [first.fingerprint])
    assert (tmp_path / "host.key").stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "host.crt").exists()

    again = enrol(place.asking(tmp_path), lambda: code.lower().replace("-", " "), 0, told.append)
    assert (again.state, again.changed, again.fingerprint) == ("requested", False, first.fingerprint)

    waiting = place.operator.get(f"/enrolments/{HOST}").json()
    assert (waiting["state"], waiting["fingerprint"]) == ("requested", first.fingerprint)
    assert place.confirm(place.sign(waiting["request"])).json()["state"] == "confirmed"

    done = enrol(place.asking(tmp_path), lambda: code, 0, told.append)
    assert (done.state, done.changed, done.fingerprint) == ("enrolled", True, first.fingerprint)
    assert done.centre is not None
    assert done.centre["issuer_url"] == place.federation.issuer.url
    read_certificate((tmp_path / "host.crt").read_text(), HOST, (tmp_path / "ca.crt").read_text())
    assert done.dispatch_keys == [str(tmp_path / "keys/dispatch.pub")]
    kept = place.federation.catalogue_key.as_pem(private=False)
    assert (tmp_path / "keys/catalogue.pub").read_bytes() == kept

    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    once_more = enrol(replace(place.asking(tmp_path), url="https://nowhere.invalid"), lambda: "", 0, told.append)
    assert (once_more.state, once_more.changed, once_more.centre) == ("enrolled", False, None)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_certificate_is_renewed(place: Place, tmp_path: Path) -> None:
    def confirmed(asking: EnrolmentOptions, days: int) -> EnrolmentResult:
        code = place.code()
        enrol(asking, lambda: code, 0, lambda said: None)
        request = place.operator.get(f"/enrolments/{HOST}").json()["request"]
        assert place.confirm(place.sign(request, days=days)).status_code == 200
        enrol(asking, lambda: code, 0, lambda said: None)
        return enrol(asking, lambda: code, 0, lambda said: None)

    first = confirmed(place.asking(tmp_path), 1)
    before = (tmp_path / "host.crt").read_text()
    second = confirmed(replace(place.asking(tmp_path), renew=True), 30)
    assert (second.fingerprint, second.changed) == (first.fingerprint, False)
    assert (tmp_path / "host.crt").read_text() != before


def test_waiting_ends_when_the_operator_confirms(place: Place, tmp_path: Path) -> None:
    code = place.code()
    with ThreadPoolExecutor(1) as pool:
        site = pool.submit(enrol, place.asking(tmp_path), lambda: code, 30, lambda said: None)
        while (seen := place.operator.get(f"/enrolments/{HOST}").json())["state"] == "offered":
            time.sleep(0.05)
        assert place.confirm(place.sign(seen["request"])).status_code == 200
        assert site.result(20).state == "enrolled"


def test_the_key_of_the_enrolment_enters_the_books(place: Place) -> None:
    entered = {"roles": ["data"], "site": "Hospital Nine"}
    assert "no confirmed enrolment" in problem(place.operator.put("/hosts/NINE", json=entered), 409)["detail"]
    code, key = place.code("NINE"), _key()
    assert place.put(code, make_request(key, "NINE"), "NINE").json()["state"] == "requested"
    problem(place.operator.put("/hosts/NINE", json=entered), 409, "enrolment.state")
    assert place.confirm(place.sign(make_request(key, "NINE")), "NINE").status_code == 200
    assert place.operator.put("/hosts/NINE", json=entered).status_code == 201
    detail = place.operator.get("/audit", params={"target": "NINE", "limit": 1}).json()["items"][0]["detail"]
    from fedproc.common.keys import load_key

    pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert f"key={load_key(pem).thumbprint()}" in detail


def test_the_command_of_a_site(place: Place, tmp_path: Path) -> None:
    def call(exit_code: int, *more: str, **environment: str) -> str:
        command = [sys.executable, "-m", "fedproc.cli", "site", "enrol", "--url", place.federation.url]
        options = ["--host", "CLI_HOST", "--folder", str(tmp_path / "etc"), *more]
        done = subprocess.run(
            [*command, *options],
            check=False,
            env={"PATH": "/usr/bin", **environment},
            capture_output=True,
            text=True,
            timeout=180,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    ca = ("--ca", str(place.keys.ca_file))
    assert "no code" in call(1, *ca)
    assert "ask the federation's operator for a new code" in call(2, *ca, FEDPROC_CODE="WRONG")
    assert "CERTIFICATE_VERIFY_FAILED" in call(1, FEDPROC_CODE="WRONG")
    (tmp_path / "code").write_text(place.code("CLI_HOST") + "\n")
    given = ("--code-file", str(tmp_path / "code"))
    pinned = ("--ca-sha256", certificate_sha256(place.keys.ca_file.read_text()))
    assert "nothing was sent" in call(2, *given, "--ca-sha256", "ab" * 32)
    seen = place.operator.get("/enrolments/CLI_HOST").json()
    assert seen["state"] == "offered"
    said = call(3, *given, *pinned)
    seen = place.operator.get("/enrolments/CLI_HOST").json()
    assert seen["fingerprint"] in said
    assert "waits until" in said
    place.confirm(place.sign(seen["request"]), "CLI_HOST")
    outcome = json.loads(call(0, *given, *pinned, "--json").partition("telephone.")[0].partition("The finger")[0])
    assert (outcome["state"], outcome["changed"]) == ("enrolled", True)
    assert json.loads(call(0, "--json"))["changed"] is False
    assert "nothing was changed" in call(0)
    assert (tmp_path / "etc/host.key").read_text() not in said


# -- whoever ends the TLS between host and centre


class Tampering:
    """What a site's program asks the centre, answered by somebody between who changes what he likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any]) -> None:
        real = httpx.Client.send

        def send(client: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
            answer = real(client, request, **options)
            if not request.url.path.startswith("/enrolments/"):
                return answer
            return httpx.Response(answer.status_code, json={**answer.json(), **changed}, request=request)

        monkeypatch.setattr(httpx.Client, "send", send)


def _confirmed(place: Place, asking: EnrolmentOptions) -> str:
    """The code of an enrolment that an operator has confirmed, and that the host has not fetched yet."""
    code = place.code()
    assert enrol(asking, lambda: code, 0, lambda said: None).state == "requested"
    request = place.operator.get(f"/enrolments/{HOST}").json()["request"]
    assert place.confirm(place.sign(request)).status_code == 200
    return code


def test_whoever_ends_tls_cannot_bring_an_authority_of_his_own(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pinned = certificate_sha256(place.keys.ca_file.read_text())
    asking = replace(place.asking(tmp_path / "etc"), ca_file=None, ca_sha256=pinned)
    code = _confirmed(place, asking)
    other = Keyring(tmp_path / "other")
    key = serialization.load_pem_private_key((tmp_path / "etc/host.key").read_bytes(), None)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    signer = serialization.load_pem_private_key(other.key("ca").private.read_bytes(), None)
    forged = certificate(other, key.public_key(), subject, False, 30, signer)
    Tampering(monkeypatch, {"authority": other.ca_file.read_text(), "certificate": forged})
    with pytest.raises(InvalidInputError, match="not the one that the operator told"):
        enrol(asking, lambda: code, 0, lambda said: None)
    assert [path.name for path in (tmp_path / "etc").iterdir()] == ["host.key"]


def test_nor_a_catalogues_key_of_his_own(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = place.federation.catalogue_key.as_pem(private=False).decode()
    told = (fingerprint_of_pem(real).replace(" ", ":").upper(),)
    asking = replace(place.asking(tmp_path), catalogue_sha256=told)
    code = _confirmed(place, asking)
    pem = _key().public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with monkeypatch.context() as between:
        Tampering(between, {"catalogue_keys": [real, pem.decode()]})
        with pytest.raises(InvalidInputError, match="of which the operator did not tell"):
            enrol(asking, lambda: code, 0, lambda said: None)
        assert [path.name for path in tmp_path.iterdir()] == ["host.key"]
    assert enrol(asking, lambda: code, 0, lambda said: None).state == "enrolled"


# -- codes


def test_a_code_is_shown_once_and_kept_as_a_hash(place: Place) -> None:
    code = place.code()
    for path in ("/enrolments", f"/enrolments/{HOST}", "/audit?limit=20"):
        text = place.operator.get(path).text
        assert code not in text
        assert "code_sha256" not in text


def test_a_new_code_makes_the_old_one_void(place: Place) -> None:
    old, key = place.code(), _key()
    assert place.put(old, make_request(key, HOST)).status_code == 200
    new = place.code()
    problem(place.put(old, make_request(key, HOST)), 403, "enrolment.code")
    assert place.seen(new).json()["state"] == "offered"
    assert place.put(new, make_request(_key(), HOST)).json()["state"] == "requested"


@pytest.mark.parametrize("code", ["x", "KW4HH-GNTC2-W3XGD-SKJ43-Y9QH2", "A" * 64, "\u00e9"])
def test_wrong_codes(place: Place, code: str) -> None:
    place.code()
    said = problem(place.put(code, make_request(_key(), HOST)), 403, "enrolment.code")["detail"]
    unknown = problem(place.put(code, make_request(_key(), "MARS"), "MARS"), 403, "enrolment.code")["detail"]
    assert said.replace(HOST, "") == unknown.replace("MARS", "")
    entry = place.operator.get("/audit", params={"target": HOST, "limit": 1}).json()["items"][0]
    assert (entry["actor"], entry["outcome"], entry["detail"]) == (f"enrolment:{HOST}", 403, "code=wrong")


def test_a_code_that_is_too_old(place: Place) -> None:
    code = place.code()
    with write_transaction(place.federation.engine) as connection:
        connection.execute(update(enrolments).where(enrolments.c.host == HOST).values(expires=time.time() - 1))
    assert "too long ago" in problem(place.put(code, make_request(_key(), HOST)), 403, "enrolment.code")["detail"]
    assert place.operator.get(f"/enrolments/{HOST}").json()["void"] is True


def test_too_many_wrong_tries_make_a_code_void(place: Place) -> None:
    code, request = place.code(), make_request(_key(), HOST)
    for number in range(10):
        problem(place.seen("WRONG") if number % 2 else place.put("WRONG", request), 403, "enrolment.code")
    assert "wrongly too often" in problem(place.put(code, request), 403, "enrolment.code")["detail"]
    assert place.operator.get(f"/enrolments/{HOST}").json()["void"] is True
    assert place.put(place.code(), request).status_code == 200


def test_strangers_cannot_undo_what_a_host_has_asked(place: Place) -> None:
    code, request = place.code(), make_request(_key(), HOST)
    assert place.put(code, request).status_code == 200
    for _ in range(12):
        problem(place.put("WRONG", request), 403, "enrolment.code")
    assert place.seen(code).json()["state"] == "requested"


def test_a_code_belongs_to_its_first_key(place: Place) -> None:
    code, key = place.code(), _key()
    assert place.put(code, make_request(key, HOST)).status_code == 200
    said = problem(place.put(code, make_request(_key(), HOST)), 409, "enrolment.key")["detail"]
    assert fingerprint(key.public_key()) in said
    assert "new code" in said
    assert place.confirm(place.sign(make_request(key, HOST))).status_code == 200
    problem(place.put(code, make_request(_key(), HOST)), 409, "enrolment.key")
    replayed = place.put(code, make_request(key, HOST)).json()
    assert (replayed["state"], bool(replayed["certificate"])) == ("confirmed", True)


def test_many_keys_at_once_and_one_wins(place: Place) -> None:
    code = place.code()
    requests = [make_request(_key(), HOST) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda request: place.put(code, request).status_code, requests))
    assert sorted(answers) == [200] + [409] * 7


# -- requests


def _csr(key: Any, *names: tuple[Any, str], extension: x509.ExtensionType | None = None) -> str:
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names or [(NameOID.COMMON_NAME, HOST)]])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if extension is not None:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def _forged() -> str:
    """A request whose last byte, of its signature, is another one."""
    der = bytearray(
        x509.load_pem_x509_csr(make_request(_key(), HOST).encode()).public_bytes(serialization.Encoding.DER)
    )
    der[-1] ^= 1
    return x509.load_der_x509_csr(bytes(der)).public_bytes(serialization.Encoding.PEM).decode()


CN = NameOID.COMMON_NAME
HOSTILE = {
    "empty": lambda: "-",
    "no request": lambda: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    "huge": lambda: "A" * 20_000,
    "another host": lambda: make_request(_key(), "UB"),
    "no name": lambda: _csr(_key(), (NameOID.ORGANIZATION_NAME, HOST)),
    "two names": lambda: _csr(_key(), (CN, HOST), (CN, "UB")),
    "more than a name": lambda: _csr(_key(), (CN, HOST), (NameOID.ORGANIZATION_NAME, "EUCAIM")),
    "RSA": lambda: _csr(rsa.generate_private_key(65537, 2048)),
    "P-384": lambda: _csr(ec.generate_private_key(ec.SECP384R1())),
    "wrong signature": _forged,
    "a server's name": lambda: _csr(
        _key(), extension=x509.SubjectAlternativeName([x509.DNSName("api.centre.test")])
    ),
    "an authority": lambda: _csr(_key(), extension=x509.BasicConstraints(ca=True, path_length=None)),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_requests_that_are_not_taken(place: Place, what: str) -> None:
    code = place.code()
    problem(place.put(code, HOSTILE[what]()), 422)
    assert place.seen(code).json()["state"] == "offered"


def test_a_body_that_is_too_large(place: Place) -> None:
    problem(place.put(place.code(), "A" * (5 << 20)), 413)


# -- decisions


def test_certificates_that_do_not_fit(place: Place) -> None:
    code, key = place.code(), _key()
    request = make_request(key, HOST)
    problem(place.confirm(place.sign(request)), 409, "enrolment.state")
    assert place.put(code, request).status_code == 200
    other = x509.Name([x509.NameAttribute(CN, "UB")])
    wrong = {
        "another host": place.sign(request, subject=other),
        "old": place.sign(request, days=-1),
        "an authority": place.sign(request, ca=True),
        "another authority": place.sign(request, signer=_key()),
        "none": "nothing",
    }
    for what, made in wrong.items():
        assert problem(place.confirm(made), 422, "enrolment.certificate")["detail"], what
    problem(place.confirm(place.sign(make_request(_key(), HOST))), 409, "enrolment.key")
    assert place.seen(code).json()["state"] == "requested"
    assert place.confirm(place.sign(request)).status_code == 200
    assert place.confirm(place.sign(request, days=90)).json()["state"] == "confirmed"


def test_a_refused_host_is_told_why(place: Place, tmp_path: Path) -> None:
    code = place.code()
    enrol(place.asking(tmp_path), lambda: code, 0, lambda said: None)
    refused = place.operator.post(f"/enrolments/{HOST}/refusal", json={"reason": "not the fingerprint on the phone"})
    assert refused.json()["state"] == "refused"
    with pytest.raises(EnrolmentRefusedError, match="not the fingerprint on the phone"):
        enrol(place.asking(tmp_path), lambda: code, 5, lambda said: None)
    problem(place.confirm(place.sign(place.operator.get(f"/enrolments/{HOST}").json()["request"])), 409)
    assert HOST not in [entry["host"] for entry in place.operator.get("/enrolments").json()]
    fresh = place.code()
    assert enrol(place.asking(tmp_path), lambda: fresh, 0, lambda said: None).state == "requested"


def test_only_operators_decide(place: Place) -> None:
    code, request = place.code(), make_request(_key(), HOST)
    place.put(code, request)
    rosa = {"Authorization": f"Bearer {place.federation.issuer.token('rosa', 'researcher')}"}
    for who, status in (({}, 401), (rosa, 403)):
        call = lambda *a, who=who, **k: place.anyone.request(*a, headers=who, **k)  # noqa: E731
        problem(call("POST", "/enrolments", json={"host": HOST}), status)
        problem(call("GET", "/enrolments"), status)
        problem(call("GET", f"/enrolments/{HOST}"), status)
        problem(call("POST", f"/enrolments/{HOST}/certificate", json={"certificate": place.sign(request)}), status)
        problem(call("POST", f"/enrolments/{HOST}/refusal", json={"reason": "no"}), status)
    problem(place.operator.get("/enrolments/MARS"), 404)


# -- the site's folder, and its proxy


def test_a_site_behind_a_proxy(place: Place, tmp_path: Path) -> None:
    code, port = place.code(), int(place.federation.url.rpartition(":")[2])
    (nowhere,) = free_ports(1)
    with ConnectProxy({f"localhost:{nowhere}": port}, user="ward:geheim").running() as proxy:
        url = f"https://localhost:{nowhere}"
        pinned = certificate_sha256(place.keys.ca_file.read_text())
        asking = EnrolmentOptions(url, HOST, tmp_path, ca_sha256=pinned, proxy=proxy.url_of("ward:geheim"))
        assert enrol(asking, lambda: code, 0, lambda said: None).state == "requested"
        assert set(proxy.asked) == {f"localhost:{nowhere}"}
        with pytest.raises(UnavailableError, match=r"407.*put a user and password that the proxy accepts"):
            enrol(replace(asking, proxy=proxy.url), lambda: code, 0, lambda said: None)


def test_what_the_site_does_not_take(place: Place, tmp_path: Path) -> None:
    code = place.code()
    enrol(place.asking(tmp_path), lambda: code, 0, lambda said: None)
    (tmp_path / "host.key").chmod(0o640)
    with pytest.raises(InvalidInputError, match="chmod 600"):
        enrol(place.asking(tmp_path), lambda: code, 0, lambda said: None)
    with pytest.raises(UnavailableError, match="does not answer"):
        enrol(replace(place.asking(tmp_path / "b"), url="https://127.0.0.1:9"), lambda: code, 0, lambda said: None)


def test_a_certificate_of_another_key_is_not_written(place: Place, tmp_path: Path) -> None:
    code = place.code()
    enrol(place.asking(tmp_path), lambda: code, 0, lambda said: None)
    other = place.sign(make_request(_key(), HOST))
    with write_transaction(place.federation.engine) as connection:
        change = {"state": "confirmed", "certificate": other}
        connection.execute(update(enrolments).where(enrolments.c.host == HOST).values(**change))
    with pytest.raises(InvalidInputError, match="not of this host's key"):
        enrol(place.asking(tmp_path), lambda: code, 0, lambda said: None)
    assert [path.name for path in tmp_path.iterdir()] == ["host.key"]
