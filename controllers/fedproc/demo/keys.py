"""Keys and certificates of a federation on one machine. Each is made once; what is there stays."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedproc.common.files import write_atomically
from fedproc.contract.ids import dns_label

_LIFETIME = timedelta(days=365)
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class KeyPair:
    """Files of one key: private (0600) and public half in PEM, and the certificate if it has one."""

    private: Path
    public: Path
    certificate: Path


class Keyring:
    """The keys below one folder: ``NAME.key``, ``NAME.pub``, ``NAME.crt``, and the authority ``ca``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @property
    def ca_file(self) -> Path:
        """The authority's certificate; the authority is made at the first call."""
        pair = self._pair("ca")
        if not pair.certificate.exists():
            key = _read(self.key("ca"))
            certificate = _certificate("fedproc demo authority", key, key, issuer=None, names=[])
            write_atomically(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return pair.certificate

    def key(self, name: str, *, rsa_bits: int | None = None) -> KeyPair:
        """A P-256 key, or an RSA key of that many bits."""
        pair = self._pair(name)
        if not pair.private.exists():
            made: PrivateKey = (
                rsa.generate_private_key(65537, rsa_bits) if rsa_bits else ec.generate_private_key(ec.SECP256R1())
            )
            public = made.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            write_atomically(pair.public, public)
            private = made.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_atomically(pair.private, private, mode=0o600)
        return pair

    def host(self, host: str) -> KeyPair:
        """A host's one key, with its enrolment certificate: common name is the host id."""
        return self._certified(host, host, [f"{dns_label(host)}.hosts.fedproc.internal"])

    def server(self, name: str) -> KeyPair:
        """A key with a certificate for a server on the loopback interface."""
        return self._certified(name, "localhost", ["localhost"])

    def _certified(self, name: str, common_name: str, names: list[str]) -> KeyPair:
        pair = self.key(name)
        if not pair.certificate.exists():
            ca = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            certificate = _certificate(common_name, _read(pair), _read(self.key("ca")), issuer=ca, names=names)
            write_atomically(pair.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        return pair

    def _pair(self, name: str) -> KeyPair:
        return KeyPair(*(self._folder / f"{name}.{ending}" for ending in ("key", "pub", "crt")))


def _read(pair: KeyPair) -> PrivateKey:
    return serialization.load_pem_private_key(pair.private.read_bytes(), None)  # type: ignore[return-value]


def _certificate(
    common_name: str, key: PrivateKey, signer: PrivateKey, *, issuer: x509.Certificate | None, names: list[str]
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if issuer is None:
        builder = builder.add_extension(_ca_usage(), critical=True)
    else:
        builder = builder.add_extension(usages, critical=False)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
    return builder.sign(signer, hashes.SHA256())


def _ca_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
