"""As much of X.509 (RFC 5280) as a diagnosis needs, read from DER: the standard library shows no untrusted one.

Nothing here verifies anything. Malformed input raises :class:`ValueError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

SEQUENCE, OID, UTC_TIME, GENERALIZED_TIME = 0x30, 0x06, 0x17, 0x18
VERSION_TAG, EXTENSIONS_TAG, DNS_NAME_TAG = 0xA0, 0xA3, 0x82
SUBJECT_ALT_NAME = bytes.fromhex("551d11")
ATTRIBUTES = {"550403": "CN", "550406": "C", "550407": "L", "550408": "ST", "55040a": "O", "55040b": "OU"}


@dataclass(frozen=True)
class Certificate:
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    names: tuple[str, ...]
    sha256: str


def of_file(path: Path) -> list[Certificate]:
    """All certificates of a file. Raises :class:`ValueError` where it holds none in PEM, and OSError."""
    content = path.read_bytes()
    if content[:1] == bytes([SEQUENCE]):
        raise ValueError("it is DER, not PEM; turn it into PEM (openssl x509 -inform der -in FILE -out FILE.pem)")
    return from_pem(content.decode(errors="replace"))


def from_pem(text: str) -> list[Certificate]:
    """All certificates of a PEM file. Raises :class:`ValueError` where there is none."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    blocks = [part.split(end)[0] for part in text.split(begin)[1:]]
    if not blocks:
        raise ValueError("there is no certificate in it (no 'BEGIN CERTIFICATE')")
    return [from_der(ssl.PEM_cert_to_DER_cert(f"{begin}{block}{end}\n")) for block in blocks]


def from_der(der: bytes) -> Certificate:
    """Raises :class:`ValueError` where ``der`` is no certificate."""
    try:
        return _certificate(der)
    except IndexError as error:
        raise ValueError("malformed certificate") from error


def _certificate(der: bytes) -> Certificate:
    to_be_signed = _first(_first(der))
    fields = list(_items(to_be_signed))
    if fields[0][0] == VERSION_TAG:
        fields = fields[1:]
    _serial, _algorithm, issuer, validity, subject, *rest = fields
    start, end = (_time(tag, value) for tag, value in _items(validity[1]))
    extensions = next((value for tag, value in rest if tag == EXTENSIONS_TAG), b"")
    names = tuple(_dns_names(extensions))
    return Certificate(_name(subject[1]), _name(issuer[1]), start, end, names, sha256(der).hexdigest())


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element that ``data`` holds one after another (X.690, definite lengths)."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            length, at = int.from_bytes(data[at : at + size]), at + size
        if at + length > len(data):
            raise ValueError("malformed certificate: an element is cut off")
        yield tag, data[at : at + length]
        at += length


def _first(data: bytes) -> bytes:
    """The content of the first element."""
    for _, value in _items(data):
        return value
    raise ValueError("malformed certificate: an element is empty")


def _name(data: bytes) -> str:
    """A distinguished name as text; control characters cannot pass, because it comes from a stranger."""
    parts = []
    for _, relative in _items(data):
        for _, pair in _items(relative):
            (_, kind), (_, value) = _items(pair)
            text = value.decode("utf-8", "replace")
            parts.append(f"{ATTRIBUTES.get(kind.hex(), kind.hex())}={''.join(c for c in text if c.isprintable())}")
    return ", ".join(parts) or "(no name)"


def _time(tag: int, value: bytes) -> datetime:
    form = {UTC_TIME: "%y%m%d%H%M%SZ", GENERALIZED_TIME: "%Y%m%d%H%M%SZ"}.get(tag, "not a time")
    return datetime.strptime(value.decode("ascii"), form).replace(tzinfo=UTC)


def _dns_names(extensions: bytes) -> Iterator[str]:
    for _, listed in _items(extensions):
        for _, extension in _items(listed):
            parts = list(_items(extension))
            if parts[0] == (OID, SUBJECT_ALT_NAME):
                for tag, value in _items(_first(parts[-1][1])):
                    if tag == DNS_NAME_TAG:
                        yield "".join(c for c in value.decode("ascii", "replace") if c.isprintable())
