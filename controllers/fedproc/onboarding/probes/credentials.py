"""The host's key and certificates on disk: who may read them, whether they belong together, how long they are good."""

from __future__ import annotations

import os
import pwd
import ssl
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from fedproc.onboarding.model.facts import CertificateFacts, CredentialFacts
from fedproc.onboarding.probes import x509

FOR_OTHERS_ANY, FOR_OTHERS_WRITE = 0o077, 0o022


class KeyLockedError(Exception):
    """The key asks for a passphrase."""


def probe(key: Path | None, certificate: Path | None, ca_file: Path | None) -> CredentialFacts:
    """Never shows a byte of the key: of it, only modes and whether it matches."""
    described, reason = _describe(certificate)
    match, match_reason = matches(key, certificate)
    given = [p for p in (key, certificate, ca_file) if p is not None]
    problems = (*_key_problems(key), *_public_problems(certificate), *_public_problems(ca_file))
    return CredentialFacts(described, reason, match, match_reason, problems, tuple(map(str, given)))


def matches(key: Path | None, certificate: Path | None) -> tuple[bool | None, str]:
    """Whether the private key belongs to the certificate, or ``None`` and the reason."""
    if key is None or certificate is None:
        return None, f"no {'key' if key is None else 'certificate'} was given"
    if reason := next(filter(None, map(_unreadable, (key, certificate))), ""):
        return None, reason
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=_refuse)
    except KeyLockedError:
        return None, f"{key} is protected by a passphrase"
    except ssl.SSLError as error:
        if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"):
            return False, ""
        return None, f"{key} and {certificate} are not a PEM key and certificate: {error}"
    return True, ""


def _unreadable(path: Path) -> str:
    """Why it cannot be read; empty if it can. It is opened, as access(2) leaves out what capabilities allow."""
    try:
        path.open("rb").close()
    except OSError as error:
        return f"{path} cannot be read by {_user(os.geteuid())}: {error.strerror}"
    return ""


def _refuse() -> bytes:
    raise KeyLockedError


def _describe(path: Path | None) -> tuple[CertificateFacts | None, str]:
    if path is None:
        return None, "no certificate was given"
    try:
        found = x509.of_file(path)[0]
    except (OSError, ValueError) as error:
        return None, f"{path}: {error}"
    now = datetime.now(UTC)
    left = (found.not_after - now).total_seconds() / 86400
    times = (found.not_before.isoformat(), found.not_after.isoformat())
    return CertificateFacts(found.subject, found.issuer, *times, found.not_before <= now, round(left, 2)), ""


def _key_problems(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        found = path.lstat()
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if not stat.S_ISREG(found.st_mode):
        yield f"{path} is not a regular file"
    elif found.st_mode & FOR_OTHERS_ANY:
        yield f"{path} has mode {stat.S_IMODE(found.st_mode):04o}: others than its owner can reach the private key"
    yield from _folder_problems(path)


def _public_problems(path: Path | None) -> Iterator[str]:
    if path is None:
        return
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield f"{path}: {error.strerror}"
        return
    if mode & FOR_OTHERS_WRITE:
        yield f"{path} has mode {stat.S_IMODE(mode):04o}: others than its owner can replace it"
    yield from _folder_problems(path)


def _folder_problems(path: Path) -> Iterator[str]:
    """Who may write into a folder above may put another file in the place of this one."""
    owner = path.lstat().st_uid
    for folder in path.absolute().parents:
        found = folder.stat()
        open_to_all = found.st_mode & FOR_OTHERS_WRITE and not found.st_mode & stat.S_ISVTX
        if open_to_all or found.st_uid not in (0, owner):
            shown = f"owner {_user(found.st_uid)}, mode {stat.S_IMODE(found.st_mode):04o}"
            yield f"the folder {folder} ({shown}) lets others replace {path.name}"


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
