"""TLS to a service, verified; and, where verification fails, which one of its reasons it is.

The order of :func:`_explain` matters: one cause (an inspecting proxy, a wrong clock) shows itself in several ways.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fedproc.net.errors import RouteError
from fedproc.net.route import Route
from fedproc.onboarding.probes import http, x509

HANDSHAKE_SECONDS = 5.0
BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem")
# OpenSSL's X509_V_ERR_*: not yet valid, expired; unknown issuer in its five forms; name and address mismatch.
NOT_YET, EXPIRED = 9, 10
UNKNOWN_ISSUER = (2, 18, 19, 20, 21)
NAME_MISMATCH = (62, 64)


@dataclass(frozen=True)
class Trust:
    """Who may sign a service's certificate: a CA file, or the system's store.

    ``sha256`` is the fingerprint that one of the CA file's certificates must have, told by a second way.
    """

    ca_file: Path | None = None
    sha256: str | None = None

    @property
    def shown(self) -> str:
        return str(self.ca_file) if self.ca_file else "this machine's trust store"

    def context(self) -> ssl.SSLContext:
        """Raises :class:`RouteError` (``wrong-ca``) where the CA file cannot be used."""
        if self.ca_file is None:
            context = ssl.create_default_context()
            if bundle := _bundle():
                context.load_verify_locations(bundle)
            return context
        try:
            certificates = x509.of_file(self.ca_file)
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise RouteError("wrong-ca", f"the CA file {self.ca_file} cannot be used: {error}") from error
        if self.sha256 and self.sha256 not in [c.sha256 for c in certificates]:
            shown = ", ".join(f"'{c.subject}' ({c.sha256})" for c in certificates)
            raise RouteError("wrong-ca", f"{self.ca_file} holds {shown}, not the CA whose SHA-256 is {self.sha256}")
        return context

    def names(self) -> str:
        """Subjects of the CA file's certificates."""
        if self.ca_file is None:
            return self.shown
        return " and ".join(f"'{c.subject}'" for c in x509.of_file(self.ca_file))


def _bundle() -> str | None:
    """A distribution's bundle, where this Python was built to look in a place that is not there."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile or (paths.capath and any(Path(paths.capath).iterdir())):
        return None
    return next((bundle for bundle in BUNDLES if Path(bundle).exists()), None)


def connect(route: Route, trust: Trust, *, speaks_http: bool) -> ssl.SSLSocket:
    """A verified connection. Raises :class:`RouteError` that names what is wrong."""
    context = trust.context()
    try:
        return _handshake(route, context, route.host)
    except ssl.SSLCertVerificationError as refused:
        raise _explain(refused, route, trust, speaks_http=speaks_http) from refused


def _handshake(route: Route, context: ssl.SSLContext, server_name: str) -> ssl.SSLSocket:
    channel = route.open()
    channel.settimeout(HANDSHAKE_SECONDS)
    where = f"{route.host} port {route.port}"
    try:
        return context.wrap_socket(channel, server_hostname=server_name)
    except ssl.SSLCertVerificationError:
        channel.close()
        raise
    except ssl.SSLError as error:
        channel.close()
        code = "no-tls" if error.reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE") else "tls-refused"
        raise RouteError(code, f"{where}: TLS fails: {error.reason or error}") from error
    except TimeoutError as error:
        channel.close()
        raise RouteError("tls-cut", f"{where} accepts TCP, but no TLS within {HANDSHAKE_SECONDS:g} s") from error
    except OSError as error:
        channel.close()
        raise RouteError(
            "tls-cut", f"{where}: the connection is cut during the TLS handshake: {error.strerror}"
        ) from error


@dataclass(frozen=True)
class _Seen:
    """What the other side shows to one who does not ask for proof. It carries no secret of ours."""

    leaf: x509.Certificate
    date: datetime | None = None
    via: str | None = None


def _explain(refused: ssl.SSLCertVerificationError, route: Route, trust: Trust, *, speaks_http: bool) -> RouteError:
    try:
        seen = _observe(route, route.host, speaks_http=speaks_http)
    except (RouteError, OSError, ValueError) as error:
        reason = f"{refused.verify_message}; a second connection fails: {error}"
        return RouteError("tls-untrusted", f"the certificate of {route.host} is refused: {reason}")
    code = refused.verify_code
    if code in (NOT_YET, EXPIRED):
        return _out_of_time(code, seen, route, trust)
    if code in UNKNOWN_ISSUER:
        return _unknown_issuer(seen, route, trust)
    if code in NAME_MISMATCH:
        names = ", ".join(seen.leaf.names) or seen.leaf.subject
        return RouteError("certificate-name", f"the certificate at {route.host} is for other names: {names}")
    return RouteError("tls-untrusted", f"the certificate of {route.host} is refused: {refused.verify_message}")


def _observe(route: Route, server_name: str, *, speaks_http: bool) -> _Seen:
    with unverified(route, server_name) as channel:
        leaf = x509.from_der(channel.getpeercert(binary_form=True) or b"")
        if not speaks_http:
            return _Seen(leaf)
        with contextlib.suppress(OSError, ValueError):  # the certificate alone is an answer too
            reply = http.get(channel, route.host, "/")
            return _Seen(leaf, reply.date, reply.headers.get("via"))
    return _Seen(leaf)


def unverified(route: Route, server_name: str | None = None) -> ssl.SSLSocket:
    """TLS to whoever answers. For what needs no trust, or is compared with a hash afterwards.

    Raises :class:`RouteError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _handshake(route, context, server_name or route.host)


def _out_of_time(code: int, seen: _Seen, route: Route, trust: Trust) -> RouteError:
    leaf, now = seen.leaf, datetime.now(UTC)
    period = f"good from {leaf.not_before:%Y-%m-%d %H:%M} to {leaf.not_after:%Y-%m-%d %H:%M} UTC"
    leaf_is_good = leaf.not_before <= now <= leaf.not_after
    if not leaf_is_good and seen.date and leaf.not_before <= seen.date <= leaf.not_after:
        return RouteError(
            "clock",
            f"this machine's clock says {now:%Y-%m-%d %H:%M:%S} UTC, {route.host} says {seen.date:%Y-%m-%d %H:%M:%S}, "
            f"and its certificate is {period}",
        )
    whose = f"the certificate of {route.host}"
    if leaf_is_good:
        whose, period = f"a CA certificate above that of {route.host}", f"checked with {trust.shown}"
    if code == NOT_YET:
        return RouteError("certificate-not-yet-valid", f"{whose} is not valid yet ({period})")
    return RouteError("certificate-expired", f"{whose} has expired ({period}; issuer '{leaf.issuer}')")


def _unknown_issuer(seen: _Seen, route: Route, trust: Trust) -> RouteError:
    """Inspection or a wrong CA file: the certificate looks the same, so only evidence of a third party decides."""
    issuer = f"the certificate of {route.host} is issued by '{seen.leaf.issuer}'"
    if evidence := _inspection(seen, route, trust):
        return RouteError("tls-intercepted", f"{issuer}, which is not in {trust.shown}: {evidence}")
    if trust.ca_file is None:
        return RouteError("unknown-issuer", f"{issuer}, whom this machine does not know")
    return RouteError("wrong-ca", f"{issuer}, but {trust.ca_file} holds only {trust.names()}")


def _inspection(seen: _Seen, route: Route, trust: Trust) -> str | None:
    if trust.ca_file and trust.sha256:
        return "the CA file is the right one (its fingerprint is confirmed), so someone in between signs in its place"
    if seen.via:
        return f"the answer came through '{seen.via[:80]}'"
    if route.proxy and _shows_certificate(Route(f"{_invented()}.invalid", route.port, route.proxy)):
        return f"the proxy {route.proxy.shown} itself answers with a certificate, even for a host that does not exist"
    if _minted(route):
        return "whoever answers makes a certificate for any name that is asked for"
    return None


def _invented() -> str:
    return f"check-{secrets.token_hex(6)}"


def _shows_certificate(route: Route) -> bool:
    try:
        _observe(route, route.host, speaks_http=False)
    except (RouteError, ValueError, OSError):
        return False  # as it should be: nobody is there
    return True


def _minted(route: Route) -> bool:
    """Asks for a name that nobody can hold a certificate for; who shows one all the same makes them as asked."""
    if _is_address(route.host):
        return False
    invented = f"{_invented()}.{route.host}"
    try:
        return invented in _observe(route, invented, speaks_http=False).leaf.names
    except (RouteError, ValueError, OSError):
        return False  # refusing an unknown name is what an honest server does


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
