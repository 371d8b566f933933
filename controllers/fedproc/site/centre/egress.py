"""All connections of a site to its centre: through its HTTP proxy where it has one (CONNECT, RFC 9110, 9.3.6).

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
from fedproc.common.sockets import KEEPALIVE_OPTIONS, set_keepalive
from fedproc.net.errors import RouteError, cure_for
from fedproc.net.proxy import Proxy, proxy_for, stated_proxy
from fedproc.net.route import Route
from fedproc.site.settings import CentreSettings

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]

_MAX_CONNECTING = 8
_CONNECT_ERRORS = (httpx.ProxyError, httpx.ConnectError, httpx.ConnectTimeout)


class ProxyConnector:
    """Opens connections to the centre. Raises :class:`InvalidInputError` for a setting that cannot be used."""

    def __init__(self, stated: str | None = None) -> None:
        self._stated = stated
        self._threads = ThreadPoolExecutor(_MAX_CONNECTING, "proxy")
        self.proxy_for("localhost")

    @classmethod
    def from_settings(cls, centre: CentreSettings) -> ProxyConnector:
        try:
            return cls(stated_proxy(centre.proxy, centre.proxy_file))
        except RouteError as error:
            raise InvalidInputError(f"centre.proxy: {error.detail}") from error

    def proxy_for(self, host: str) -> Proxy | None:
        """The proxy through which TLS to ``host`` goes, if any."""
        try:
            return proxy_for(host, self._stated)
        except RouteError as error:
            raise InvalidInputError(f"centre.proxy: {error.detail}") from error

    async def open_connection(
        self, host: str, port: int, context: ssl.SSLContext | None, server_name: str | None = None
    ) -> Stream:
        """A connection that is kept alive; over TLS, with ``context``, to ``server_name`` (the host unless given).

        Raises OSError, or :class:`UnavailableError` saying what is wrong with the proxy, and what to do.
        """
        proxy = self.proxy_for(host) if context is not None else None
        server_name = (server_name or host) if context is not None else None
        if proxy is None:
            reader, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=server_name)
        else:
            channel = await self._open_tunnel(Route(host, port, proxy))
            try:
                reader, writer = await asyncio.open_connection(sock=channel, ssl=context, server_hostname=server_name)
            except BaseException:
                channel.close()
                raise
        set_keepalive(writer)
        return reader, writer

    async def _open_tunnel(self, route: Route) -> socket.socket:
        opening = self._threads.submit(route.open)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unused)
            raise
        except RouteError as error:
            raise UnavailableError(with_cure(error.code, error.detail, route.host, route.port)) from error

    def http_client(self, context: ssl.SSLContext, timeout: httpx.Timeout) -> httpx.AsyncClient:
        """A client whose https requests go through the proxy, and whose errors say what is wrong with it."""
        options: dict[str, Any] = {}
        if self._stated is not None:
            proxy, kept = httpx_proxy(self._stated), list(KEEPALIVE_OPTIONS)
            transport = httpx.AsyncHTTPTransport(verify=context, proxy=proxy, socket_options=kept)
            options = {"trust_env": False, "mounts": {"https://": transport}}
        return _AsyncClient(self, verify=context, timeout=timeout, **options)

    def sync_http_client(self, url: str, verify: ssl.SSLContext | bool, timeout: float | httpx.Timeout) -> httpx.Client:
        """The same without asyncio, for requests below ``url``."""
        options: dict[str, Any] = {}
        if self._stated is not None:
            transport = httpx.HTTPTransport(verify=verify, proxy=httpx_proxy(self._stated))
            options = {"trust_env": False, "mounts": {"https://": transport}}
        return _Client(self, base_url=url, verify=verify, timeout=timeout, **options)

    def environment(self) -> dict[str, str]:
        """The stated proxy, as variables for a program that we start (pip); a secret where it has a password."""
        return {} if self._stated is None else dict.fromkeys(("HTTPS_PROXY", "https_proxy"), self._stated)

    def explain(self, error: httpx.TransportError, request: httpx.Request) -> httpx.TransportError:
        """The error of a request; if the proxy is at fault, its text says what is wrong with the proxy."""
        proxy = self.proxy_for(request.url.host) if request.url.scheme == "https" else None
        return type(error)(describe_http_error(error, request.url, proxy), request=request)


class _AsyncClient(httpx.AsyncClient):
    def __init__(self, egress: ProxyConnector, **options: Any) -> None:
        super().__init__(**options)
        self._egress = egress

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return await super().send(request, **options)
        except _CONNECT_ERRORS as error:
            raise self._egress.explain(error, request) from error


class _Client(httpx.Client):
    def __init__(self, egress: ProxyConnector, **options: Any) -> None:
        super().__init__(**options)
        self._egress = egress

    def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return super().send(request, **options)
        except _CONNECT_ERRORS as error:
            raise self._egress.explain(error, request) from error


def describe_http_error(error: httpx.HTTPError, url: httpx.URL, proxy: Proxy | None) -> str:
    """What to say of a request that did not come through: of the proxy, if it is at fault."""
    text = str(error) or type(error).__name__
    if proxy is None:
        return text
    port = url.port or 443
    if isinstance(error, httpx.ProxyError):
        code = "proxy-auth" if text.startswith("407") else "proxy-refused"
        return with_cure(code, f"the proxy {proxy.shown} refuses CONNECT {url.host}:{port}: {text}", url.host, port)
    if "SSL" in text or "certificate" in text:
        return f"{text} (through the proxy {proxy.shown}, which may inspect TLS: have {url.host} exempted)"
    return with_cure("proxy-unreachable", f"no way through the proxy {proxy.shown}: {text}", url.host, port)


def with_cure(code: str, detail: str, host: str, port: int) -> str:
    """What is wrong, with the cure that the host check gives for it."""
    cure = cure_for(code, host, port)
    return f"{detail}; {cure}" if cure else detail


def httpx_proxy(stated: str) -> httpx.Proxy:
    """A stated proxy as httpx takes it. Raises :class:`InvalidInputError`."""
    proxy = ProxyConnector(stated).proxy_for("localhost")
    assert proxy is not None
    host = f"[{proxy.host}]" if ":" in proxy.host else proxy.host
    given = (proxy.user, proxy.password or "") if proxy.user is not None else None
    return httpx.Proxy(f"http://{host}:{proxy.port}", auth=given)


def _close_unused(opening: Future[socket.socket]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()
