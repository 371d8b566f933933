"""That something waits is told by mail and by webhook: once, again as a reminder, and whatever a server does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from email import message_from_bytes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.site.jobs.release.test_review import Site
from tests.support.certificates import Authority

from fedproc.demo.polling import free_ports
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.journal import Journal
from fedproc.site.settings import MailSettings, NotifySettings, WebhookSettings
from fedproc.site.status.mail import MailChannel
from fedproc.site.status.notice import secret_in
from fedproc.site.status.notices import NoticeSender, channels_of
from fedproc.site.status.webhook import WebhookChannel, key_of, signature

pytestmark = pytest.mark.process

PAUSE = 0.1


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    journal = Journal(tmp_path / "journal.sqlite")
    await journal.open()
    made = Site(tmp_path, journal, remind_days=1)
    made.seal(counts="secret 12")
    await made.begin()
    yield made
    await made.host.orchestrator.close()
    await journal.close()


class MailServer:
    """Takes mail as RFC 5321 has it, while ``works``."""

    def __init__(self) -> None:
        self.mails: list[bytes] = []
        self.logins: list[str] = []
        self.works = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            writer.write(b"220 mail.site ready\r\n")
            while (line := await reader.readline()) and not line.upper().startswith(b"QUIT"):
                await self._answer(line, reader, writer)
        writer.close()

    async def _answer(self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        verb = line[:4].upper()
        if not self.works:
            writer.write(b"451 later\r\n")
        elif verb == b"EHLO":
            writer.write(b"250-mail.site\r\n250 AUTH PLAIN\r\n")
        elif verb == b"AUTH":
            self.logins.append(line.decode())
            writer.write(b"235 ok\r\n")
        elif verb == b"DATA":
            writer.write(b"354 go\r\n")
            self.mails.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 kept\r\n")
        else:
            writer.write(b"250 ok\r\n")


@contextlib.asynccontextmanager
async def sending(site: Site, *channels: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(NoticeSender("UB", site.host.orchestrator, channels, PAUSE).run())
    yield
    task.cancel()


@contextlib.asynccontextmanager
async def mail_server(port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[MailServer]:
    server = MailServer()
    async with await asyncio.start_server(server.serve, "127.0.0.1", port, ssl=context):
        yield server


def mail(port: int, **more: Any) -> MailChannel:
    values = {"server": "localhost", "port": port, "tls": "none", "sender": "a@ub.example", "to": ("b@ub.example",)}
    return MailChannel(MailSettings.model_validate(values | more), ProxyConnector())


def tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    authority = Authority.make("site")
    ca = authority.save(folder / "ca")
    (folder / "server.pem").write_bytes(authority.issue("localhost"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "server.pem")
    return context, ca


async def test_one_mail_then_one_reminder_and_nothing_of_the_data(site):
    (port,) = free_ports(1)
    async with mail_server(port) as server, sending(site, mail(port)):
        await site.until(lambda: len(server.mails) == 1)
        text = message_from_bytes(server.mails[0]).get_payload()
        assert site.job in text
        assert not {"km", "alice", "counts", "secret"} & set(text.replace(":", " ").split())
        await asyncio.sleep(3 * PAUSE)
        assert len(server.mails) == 1
        site.live.review.reminded = True
        await site.until(lambda: len(server.mails) == 2)
        assert message_from_bytes(server.mails[1])["Subject"].startswith("Reminder: ")


async def test_a_dead_server_loses_nothing_and_a_daemon_after_it_sends_no_second_one(site, caplog):
    (port,) = free_ports(1)
    async with sending(site, mail(port)):
        await site.until(lambda: "notice.not_sent" in caplog.text)
    async with mail_server(port) as server:
        server.works = False
        async with sending(site, mail(port)):
            await site.until(lambda: caplog.text.count("notice.not_sent") > 1)
        server.works = True
        async with sending(site, mail(port)):
            await site.until(lambda: len(server.mails) == 1)
            async with asyncio.timeout(20):
                while '"notified"' not in str(await site.host.journal.known_text(site.job)):
                    await asyncio.sleep(0.01)
        await site.again()
        await site.until(lambda: site.live.review is not None)
        async with sending(site, mail(port)):
            await asyncio.sleep(3 * PAUSE)
        assert len(server.mails) == 1


async def test_mail_over_tls_with_a_password_from_a_file(site, tmp_path):
    (port,), (context, ca) = free_ports(1), tls(tmp_path)
    password = tmp_path / "password"
    password.touch(0o600)
    password.write_text("secret\n")
    channel = mail(port, tls="tls", ca_file=ca, user="fedproc", password_file=password)
    async with mail_server(port, context) as server, sending(site, channel):
        await site.until(lambda: len(server.mails) == 1)
        assert server.logins


async def test_a_webhook_is_signed_and_tried_again_until_it_is_taken(site, tmp_path, caplog):
    (port,), (context, ca) = free_ports(1), tls(tmp_path)
    secret = tmp_path / "secret"
    secret.touch(0o600)
    secret.write_text("whsec_" + "QUJD" * 12)
    asked: list[tuple[dict[str, str], bytes]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        asked.append((headers, await reader.readexactly(int(headers["content-length"]))))
        answer = b"503 later" if len(asked) == 1 else b"204 ok"
        writer.write(b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    settings = {"url": f"https://localhost:{port}/hook", "secret_file": secret, "ca_file": ca}
    channel = WebhookChannel(WebhookSettings.model_validate(settings), ProxyConnector())
    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=context), sending(site, channel):
        await site.until(lambda: site.live.review.notified == {"webhook": ["waiting"]})
    (first, _), (headers, body) = asked
    assert first["webhook-id"] == headers["webhook-id"]
    key = key_of(secret.read_bytes())
    assert headers["webhook-signature"] == signature(key, headers["webhook-id"], headers["webhook-timestamp"], body)
    (job,) = json.loads(body)["data"]["jobs"]
    assert job.keys() == {"job", "files", "since", "until", "reminder"}
    assert "answers HTTP 503" in caplog.text


async def test_a_secret_that_others_may_read_is_not_used(site, tmp_path, caplog):
    secret = tmp_path / "secret"
    secret.write_text("x" * 40)
    secret.chmod(0o644)
    settings = WebhookSettings.model_validate({"url": "https://localhost:1/", "secret_file": secret})
    (channel,) = channels_of(
        type("S", (), {"notify": NotifySettings(webhook=settings)})(),  # type: ignore[arg-type]
        ProxyConnector(),
    )
    async with sending(site, channel):
        await site.until(lambda: "may be read by others" in caplog.text)


async def test_whatever_bytes_a_secret_is_no_channel_ends_the_others_and_no_path_is_logged(site, tmp_path, caplog):
    secrets = {"raw": bytes(range(200, 232)), "short": b"\xff", "password": "pässwort".encode()}
    for name, content in secrets.items():
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(content)

    def webhook(url: str, name: str) -> WebhookChannel:
        settings = WebhookSettings.model_validate({"url": url, "secret_file": tmp_path / name})
        return WebhookChannel(settings, ProxyConnector())

    (port,) = free_ports(1)
    channels = (
        webhook("https://127.0.0.1:1/services/T0/hidden-part", "raw"),
        webhook("https://127.0.0.1:99999/services/hidden-part", "raw"),
        webhook("https://127.0.0.1:1/", "short"),
        mail(port, user="fedproc", password_file=tmp_path / "password"),
    )
    async with mail_server(port) as server, sending(site, *channels, mail(port)):
        await site.until(lambda: len(server.mails) == 1 and caplog.text.count("notice.not_sent") >= 4)
    assert caplog.text.count("notice.unusable") == 2
    assert "webhook https://127.0.0.1:1: " in caplog.text
    assert "hidden-part" not in caplog.text


def test_secret_of_raw_bytes_is_taken_as_it_is(tmp_path):
    path = tmp_path / "secret"
    path.touch(0o600)
    for written, read in ((b" x \n", b"x"), (b"\x80 \n", b"\x80 ")):
        path.write_bytes(written)
        assert secret_in(path) == read


async def test_channels_end_together_so_that_none_is_served_twice_when_they_begin_again(monkeypatch):
    def due(_: NoticeSender, channel: str) -> list[Any]:
        if channel == "first":
            raise KeyError("unforeseen")
        return []

    monkeypatch.setattr(NoticeSender, "_due", due)
    channels: list[Any] = [SimpleNamespace(name=name, check=lambda: None) for name in ("first", "second")]
    before = asyncio.all_tasks()
    with pytest.raises(KeyError):
        await NoticeSender("UB", SimpleNamespace(), channels, 60).run()  # type: ignore[arg-type]
    assert asyncio.all_tasks() == before
