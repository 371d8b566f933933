"""Mail by the site's own server (SMTP, RFC 5321), with TLS as its settings say."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from typing import Any

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.common.tls import client_context
from fedproc.net.errors import RouteError
from fedproc.net.route import Route
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.settings import MailSettings
from fedproc.site.status.notice import Notice, secret_in, text_of

_SECONDS = 30.0


class MailChannel:
    """See :class:`fedproc.site.status.notice.Channel`."""

    name = "mail"

    def __init__(self, settings: MailSettings, egress: ProxyConnector) -> None:
        self._settings = settings
        self._egress = egress

    def check(self) -> None:
        """Raises :class:`InvalidInputError`, and OSError."""
        client_context(self._settings.ca_file)
        if self._settings.password_file is not None:
            _password(self._settings.password_file)

    async def send(self, host: str, notices: Sequence[Notice]) -> None:
        """One mail about all of them. Raises :class:`UnavailableError`, :class:`InvalidInputError`, and OSError."""
        await asyncio.to_thread(self._send, _mail(self._settings, host, notices))

    def _send(self, mail: EmailMessage) -> None:
        settings = self._settings
        context = client_context(settings.ca_file)
        try:
            server = _Smtp(self._open, context if settings.tls == "tls" else None)
            server.connect(settings.server, settings.port)
            with server:
                if settings.tls == "starttls":
                    server.starttls(context=context)
                if settings.user is not None and settings.password_file is not None:
                    server.login(settings.user, _password(settings.password_file))
                server.send_message(mail)
        except (smtplib.SMTPException, RouteError) as error:
            text = f"mail server {settings.server}:{settings.port}: {error}"
            raise UnavailableError(text) from error

    def _open(self) -> socket.socket:
        """Raises :class:`RouteError`."""
        settings = self._settings
        proxy = self._egress.proxy_for(settings.server) if settings.through_proxy else None
        return Route(settings.server, settings.port, proxy).open()


def _password(path: Path) -> str:
    found = secret_in(path)
    if not found.isascii():
        raise InvalidInputError(
            f"{path}: the mail server's password has other characters than ASCII, which no login sends"
        )
    return found.decode("ascii")


class _Smtp(smtplib.SMTP):
    """Over a connection that ``opened`` makes; with ``context``, of TLS from its first byte."""

    def __init__(self, opened: Callable[[], socket.socket], context: ssl.SSLContext | None) -> None:
        super().__init__(timeout=_SECONDS)
        self._opened = opened
        self._context = context

    def connect(self, host: str = "localhost", port: int = 0, source_address: Any = None) -> tuple[int, bytes]:
        self._host = host  # of the certificate, also by STARTTLS
        return super().connect(host, port, source_address)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        channel = self._opened()
        channel.settimeout(timeout)
        return channel if self._context is None else self._context.wrap_socket(channel, server_hostname=host)


def _mail(settings: MailSettings, host: str, notices: Sequence[Notice]) -> EmailMessage:
    mail = EmailMessage()
    reminder = "Reminder: " if any(each.is_reminder for each in notices) else ""
    mail["Subject"] = f"{reminder}fedproc {host}: {len(notices)} wait for release"
    mail["From"], mail["To"] = settings.sender, ", ".join(settings.to)
    mail["Date"], mail["Message-ID"] = formatdate(), make_msgid(domain=settings.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text_of(host, notices))
    return mail
