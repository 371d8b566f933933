"""Who is at the other end of a connection between tasks: the enrolment certificates that both ends show."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

from fedproc.common.tls import show, trust
from fedproc.contract.enrolment import thumbprint_of
from fedproc.site.settings import ConnectionSettings


def context_of(protocol: int, settings: ConnectionSettings, key: Path) -> ssl.SSLContext:
    """Mutual TLS 1.3 with this host's enrolment certificate, for one side or the other.

    Raises :class:`fedproc.common.errors.InvalidInputError` that names the file that does not do.
    """
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if protocol == ssl.PROTOCOL_TLS_CLIENT:
        context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    trust(context, settings.ca_file)
    show(context, settings.certificate, key)
    return context


def shown_key(writer: asyncio.StreamWriter) -> str | None:
    """The thumbprint of the key that the other end has proved to have."""
    certificate = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return thumbprint_of(certificate) if certificate else None


def shown_host(writer: asyncio.StreamWriter) -> str:
    """The host id in the verified certificate of the other end (its common name)."""
    certificate = writer.get_extra_info("peercert") or {}
    names = {key: value for part in certificate.get("subject", ()) for key, value in part}
    return str(names.get("commonName", ""))
