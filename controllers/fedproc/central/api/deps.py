"""What the API's endpoints share: one object per application, made in :func:`fedproc.central.api.app.create_app`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from joserfc.jwk import ECKey
from sqlalchemy import Engine
from starlette.requests import HTTPConnection

from fedproc.central.api.metrics import Metrics
from fedproc.central.api.streams import Streams
from fedproc.central.auth.issuer import Issuer
from fedproc.central.files.blobs import Blobs
from fedproc.central.files.signed_urls import Links
from fedproc.central.notify import Bell
from fedproc.central.settings import CentralSettings

if TYPE_CHECKING:
    from fedproc.central.auth.tokens import Verifier


@dataclass(frozen=True)
class Centre:
    settings: CentralSettings
    engine: Engine
    bell: Bell
    issuer: Issuer
    verifier: Verifier
    blobs: Blobs
    links: Links
    metrics: Metrics
    streams: Streams
    catalogue_keys: Mapping[str, ECKey]
    """by kid: whose manifests are taken in"""

    @property
    def silent_after(self) -> float:
        """Seconds after which a host that was not heard of counts as unreachable: three heartbeats."""
        return 3 * self.settings.heartbeat_seconds

    def url(self, path: str) -> str:
        """The address of ``path`` as users and hosts see it."""
        return self.settings.public_url.rstrip("/") + path


def centre_of(request: HTTPConnection) -> Centre:
    """The shared object of the application that answers this request."""
    centre: Centre = request.app.state.centre
    return centre
