"""The way out of the site: through its HTTP proxy where it has one (CONNECT, RFC 9110 section 9.3.6), else directly.

What the settings name goes before the environment's ``HTTPS_PROXY``, from which ``NO_PROXY`` exempts. Only TLS goes
through the proxy, as in the host check; its password is in no text that comes from here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx

from fedproc.common.errors import InvalidInputError, UnavailableError
from fedproc.net.proxy import Proxy, Route, RouteError, proxy_for, stated_proxy
from fedproc.onboarding.rules.network import CURES
from fedproc.site.settings import CentreSettings

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

KEEP_ALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
"""Socket options by which a silent connection is kept open, every 30 s, and a dead one noticed."""

_AT_ONCE = 8
_ON_THE_WAY = (httpx.ProxyError, httpx.ConnectError, httpx.ConnectTimeout)


class WayOut:
    """Opens connections to the centre. Raises :class:`InvalidInputError` for a setting that cannot be used."""

    def __init__(self, stated: str | None = None) -> None:
        self._stated = stated
        self._openers = ThreadPoolExecutor(_AT_ONCE, "proxy")
        self.proxy_to("localhost")

    @classmethod
    def of(cls, centre: CentreSettings) -> WayOut:
        try:
            return cls(stated_proxy(centre.proxy, centre.proxy_file))
        except RouteError as fault:
            raise InvalidInputError(f"centre.proxy: {fault.detail}") from fault

    def proxy_to(self, host: str) -> Proxy | None:
        """The proxy through which TLS to ``host`` goes, if any."""
        try:
            return proxy_for(host, self._stated)
        except RouteError as fault:
            raise InvalidInputError(f"centre.proxy: {fault.detail}") from fault

    async def open(self, host: str, port: int, context: ssl.SSLContext | None, name: str | None = None) -> Stream:
        """A connection that is kept alive; over TLS, with ``context``, to ``name`` (the host unless given).

        Raises OSError, or :class:`UnavailableError` saying what is wrong with the proxy, and what to do.
        """
        proxy = self.proxy_to(host) if context is not None else None
        name = (name or host) if context is not None else None
        if proxy is None:
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=name)
        else:
            channel = await self._tunnel(Route(host, port, proxy))
            try:
                reader, writer = await asyncio.open_connection(sock=channel, ssl=context, server_hostname=name)
            except BaseException:
                channel.close()
                raise
        keep_alive(writer)
        return reader, writer

    async def _tunnel(self, route: Route) -> socket.socket:
        opening = self._openers.submit(route.open)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        except RouteError as fault:
            raise UnavailableError(explained(fault.code, fault.detail, route.host, route.port)) from fault

    def http(self, context: ssl.SSLContext, timeout: httpx.Timeout) -> httpx.AsyncClient:
        """A client whose https requests take this way, and whose errors say what is wrong with the proxy."""
        options: dict[str, Any] = {}
        if self._stated is not None:
            proxy, kept = as_httpx(self._stated), list(KEEP_ALIVE)
            transport = httpx.AsyncHTTPTransport(verify=context, proxy=proxy, socket_options=kept)
            options = {"trust_env": False, "mounts": {"https://": transport}}
        return _AsyncClient(self, verify=context, timeout=timeout, **options)

    def http_in_turn(self, url: str, verify: ssl.SSLContext | bool, timeout: float | httpx.Timeout) -> httpx.Client:
        """The same without asyncio, for requests below ``url``."""
        options: dict[str, Any] = {}
        if self._stated is not None:
            transport = httpx.HTTPTransport(verify=verify, proxy=as_httpx(self._stated))
            options = {"trust_env": False, "mounts": {"https://": transport}}
        return _Client(self, base_url=url, verify=verify, timeout=timeout, **options)

    def variables(self) -> dict[str, str]:
        """What is stated, as variables for a program that we start (pip); a secret where it has a password."""
        return {} if self._stated is None else dict.fromkeys(("HTTPS_PROXY", "https_proxy"), self._stated)

    def told(self, fault: httpx.TransportError, request: httpx.Request) -> httpx.TransportError:
        """The fault of a request in words that say what is wrong with the proxy, if that is where it lies."""
        proxy = self.proxy_to(request.url.host) if request.url.scheme == "https" else None
        return type(fault)(http_fault(fault, request.url, proxy), request=request)


class _AsyncClient(httpx.AsyncClient):
    def __init__(self, way: WayOut, **options: Any) -> None:
        super().__init__(**options)
        self._way = way

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return await super().send(request, **options)
        except _ON_THE_WAY as fault:
            raise self._way.told(fault, request) from fault


class _Client(httpx.Client):
    def __init__(self, way: WayOut, **options: Any) -> None:
        super().__init__(**options)
        self._way = way

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return super().send(request, **options)
        except _ON_THE_WAY as fault:
            raise self._way.told(fault, request) from fault


def http_fault(fault: httpx.HTTPError, url: httpx.URL, proxy: Proxy | None) -> str:
    """What to say of a request that did not come through: of the proxy, if it is at fault."""
    text = str(fault) or type(fault).__name__
    if proxy is None:
        return text
    port = url.port or 443
    if isinstance(fault, httpx.ProxyError):
        code = "proxy-auth" if text.startswith("407") else "proxy-refused"
        return explained(code, f"the proxy {proxy.shown} refuses CONNECT {url.host}:{port}: {text}", url.host, port)
    if "SSL" in text or "certificate" in text:
        return f"{text} (through the proxy {proxy.shown}, which may inspect TLS: have {url.host} exempted)"
    return explained("proxy-unreachable", f"no way through the proxy {proxy.shown}: {text}", url.host, port)


def explained(code: str, what: str, host: str, port: int) -> str:
    """A fault with its cure, in the words of the host check."""
    cure = CURES.get(code)
    return f"{what}; {cure.format(host=host, port=port)}" if cure else what


def as_httpx(stated: str) -> httpx.Proxy:
    """A stated proxy as httpx takes it. Raises :class:`InvalidInputError`."""
    proxy = WayOut(stated).proxy_to("localhost")
    assert proxy is not None
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    given = (proxy.user, proxy.password or "") if proxy.user is not None else None
    return httpx.Proxy(f"http://{host}:{proxy.port}", auth=given)


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the system ask every 30 s whether the other end is still there."""
    channel = writer.get_extra_info("socket")
    for option in KEEP_ALIVE:
        channel.setsockopt(*option)


def _close_unused(opening: Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
