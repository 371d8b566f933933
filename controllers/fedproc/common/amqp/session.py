"""One open connection to the broker, and the token that is its password."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NoReturn, Self

from pika import ConnectionParameters, PlainCredentials, exceptions

from fedproc.common.amqp.channel import Channel, PublishingChannel
from fedproc.common.amqp.errors import BrokerError, broker_error
from fedproc.common.amqp.stream import Opener, Stream, StreamConnection, open_stream
from fedproc.common.errors import UnavailableError
from fedproc.common.log import get_logger
from fedproc.common.retry import Backoff
from fedproc.common.sockets import set_keepalive
from fedproc.common.tasks import settle

log = get_logger(__name__)

TokenSource = Callable[[], Awaitable[tuple[str, float]]]
"""gives a token and how many seconds it is good for; raises :class:`UnavailableError`"""

_OPEN_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_TOKEN_SECONDS = 8.0
_HEARTBEAT_SECONDS = 60
_EARLY = 30.0
"""A token is renewed so many seconds before it expires, or at half its life."""
_LEAST_SECONDS = 0.5


@dataclass(frozen=True)
class BrokerAddress:
    """Where the broker is, and as whom it is spoken to; ``name`` is what its operator sees of the connection."""

    host: str
    port: int
    vhost: str
    user: str
    name: str
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Session:
    """An open connection, made by :meth:`open`; as a context manager it is closed at the end."""

    def __init__(self, address: BrokerAddress, token: TokenSource) -> None:
        self._address = address
        self._token = token
        self._expires = self._early = 0.0
        self._connection: Any = None
        self._blocked: str | None = None
        loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[Exception | None] = loop.create_future()
        self._lost: asyncio.Future[BrokerError] = loop.create_future()
        self._closed: asyncio.Future[None] = loop.create_future()

    # -- opening and closing

    @classmethod
    async def open(cls, address: BrokerAddress, token: TokenSource, opener: Opener = open_stream) -> Session:
        """Dial by ``opener`` and sign in. Raises :class:`UnavailableError`; :class:`BrokerError` says what is wrong."""
        session = cls(address, token)
        password = await session._fetch_token()
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                stream = await opener(address.host, address.port, address.tls)
                await session._sign_in(stream, password)
        except TimeoutError:
            raise BrokerError(f"broker {address} does not answer within {_OPEN_SECONDS:.0f} s") from None
        except ssl.SSLCertVerificationError as error:
            raise BrokerError(
                f"broker {address} has a certificate that is not trusted: {error.verify_message}"
            ) from error
        except OSError as error:
            raise BrokerError(f"broker {address} cannot be reached: {error}") from error
        return session

    async def _sign_in(self, stream: Stream, password: str) -> None:
        set_keepalive(stream[1])
        self._connection = StreamConnection(stream, self._parameters(password), self._on_opened, self._on_closed)
        self._connection.add_on_connection_blocked_callback(self._on_blocked)
        self._connection.add_on_connection_unblocked_callback(self._on_unblocked)
        try:
            error = await self._opened
        except asyncio.CancelledError:
            self._connection.abort(exceptions.ConnectionOpenAborted())
            raise
        if error is not None:
            raise broker_error(error)

    def _parameters(self, password: str) -> ConnectionParameters:
        return ConnectionParameters(
            host=self._address.host,
            port=self._address.port,
            virtual_host=self._address.vhost,
            credentials=PlainCredentials(self._address.user, password, erase_on_connect=True),
            heartbeat=_HEARTBEAT_SECONDS,
            client_properties={"connection_name": self._address.name},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Say goodbye, for a few seconds at most."""
        if self._connection.is_open:
            self._connection.close()
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await asyncio.shield(self._closed)
        except TimeoutError:
            log.warning("broker.close_unanswered")
        finally:
            self._connection.abort(exceptions.StreamLostError("it was let go"))

    # -- use

    @property
    def version(self) -> str:
        """The broker's."""
        return str((self._connection.server_properties or {}).get("version", "3"))

    async def channel(self, prefetch: int | None = None) -> Channel:
        """For declaring and consuming; the broker sends at most ``prefetch`` messages that are not acked."""
        channel = Channel(self._on_lost)
        await channel.open(self._make, prefetch)
        return channel

    async def publishing_channel(self) -> PublishingChannel:
        channel = PublishingChannel(self._on_lost, lambda: self._blocked)
        await channel.open(self._make)
        return channel

    def _make(self, **callbacks: Any) -> Any:
        try:
            return self._connection.channel(**callbacks)
        except exceptions.AMQPError as error:
            raise self._lost.result() if self._lost.done() else broker_error(error) from error

    # -- its life

    async def watch(self) -> NoReturn:
        """Renew the token while the session lasts. Raises what ended it: connection, channel, consumer or token."""
        renewing = asyncio.create_task(self._renew())
        either: set[asyncio.Future[Any]] = {renewing, self._lost}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            raise self._lost.result() if self._lost.done() else renewing.exception() or AssertionError
        finally:
            renewing.cancel()

    async def _fetch_token(self) -> str:
        """One attempt may not take all the time that is left for others."""
        try:
            async with asyncio.timeout(_TOKEN_SECONDS):
                token, lives = await self._token()
        except TimeoutError:
            raise UnavailableError(f"the issuer gives no token within {_TOKEN_SECONDS:.0f} s") from None
        self._expires, self._early = time.monotonic() + lives, min(_EARLY, lives / 2)
        return token

    async def _renew(self) -> NoReturn:
        while True:
            due = self._expires - self._early - time.monotonic()
            await asyncio.sleep(max(due, _LEAST_SECONDS))
            await self._renew_once(self._expires)

    async def _renew_once(self, expires: float) -> None:
        """What fails, however it does, is tried again for as long as the present token is good."""
        backoff = Backoff(1, 5)
        while True:
            try:
                await self._update_secret(await self._fetch_token())
            except Exception as error:
                left = expires - time.monotonic()
                if left <= 0:
                    raise UnavailableError(f"the token for the broker was not renewed: {error}") from error
                pause = min(backoff.pause(), left)
                unforeseen = None if isinstance(error, UnavailableError) else error
                reason, seconds = str(error), round(pause, 1)
                log.warning("broker.token_not_renewed", reason=reason, pause_seconds=seconds, exc_info=unforeseen)
                await asyncio.sleep(pause)
            else:
                log.info("broker.token_renewed")
                return

    async def _update_secret(self, token: str) -> None:
        answered = asyncio.get_running_loop().create_future()
        try:
            self._connection.update_secret(token, "token renewed", lambda _: settle(answered, None))
            async with asyncio.timeout(_TOKEN_SECONDS):
                await answered
        except exceptions.AMQPError as error:
            raise broker_error(error) from error
        except TimeoutError:
            raise BrokerError(f"the broker does not answer to a new token within {_TOKEN_SECONDS:.0f} s") from None

    def _on_opened(self, error: Exception | None) -> None:
        settle(self._opened, error)
        if error is not None:
            settle(self._closed, None)

    def _on_closed(self, reason: Exception) -> None:
        self._on_lost(broker_error(reason))
        settle(self._closed, None)

    def _on_lost(self, error: BrokerError) -> None:
        settle(self._lost, error)

    def _on_blocked(self, _: object, frame: Any) -> None:
        self._blocked = f"it takes no messages for now ({frame.method.reason})"
        log.warning("broker.blocked", reason=frame.method.reason)

    def _on_unblocked(self, _: object, __: object) -> None:
        self._blocked = None
        log.info("broker.unblocked")
