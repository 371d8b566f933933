"""Reaches one service as the platform's programs would, and says how far it came."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from fedproc.net.errors import RouteError
from fedproc.net.proxy import proxy_for
from fedproc.net.route import Route
from fedproc.onboarding.model.facts import DataApiFacts, ServiceFacts
from fedproc.onboarding.model.targets import PORTS, Service
from fedproc.onboarding.probes import http, tls, x509

AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
METHOD_FRAME = 1
CONNECTION_START = (10, 10)


def probe(service: Service, proxy: str | None) -> ServiceFacts:
    """Never raises for what the network does: the fault is in the record."""
    facts = ServiceFacts(service.name, service.url)
    try:
        return _reach(facts, service, proxy)
    except RouteError as error:
        return dataclasses.replace(facts, fault=error.code, detail=error.detail)


def probe_data_api(place: str, ca_file: Path | None) -> DataApiFacts:
    """A URL is asked directly, because a Data API lies inside the site; anything else is a folder."""
    if "://" in place:
        found = probe(Service("data-api", place, ca_file, direct=True), None)
        return DataApiFacts(place, found, found.fault, found.detail)
    folder = Path(place)
    if not folder.is_dir():
        return DataApiFacts(place, fault="missing", detail=f"there is no folder {place}")
    if not os.access(folder, os.R_OK | os.X_OK):
        return DataApiFacts(place, fault="denied", detail=f"this user may not read {place}")
    count = sum(1 for entry in folder.iterdir() if entry.is_dir())
    return DataApiFacts(place, detail=f"a readable folder with {count} folder(s) in it")


def _reach(facts: ServiceFacts, service: Service, proxy: str | None) -> ServiceFacts:
    parts = urlsplit(service.url)
    host, port = parts.hostname or "", parts.port or PORTS[parts.scheme]
    chosen = None if service.direct or parts.scheme in ("http", "amqp") else proxy_for(host, proxy)
    route = Route(host, port, chosen)
    facts = dataclasses.replace(facts, via=chosen.shown if chosen else None)
    web = parts.scheme in ("http", "https")
    if parts.scheme in ("https", "amqps"):
        trust = tls.Trust(service.ca_file, service.ca_sha256)
        with tls.connect(route, trust, speaks_http=web) as secured:
            return _talk(_with_tls(facts, secured), secured, parts, web=web)
    with route.open() as channel:
        return _talk(_with_address(facts, channel), channel, parts, web=web)


def _with_tls(facts: ServiceFacts, channel: ssl.SSLSocket) -> ServiceFacts:
    facts = dataclasses.replace(_with_address(facts, channel), tls=channel.version())
    with contextlib.suppress(ValueError):  # verified already; only its description is missing then
        leaf = x509.from_der(channel.getpeercert(binary_form=True) or b"")
        return dataclasses.replace(facts, issuer=leaf.issuer, expires=leaf.not_after.isoformat())
    return facts


def _with_address(facts: ServiceFacts, channel: socket.socket) -> ServiceFacts:
    return dataclasses.replace(facts, address=str(channel.getpeername()[0]))


def _talk(facts: ServiceFacts, channel: socket.socket, parts: SplitResult, *, web: bool) -> ServiceFacts:
    try:
        return _ask_web(facts, channel, parts) if web else _ask_broker(facts, channel)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise RouteError("no-answer", f"{parts.hostname} is connected, but does not answer: {reason}") from error


def _ask_web(facts: ServiceFacts, channel: socket.socket, parts: SplitResult) -> ServiceFacts:
    reply = http.get(channel, parts.netloc.rpartition("@")[2], parts.path or "/")
    facts = dataclasses.replace(facts, status=reply.status, detail=f"answers {reply.status}")
    if reply.date is None or facts.tls is None:
        return facts
    # Date has whole seconds: on average the server's clock is half a second further.
    middle, half = (reply.sent + reply.received) / 2, (reply.received - reply.sent) / 2
    skew = reply.date.timestamp() + 0.5 - middle
    return dataclasses.replace(facts, skew_seconds=round(skew, 1), skew_error=round(0.5 + half, 1))


def _ask_broker(facts: ServiceFacts, channel: socket.socket) -> ServiceFacts:
    """AMQP 0-9-1, 4.2.2: after the protocol header the broker begins with ``connection.start``."""
    channel.settimeout(http.SECONDS)
    start = time.monotonic()
    channel.sendall(AMQP_HEADER)
    answer = b""
    while len(answer) < 11 and time.monotonic() - start < http.SECONDS and (piece := channel.recv(11 - len(answer))):
        answer += piece
    method = (int.from_bytes(answer[7:9]), int.from_bytes(answer[9:11]))
    if len(answer) < 11 or answer[0] != METHOD_FRAME or method != CONNECTION_START:
        raise ValueError("not as an AMQP 0-9-1 broker does")
    return dataclasses.replace(facts, detail="answers as an AMQP 0-9-1 broker")
