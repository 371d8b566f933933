"""A host is let in by the commands that a site's and the centre's operators have."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from fedproc.demo.federation import read_env
from fedproc.demo.keys import Keyring, _certificate

pytestmark = pytest.mark.needs_federation


@pytest.fixture
def fedproc(running, tmp_path):
    environment = {**os.environ, **read_env(running.folder), "XDG_CONFIG_HOME": str(tmp_path), "COLUMNS": "1000"}

    def call(*arguments: str, code: int = 0, **changed: str):
        command = [sys.executable, "-m", "fedproc.cli", *arguments]
        merged = {**environment, **changed}
        done = subprocess.run(command, env=merged, capture_output=True, text=True, timeout=180, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stdout + done.stderr

    return call


def _signed(running, request: str) -> str:
    keys = Keyring(running.folder / "keys")
    authority = x509.load_pem_x509_certificate(keys.ca_file.read_bytes())
    signer = serialization.load_pem_private_key(keys.key("ca").private.read_bytes(), None)

    class Asked:
        public_key = x509.load_pem_x509_csr(request.encode()).public_key

    made = _certificate("LATE", Asked(), signer, issuer=authority, names=["late.hosts.fedproc.internal"])
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_from_a_code_to_the_books(running, fedproc, tmp_path):
    given = json.loads(fedproc("hosts", "code", "LATE", "--json"))
    url = read_env(running.folder)["FEDPROC_URL"]
    site = ("site", "enrol", "--url", url, "--host", "LATE", "--folder", str(tmp_path / "etc"))
    said = fedproc(*site, code=3, FEDPROC_CODE=given["code"])
    (open_one,) = json.loads(fedproc("hosts", "enrolments", "--json"))
    assert open_one["fingerprint"] in said
    assert open_one["fingerprint"] in fedproc("hosts", "enrolments")

    certificate = tmp_path / "LATE.crt"
    certificate.write_text(_signed(running, open_one["request"]))
    confirm = ("hosts", "confirm", "LATE", "--certificate", str(certificate), "--fingerprint")
    assert "if the site is sure, reject it" in fedproc(*confirm, "ab" * 32, code=1)
    assert "is confirmed" in fedproc(*confirm, open_one["fingerprint"].replace(" ", ""))
    assert "is enrolled" in fedproc(*site, FEDPROC_CODE=given["code"])
    assert "LATE is enrolled" in fedproc("hosts", "enrol", "LATE", "--role", "compute")
    assert "no enrolment is open" in fedproc("hosts", "enrolments")
    assert "capital letters" in fedproc("hosts", "code", "late", code=1)


def test_a_host_that_is_refused(running, fedproc, tmp_path):
    code = json.loads(fedproc("hosts", "code", "WRONG_ONE", "--json"))["code"]
    url = read_env(running.folder)["FEDPROC_URL"]
    site = ("site", "enrol", "--url", url, "--host", "WRONG_ONE", "--folder", str(tmp_path / "etc"))
    fedproc(*site, code=3, FEDPROC_CODE=code)
    assert "is refused" in fedproc("hosts", "reject", "WRONG_ONE", "--reason", "another fingerprint")
    assert "another fingerprint" in fedproc(*site, code=2, FEDPROC_CODE=code)
