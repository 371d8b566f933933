"""What an enrolment leaves in its folder, and what is checked before: nothing counts just because it came."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedproc.common.errors import InvalidInputError
from fedproc.common.files import write_atomically
from fedproc.common.keys import load_key
from fedproc.contract.api.enrolments import Enrolled
from fedproc.contract.enrolment import (
    certificate_sha256,
    fingerprint_of_pem,
    public_pem,
    read_certificate,
    same_fingerprint,
)

if TYPE_CHECKING:
    from fedproc.site.centre.enrolment.request import EnrolmentOptions


def key_files(folder: Path, name: str) -> list[str]:
    """The files of the centre's keys of this name."""
    return sorted(str(path) for path in (folder / "keys").glob(f"{name}*.pub"))


def enrolled_key(folder: Path, host: str) -> ec.EllipticCurvePublicKey | None:
    """The key of a folder that holds all that enrolment gives; None if something is missing, or too old."""
    paths = folder / "host.key", folder / "host.crt", folder / "ca.crt"
    if (
        not all(path.exists() for path in paths)
        or not key_files(folder, "dispatch")
        or not key_files(folder, "catalogue")
    ):
        return None
    key = _load(paths[0]).public_key()
    try:
        certified = read_certificate(paths[1].read_text(), host, paths[2].read_text())
    except InvalidInputError:
        return None
    return key if public_pem(certified) == public_pem(key) else None


def own_key(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, bool]:
    """The host's key, and whether it was made just now."""
    path = folder / "host.key"
    if path.exists():
        return _load(path), False
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(path, key.private_bytes(*form), 0o600)
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be written: {error.strerror}") from error
    return key, True


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInputError(f"{path} may be read by others: chmod 600 {path}, or make a new key by removing it")
        key = load_key(path.read_bytes())
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidInputError(f"{path}: {error}; remove it, and a fitting key is made") from error
    if not isinstance(key.private_key, ec.EllipticCurvePrivateKey):
        raise InvalidInputError(f"{path} is a public key: remove it, and a fitting key is made")
    return key.private_key


def keep(options: EnrolmentOptions, key: ec.EllipticCurvePublicKey, response: Enrolled) -> bool:
    """Check what the centre gave, then write what is new of it; what is not to be trusted leaves all as it was."""
    authority, certificate = _certified(options, key, response)
    texts = {**_named("dispatch", response.dispatch_keys), **_named("catalogue", response.catalogue_keys)}
    _check_catalogue(options, response.catalogue_keys)
    texts |= {"ca.crt": authority, "host.crt": certificate}
    folder = options.folder
    try:
        (folder / "keys").mkdir(exist_ok=True)
        new = {name: text for name, text in texts.items() if not _has(folder / name, text)}
        for name, text in new.items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written: {error.strerror}") from error
    return bool(new)


def _certified(options: EnrolmentOptions, key: ec.EllipticCurvePublicKey, response: Enrolled) -> tuple[str, str]:
    """The authority and the certificate that came, if they are the right ones: whoever ends TLS may change both."""
    if response.authority is None or response.certificate is None:
        raise InvalidInputError("the centre does not know its authority: its operator sets 'authority' in its settings")
    if options.ca_sha256 is not None and not same_fingerprint(
        certificate_sha256(response.authority), options.ca_sha256
    ):
        raise InvalidInputError("the authority that came is not the one that the operator told: tell the operator")
    certified = read_certificate(response.certificate, response.host, response.authority)
    if response.host != options.host or public_pem(certified) != public_pem(key):
        raise InvalidInputError("the certificate that came is not of this host's key: tell the federation's operator")
    return response.authority, response.certificate


def _check_catalogue(options: EnrolmentOptions, pems: list[str]) -> None:
    """Raises :class:`InvalidInputError` for a key that the site does not expect: its owner could approve any tool."""
    for pem in pems if options.catalogue_sha256 else []:
        shown = fingerprint_of_pem(pem)
        if not any(same_fingerprint(shown, expected) for expected in options.catalogue_sha256):
            raise InvalidInputError(
                f"the centre gave a catalogue key with the sha256 {shown}, of which the operator did not tell: nothing "
                "was written; ask him whether the catalogue has a new key"
            )


def _has(path: Path, text: str) -> bool:
    return path.exists() and path.read_bytes() == text.encode()


def _named(name: str, pems: list[str]) -> dict[str, str]:
    if not pems:
        raise InvalidInputError(f"the centre gave no {name} keys: its operator looks at its settings")
    for pem in pems:
        try:
            load_key(pem)
        except ValueError as error:
            raise InvalidInputError(f"the centre gave a {name} key that cannot be used: {error}") from error
    return {f"keys/{name}{f'-{number}' if number > 1 else ''}.pub": pem for number, pem in enumerate(pems, 1)}
