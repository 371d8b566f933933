"""The HTTP proxy to use: from a host's settings, else from the environment."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from fedproc.net.errors import RouteError


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. ``shown`` never holds its password."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def shown(self) -> str:
        return f"{self.host}:{self.port}"


def proxy_for(host: str, stated: str | None) -> Proxy | None:
    """The proxy to use: the one stated, or the environment's (``HTTPS_PROXY``, less what ``NO_PROXY`` exempts).

    Raises :class:`RouteError` (``proxy-setting``) for an address that cannot be one of an HTTP proxy.
    """
    if stated is None and urllib.request.proxy_bypass(host):
        return None
    address = urllib.request.getproxies().get("https") if stated is None else stated
    return _parse_proxy(address) if address else None


def stated_proxy(address: str | None, file: Path | None) -> str | None:
    """The proxy that a host's settings state: an address without a password, or one in a file for its owner alone.

    Raises :class:`RouteError` (``proxy-setting``).
    """
    if file is None:
        if address is not None and "@" in address:
            raise RouteError(
                "proxy-setting", "'proxy' holds a user: write the address into a file (0600), name it proxy_file"
            )
        return address
    if address is not None:
        raise RouteError("proxy-setting", "give proxy or proxy_file, not both")
    try:
        if file.stat().st_mode & 0o077:
            raise RouteError("proxy-setting", f"proxy_file {file} may be read by others: chmod 600 {file}")
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        raise RouteError("proxy-setting", f"proxy_file {file} cannot be read: {reason}") from error


def _parse_proxy(address: str) -> Proxy:
    parts = urlsplit(address if "://" in address else f"http://{address}")
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme != "http" or not parts.hostname or port is None:
        shown = f"{parts.scheme}://{parts.hostname or ''}"
        raise RouteError(
            "proxy-setting", f"the proxy setting '{shown}…' is not of the form http://[user:password@]host:port"
        )
    return Proxy(parts.hostname, port, _plain(parts, "username"), _plain(parts, "password"))


def _plain(parts: SplitResult, name: str) -> str | None:
    value = getattr(parts, name)
    return None if value is None else unquote(value)
