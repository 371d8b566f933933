"""The certificate authority of the federation, where only its hash is known: the API shows it, the hash decides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from fedproc.net.errors import RouteError
from fedproc.net.proxy import proxy_for
from fedproc.net.route import Route
from fedproc.onboarding.model.targets import PORTS, Targets
from fedproc.onboarding.probes import http, tls

API = "api"
PATH = "/authority"


def with_pinned_ca(targets: Targets, folder: Path) -> Targets:
    """With the authority's certificate in a file below ``folder``, if a hash is given and no file.

    What came is compared with the hash by each probe, as a given file is. If nothing came, the lines about the
    services say why.
    """
    api = next((s for s in targets.services if s.name == API and s.url.startswith("https://")), None)
    if targets.ca_file or not targets.ca_sha256 or api is None:
        return targets
    try:
        pem = _fetch(api.url, targets.proxy)
    except (RouteError, OSError, ValueError, KeyError, TypeError):
        return targets
    file = folder / "authority.pem"
    file.write_text(pem)
    return replace(targets, ca_file=file)


def _fetch(url: str, proxy: str | None) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    route = Route(host, parts.port or PORTS[parts.scheme], proxy_for(host, proxy))
    with tls.unverified(route) as channel:
        return str(json.loads(http.get(channel, parts.netloc, PATH).body)["certificate"])
