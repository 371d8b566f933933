"""What host and centre both know of enrolment: codes, fingerprints, certificate requests and certificates (PEM)."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from cryptography.x509.oid import NameOID

from fedproc.common.errors import InvalidInputError
from fedproc.common.keys import load_key

CODE_HEADER = "Enrolment-Code"
LONGEST = 16_384
"""Characters of a request or certificate."""

_LETTERS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_GROUPS, _GROUP = 5, 5
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion)


def new_code() -> str:
    """A single-use code of 122 random bits, in groups, without letters that are taken for one another."""
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(_GROUP)) for _ in range(_GROUPS))
    return "-".join(groups)


def code_hash(code: str) -> str:
    """The sha256 under which a code is kept; dashes, spaces and case do not count."""
    plain = "".join(letter for letter in code if letter not in "- \t\r\n").upper()
    return hashlib.sha256(plain.encode()).hexdigest()


def fingerprint(key: ec.EllipticCurvePublicKey) -> str:
    """sha256 of the SubjectPublicKeyInfo (DER) in hexadecimal groups of four, to be read to somebody."""
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return " ".join(digest[start : start + 4] for start in range(0, len(digest), 4))


def fingerprint_of_pem(pem: str) -> str:
    """The same of a public key in PEM form. Raises :class:`InvalidInputError`."""
    try:
        key = load_pem_public_key(pem.encode())
    except _UNREADABLE as error:
        raise _wrong("public key", "it is none in PEM form") from error
    return fingerprint(_p256(key, "public key"))


def same_fingerprint(one: str, other: str) -> bool:
    """Whether two fingerprints are the same, however they are grouped."""
    plain = ("".join(letter for letter in text.lower() if letter.isalnum()) for text in (one, other))
    return next(plain) == next(plain)


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def make_request(key: ec.EllipticCurvePrivateKey, host: str) -> str:
    """A certificate request (PEM) that asks for nothing but the host's id as common name."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def read_request(pem: str, host: str) -> ec.EllipticCurvePublicKey:
    """The key that a request proves to hold. Raises :class:`InvalidInputError` for one that ``host`` may not make.

    Extensions are refused, because a signer may copy them: a host would name itself as a server of the centre.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, signed = request.public_key(), request.is_signature_valid
        extensions = len(request.extensions)
    except (*_UNREADABLE, x509.DuplicateExtension) as error:
        raise _wrong("request", "it is no certificate request in PEM form") from error
    if not signed:
        raise _wrong("request", "its signature does not fit its key")
    if extensions:
        raise _wrong("request", "it asks for extensions; a host may ask for its name alone")
    _check_name(request.subject, host, "request")
    return _p256(key, "request")


def read_certificate(pem: str, host: str, authority: str | None = None) -> ec.EllipticCurvePublicKey:
    """The key that a certificate of ``host`` is of. Raises :class:`InvalidInputError` for one that does not count.

    ``authority`` is the certificate (PEM) by which it must be signed.
    """
    certificate = _load(pem)
    _check_name(certificate.subject, host, "certificate")
    if not certificate.not_valid_before_utc <= datetime.now(UTC) < certificate.not_valid_after_utc:
        raise _wrong("certificate", f"it is good from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC "
                     f"to {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC only")  # fmt: skip
    if _is_authority(certificate):
        raise _wrong("certificate", "it lets its owner sign others")
    if authority is not None:
        _check_issuer(certificate, authority)
    return _p256(certificate.public_key(), "certificate")


def thumbprint_of(certificate: bytes) -> str | None:
    """The RFC 7638 thumbprint of the key that a certificate (DER) is of; None if that is no P-256 key."""
    try:
        return load_key(public_pem(_p256(x509.load_der_x509_certificate(certificate).public_key(), ""))).thumbprint()
    except (*_UNREADABLE, InvalidInputError):
        return None


def certificate_sha256(pem: str) -> str:
    """The sha256 of a certificate's DER form, as ``openssl x509 -fingerprint -sha256`` counts it."""
    return hashlib.sha256(_load(pem).public_bytes(Encoding.DER)).hexdigest()


def _load(pem: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem.encode())
    except _UNREADABLE as error:
        raise _wrong("certificate", "it is no certificate in PEM form") from error


def _check_name(subject: x509.Name, host: str, what: str) -> None:
    names = [(entry.oid, entry.value) for entry in subject]
    if names != [(NameOID.COMMON_NAME, host)]:
        raise _wrong(what, f"its subject must be CN={host} and nothing else; it is {subject.rfc4514_string()[:200]!r}")


def _check_issuer(certificate: x509.Certificate, authority: str) -> None:
    try:
        certificate.verify_directly_issued_by(_load(authority))
    except (ValueError, TypeError, InvalidSignature) as error:
        raise _wrong("certificate", "the federation's authority did not sign it") from error


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False
    except (*_UNREADABLE, x509.DuplicateExtension) as error:
        raise _wrong("certificate", "its extensions cannot be read") from error


def _p256(key: object, what: str) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise _wrong(what, "its key is not on curve P-256")
    return key


def _wrong(what: str, why: str) -> InvalidInputError:
    return InvalidInputError(f"the {what} cannot be taken: {why}", code=f"enrolment.{what}")
