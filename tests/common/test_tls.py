"""A CA file that does not do is named, with what is wrong and what to do; never a traceback of OpenSSL."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.certificates import Authority

from fedproc.client.transport import trusted
from fedproc.common.errors import InvalidInputError
from fedproc.common.tls import client_context
from fedproc.site.connections.tls import context_of
from fedproc.site.settings import ConnectionSettings


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make("test CA")


def wrong(authority: Authority, folder: Path, fault: str) -> Path:
    path = folder / f"{fault}.crt"
    if fault == "der":
        path.write_bytes(authority.certificate.public_bytes(Encoding.DER))
    elif fault == "folder":
        path.mkdir()
    elif fault != "missing":
        path.write_bytes({"empty": b"\n", "text": b"not a certificate\n"}[fault])
    return path


FAULTS = [
    ("missing", "No such file or directory; give the file with the certificate of the authority"),
    ("empty", "it is empty; copy the authority's certificate there again"),
    ("der", "it is DER, not PEM; turn it into PEM: openssl x509 -inform der -in "),
    ("text", "it has no certificate in PEM"),
    ("folder", "Is a directory; give the file"),
]


@pytest.mark.parametrize(("fault", "said"), FAULTS)
def test_ca_file_that_does_not_do_is_named_with_its_cure(
    authority: Authority, tmp_path: Path, fault: str, said: str
) -> None:
    path = wrong(authority, tmp_path, fault)
    settings = ConnectionSettings(certificate=tmp_path / "host.crt", ca_file=path)
    for load in (
        lambda: client_context(path),
        lambda: trusted(str(path)),
        lambda: context_of(ssl.PROTOCOL_TLS_CLIENT, settings, tmp_path / "host.key"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            load()
        assert caught.value.message.startswith(f"{path}: no CA certificate can be read there: {said}")


def test_certificate_of_another_key_is_named(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    (tmp_path / "host.crt").write_bytes(authority.pair("UB")[1])
    (tmp_path / "host.key").write_bytes(authority.pair("UB")[0])
    settings = ConnectionSettings(certificate=tmp_path / "host.crt", ca_file=tmp_path / "ca.crt")
    with pytest.raises(InvalidInputError, match=r"host\.crt with the key .*host\.key cannot be shown: "):
        context_of(ssl.PROTOCOL_TLS_CLIENT, settings, tmp_path / "host.key")


def test_good_file_is_trusted(authority: Authority, tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(authority.certificate.public_bytes(Encoding.PEM))
    context = client_context(tmp_path / "ca.crt")
    assert (context.cert_store_stats()["x509_ca"], context.check_hostname) == (1, True)
