"""A webhook of the site, over HTTPS and through its proxy, signed (HMAC-SHA256) as Standard Webhooks 1.0.0 has it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from urllib.parse import urlsplit

import httpx

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.common.tls import client_context
from fedproc.contract.times import now
from fedproc.site.centre.egress import ProxyConnector
from fedproc.site.settings import WebhookSettings
from fedproc.site.status.notice import Notice, body_of, secret_in

_PREFIX = b"whsec_"
_LEAST = 24


class WebhookChannel:
    """See :class:`fedproc.site.status.notice.Channel`."""

    name = "webhook"

    def __init__(self, settings: WebhookSettings, egress: ProxyConnector) -> None:
        self._settings = settings
        self._egress = egress

    def check(self) -> None:
        """Raises :class:`InvalidInputError`, and OSError."""
        key_of(secret_in(self._settings.secret_file))
        client_context(self._settings.ca_file)

    async def send(self, host: str, notices: Sequence[Notice]) -> None:
        """Raises :class:`UnavailableError` unless it is answered with 2xx, :class:`InvalidInputError`, and OSError."""
        at = now()
        body = json.dumps(body_of(host, notices, at)).encode()
        about = json.dumps([host, [(each.job, each.is_reminder) for each in notices]]).encode()
        name, moment = f"msg_{hashlib.sha256(about).hexdigest()[:32]}", str(int(at.timestamp()))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": name,
            "webhook-timestamp": moment,
            "webhook-signature": signature(key_of(secret_in(self._settings.secret_file)), name, moment, body),
        }
        context = client_context(self._settings.ca_file)
        try:
            async with self._egress.http_client(context, httpx.Timeout(30)) as http:
                answer = await http.post(self._settings.url, content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise UnavailableError(f"webhook {self._where}: {error or type(error).__name__}") from error
        if not answer.is_success:
            raise UnavailableError(f"webhook {self._where} answers HTTP {answer.status_code}")

    @property
    def _where(self) -> str:
        """For the log: whoever knows the path of many webhooks may write to them."""
        parts = urlsplit(self._settings.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def key_of(secret: bytes) -> bytes:
    """Raises :class:`InvalidInputError` for one that is too short, or no base64 after its ``whsec_``."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True) if secret.startswith(_PREFIX) else None
    except binascii.Error as error:
        raise InvalidInputError("the webhook's secret is no base64 after whsec_") from error
    found = key if key is not None else secret
    if len(found) < _LEAST:
        raise InvalidInputError(f"the webhook's secret has less than {_LEAST} bytes")
    return found


def signature(key: bytes, name: str, moment: str, body: bytes) -> str:
    """Over id, time and body, joined by dots."""
    signed = b".".join((name.encode(), moment.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
