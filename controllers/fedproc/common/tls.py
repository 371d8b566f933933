"""Whom a program of ours trusts when it opens TLS; what is wrong with a file is said with its name."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedproc.common.errors import InvalidInputError

_DER = b"\x30"
"""the first byte of a certificate that is not PEM: ASN.1's SEQUENCE"""


def client_context(ca_file: Path | None) -> ssl.SSLContext:
    """A client's context that trusts ``ca_file``, or the system's authorities if there is none.

    Raises :class:`InvalidInputError` that names the file, what is wrong with it, and the cure.
    """
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:  # ssl.SSLError is one
        raise _unusable(ca_file, error) if ca_file else error from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def trust(context: ssl.SSLContext, ca_file: Path) -> None:
    """Have ``context`` trust the authorities in ``ca_file``. Raises as :func:`client_context` does."""
    try:
        context.load_verify_locations(str(ca_file))
    except OSError as error:
        raise _unusable(ca_file, error) from error


def show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Have ``context`` show ``certificate``, with its private ``key``. Raises :class:`InvalidInputError`."""
    try:
        context.load_cert_chain(str(certificate), str(key))
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidInputError(
            f"{certificate} with the key {key} cannot be shown: {reason}; both must be PEM, and of one request"
        ) from error


def _unusable(path: Path, error: OSError) -> InvalidInputError:
    return InvalidInputError(f"{path}: no CA certificate can be read there: {_fault(path, error)}")


def _fault(path: Path, error: OSError) -> str:
    try:
        content = path.read_bytes()
    except OSError as unreadable:
        return f"{unreadable.strerror}; give the file with the certificate of the authority"
    if not content.strip():
        return "it is empty; copy the authority's certificate there again"
    if content.startswith(_DER):
        return f"it is DER, not PEM; turn it into PEM: openssl x509 -inform der -in {path} -out {path.stem}.pem"
    if not isinstance(error, ssl.SSLError):
        return str(error)
    return "it has no certificate in PEM (-----BEGIN CERTIFICATE----- at the beginning of a line); copy it there again"
