"""What can be wrong with a connection, and what a person does about it."""

from __future__ import annotations

CURES = {
    "dns": "make the name servers in /etc/resolv.conf answer for {host}, or let the site's DNS forward such names",
    "tcp-refused": "check the address and port; a firewall that rejects must let this machine reach {host} port {port}",
    "tcp-timeout": "open the firewall from this machine to {host} port {port}, or set the site's proxy (--proxy)",
    "tcp-unreachable": "give this machine a route to {host} ('ip route get ADDRESS')",
    "proxy-setting": "correct centre.proxy (settings), --proxy or HTTPS_PROXY: http://[user:password@]host:port",
    "proxy-unreachable": "correct the proxy's address (centre.proxy in the settings, --proxy, or HTTPS_PROXY), "
    "or exempt {host} from HTTPS_PROXY by NO_PROXY",
    "proxy-auth": "put a user and password that the proxy accepts into centre.proxy_file or HTTPS_PROXY, "
    "or have {host} exempted",
    "proxy-refused": "have the proxy's operator allow CONNECT to {host} port {port}",
}
"""The codes of this package, each with its cure; ``{host}`` and ``{port}`` are of what is to be reached."""


class RouteError(Exception):
    """The one thing that is wrong with a connection: ``code`` for programs, ``detail`` for people.

    The host check raises it with codes of its own, too, for what it finds beyond TCP and the proxy.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def cure_for(code: str, host: str | None, port: int) -> str:
    """The cure of one of :data:`CURES`; empty for another code."""
    return CURES.get(code, "").format(host=host, port=port)
