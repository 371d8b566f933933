"""Which other sites' pages may call the API from a browser: those that the settings name, and with a token alone.

The token is their user's own, given to them by the issuer. No cookie goes with such a call, so that a page elsewhere
never acts by somebody's sign-in at the dashboard.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_SENT = (
    "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "Range",
    "Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset",
)  # fmt: skip
_READ = (
    "Content-Disposition", "Content-Range", "ETag", "Link", "Location", "Retry-After", "Tus-Resumable",
    "Upload-Length", "Upload-Offset",
)  # fmt: skip
_SECONDS = 600


def layers(origins: Sequence[str]) -> list[Middleware]:
    """None without origins, as every request pays for a layer."""
    if not origins:
        return []
    layer = Middleware(
        CORSMiddleware, allow_origins=origins, allow_methods=_METHODS, allow_headers=_SENT, expose_headers=_READ,
        allow_credentials=False, max_age=_SECONDS,
    )  # fmt: skip
    return [layer]
