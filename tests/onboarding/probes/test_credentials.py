"""The host's key and certificate on real files: each fault has its own line, and the key's bytes go nowhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from tests.onboarding.conftest import Checker
from tests.support.certificates import PEM, Authority

pytestmark = pytest.mark.process

ALL_WELL = {
    "credentials.modes": "meets-recommended",
    "credentials.match": "meets-recommended",
    "credentials.expiry": "meets-recommended",
}


class Pair:
    """A key and certificate in a folder of their own, and the check of them."""

    def __init__(self, folder: Path, check: Any, **times: float) -> None:
        self.check, self.key, self.certificate = check, folder / "key.pem", folder / "host.pem"
        self.authority = Authority.make("enrolment CA")
        key, certificate = self.authority.pair("UB", **times)
        self.key.write_bytes(key)
        self.key.chmod(0o600)
        self.certificate.write_bytes(certificate)

    def __call__(self) -> Any:
        return self.check("--only", "credentials", "--key", str(self.key), "--certificate", str(self.certificate))


@pytest.fixture
def private(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder


def test_a_good_pair_is_good_and_nothing_of_the_key_is_shown(private: Path, check: Any) -> None:
    pair = Pair(private, check)
    result = pair()
    assert (result.code, result.verdicts) == (0, ALL_WELL)
    assert "'O=Test, CN=UB' by 'O=Test, CN=enrolment CA'" in result.lines["credentials.expiry"]["measured"]
    secret = pair.key.read_text().splitlines()[1]
    assert secret not in str(result.report)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p.key.chmod(0o640), "key.pem has mode 0640: others than its owner can reach"),
        (lambda p: p.key.chmod(0o604), "key.pem has mode 0604"),
        (lambda p: p.certificate.chmod(0o664), "host.pem has mode 0664: others than its owner can replace it"),
        (lambda p: p.key.parent.chmod(0o777), "(owner root, mode 0777) lets others replace key.pem"),
        (lambda p: os.chown(p.key.parent, 12345, -1), "(owner 12345, mode 0700) lets others replace key.pem"),
        (lambda p: (p.key.rename(p.key.with_name("real")), p.key.symlink_to("real")), "not a regular file"),
    ],
)
def test_file_modes_are_named_and_nothing_else_is(private: Path, check: Any, change: Any, says: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: files of other owners cannot be made here")
    pair = Pair(private, check)
    change(pair)
    result = pair()
    assert result.verdicts == ALL_WELL | {"credentials.modes": "fails"}
    assert says in result.lines["credentials.modes"]["measured"]
    assert "chmod 0600 the key" in result.lines["credentials.modes"]["cure"]


def test_the_key_of_another_certificate_is_named_and_nothing_else_is(private: Path, check: Any) -> None:
    pair = Pair(private, check)
    pair.certificate.write_bytes(pair.authority.pair("UB")[1])
    result = pair()
    assert result.verdicts == ALL_WELL | {"credentials.match": "fails"}
    assert "of different requests" in result.lines["credentials.match"]["measured"]


@pytest.mark.parametrize(
    ("times", "verdict", "says"),
    [
        ({"start": -100, "end": -1}, "fails", "expired"),
        ({"start": 1, "end": 90}, "fails", "not valid yet"),
        ({"start": -1, "end": 20}, "meets-minimum", "20 days left"),
    ],
)
def test_a_certificate_out_of_time_is_named_and_nothing_else_is(
    private: Path, check: Any, times: dict[str, float], verdict: str, says: str
) -> None:
    result = Pair(private, check, **times)()
    assert result.verdicts == ALL_WELL | {"credentials.expiry": verdict}
    assert says in result.lines["credentials.expiry"]["measured"]
    assert "renew it" in result.lines["credentials.expiry"]["cure"]


def test_a_key_behind_a_passphrase_could_not_be_compared_and_nobody_is_asked(private: Path, check: Any) -> None:
    pair = Pair(private, check)
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    secret = serialization.BestAvailableEncryption(b"geheim")
    pair.key.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, secret))
    result = pair()
    assert result.verdicts == ALL_WELL | {"credentials.match": "could-not-tell"}
    assert "passphrase" in result.lines["credentials.match"]["measured"]


def test_what_is_no_certificate_could_not_be_told(private: Path, check: Any) -> None:
    pair = Pair(private, check)
    pair.certificate.write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    result = pair()
    assert result.verdicts["credentials.match"] == result.verdicts["credentials.expiry"] == "could-not-tell"
    assert "host.pem" in result.lines["credentials.expiry"]["measured"]


AS = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
LIKE_THE_ORCHESTRATOR = (*AS, "--inh-caps=+dac_override", "--ambient-caps=+dac_override")
"""another user, with the capability that the unit of roles/orchestrator gives it"""


@pytest.mark.parametrize(("prefix", "verdict"), [(LIKE_THE_ORCHESTRATOR, "meets-recommended"), (AS, "could-not-tell")])
def test_key_that_is_roots_is_compared_by_who_may_read_it(prefix: tuple[str, ...], verdict: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("not root: no other user can be taken here")
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        result = Pair(folder, Checker(prefix))()
    assert result.verdicts["credentials.match"] == verdict
    if verdict == "could-not-tell":
        assert "key.pem cannot be read by nobody: Permission denied" in result.lines["credentials.match"]["measured"]
        assert result.lines["credentials.match"]["cure"].startswith("run the check as root")


def test_certificate_in_der_is_told_with_its_cure(private: Path, check: Any) -> None:
    pair = Pair(private, check)
    pem = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    pair.certificate.write_bytes(pem.public_bytes(serialization.Encoding.DER))
    assert "it is DER, not PEM; turn it into PEM" in pair().lines["credentials.expiry"]["measured"]


def test_a_host_that_has_no_key_yet_is_not_asked_for_one(check: Any) -> None:
    result = check("--only", "memory", "--profile", "fedproc")
    assert not [name for name in result.lines if name.startswith("credentials")]
