"""What the centre shows of an enrolment, to its host and to operators."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Row

from fedproc.central.api.deps import AppState
from fedproc.central.db.repositories import enrolments
from fedproc.common.errors import SystemFaultError
from fedproc.common.keys import load_key
from fedproc.contract.api.enrolments import Enrolled, EnrolmentView
from fedproc.contract.times import moment

_PLAIN = ("host", "state", "request", "public_key", "fingerprint", "certificate", "reason")


def enrolment_view(row: Row[Any]) -> EnrolmentView:
    """For operators; the code's hash stays inside."""
    return EnrolmentView(
        **{name: getattr(row, name) for name in _PLAIN},
        created=moment(row.created),
        expires=moment(row.expires),
        void=row.state == "offered" and enrolments.unused_code_state(row, time.time()) != "good",
        requested=moment(row.requested) if row.requested else None,
        decided=moment(row.decided) if row.decided else None,
    )


def enrolled(app: AppState, row: Row[Any]) -> Enrolled:
    """For the host: its certificate, and the keys and addresses that it is to trust."""
    settings = app.settings
    return Enrolled(
        host=row.host,
        state=row.state,
        fingerprint=row.fingerprint,
        certificate=row.certificate,
        reason=row.reason,
        authority=offered_authority(app),
        dispatch_keys=[_public_pem(_public_half(settings.dispatch_key))],
        catalogue_keys=[_public_pem(path) for path in settings.catalogue_keys],
        api_url=settings.public_url,
        issuer_url=settings.issuer.url,
        broker_host=settings.broker.host,
        broker_port=settings.broker.port,
    )


def offered_authority(app: AppState) -> str | None:
    """The authority's certificate (PEM), if the settings name it."""
    path = app.settings.authority
    return None if path is None else _read(path).decode()


def _public_half(path: Path) -> Path:
    """Where it lies beside the key: the API need not be able to read the private one."""
    beside = path.with_suffix(".pub")
    return beside if beside.exists() else path


def _public_pem(path: Path) -> str:
    try:
        return load_key(_read(path)).as_pem(private=False).decode()
    except ValueError as error:
        raise SystemFaultError(f"{path}: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SystemFaultError(f"{path} cannot be read by the API: {error.strerror}") from error
