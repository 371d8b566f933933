"""What the authority's role signs: the key that people compared, for the host's own name, and nothing more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from fedproc.contract.enrolment import fingerprint, make_request, public_pem, read_certificate
from fedproc.demo.keys import Keyring

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[2]
PLAY: list[dict[str, Any]] = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "tasks": [
            {"ansible.builtin.include_role": {"name": "certificate_authority", "tasks_from": "sign"}},
            {
                "ansible.builtin.copy": {
                    "content": "{{ certificate_authority_host_certificate }}\n{{ certificate_authority_host_key }}",
                    "dest": "{{ certificate_authority_folder }}/signed",
                    "mode": "0600",
                }
            },
        ],
    }
]


def sign(folder: Path, request: str, told: str) -> str:
    """Run the role with an authority in ``folder``; what it said. What was signed is in ``folder/signed``."""
    keys = Keyring(folder / "keys")
    (folder / "ca.crt").write_bytes(keys.ca_file.read_bytes())
    (folder / "ca.key").write_bytes(keys.key("ca").private.read_bytes())
    (folder / "play.yml").write_text(json.dumps(PLAY))
    values = {
        "ansible_python_interpreter": sys.executable,
        "federation_domain": "example.org",
        "federation_files": str(folder),
        "certificate_authority_folder": str(folder),
        "certificate_authority_host": "UB",
        "certificate_authority_request": request,
        "certificate_authority_fingerprint": told,
    }
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-e", json.dumps(values)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible/ansible.cfg"), "NO_COLOR": "1"}
    done = subprocess.run(
        [*command, str(folder / "play.yml")], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode == 0) == (folder / "signed").exists(), done.stdout + done.stderr
    return done.stdout


@pytest.mark.process
def test_the_key_that_was_compared_is_certified(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    sign(tmp_path, make_request(key, "UB"), fingerprint(key.public_key()))
    certificate, _, handed_on = (tmp_path / "signed").read_text().partition("-----BEGIN PUBLIC")
    certified = read_certificate(certificate, "UB", (tmp_path / "ca.crt").read_text())
    assert public_pem(certified) == public_pem(key.public_key())
    assert ("-----BEGIN PUBLIC" + handed_on).strip() == public_pem(key.public_key()).decode().strip()


@pytest.mark.process
@pytest.mark.parametrize("asked", ["another key", "an extension"])
def test_a_centre_that_lies_about_a_request_gets_nothing_signed(tmp_path: Path, asked: str) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "UB")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    if asked == "another key":
        made, says = request.sign(other, hashes.SHA256()), "not of the one that was compared"
    else:
        names = x509.SubjectAlternativeName([x509.DNSName("api.example.org")])
        made, says = request.add_extension(names, critical=False).sign(key, hashes.SHA256()), "its extensions are"
    told = sign(tmp_path, made.public_bytes(Encoding.PEM).decode(), fingerprint(key.public_key()))
    assert says in " ".join(told.split())
