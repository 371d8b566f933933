"""The API's documentation in Swagger UI: with examples, sign-in by ``POST /token``, and a try of each request.

Its files are vendored (``assets/vendored.json``, ``scripts/vendor-assets``): the page loads nothing from elsewhere.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from fedproc.central.api.openapi import TITLE

_ASSETS = Path(__file__).parent / "assets"
_SERVED = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "start.js": "text/javascript",
    "page.css": "text/css",
    "favicon-32x32.png": "image/png",
}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""No inline script or style: what an answer brings cannot run in the page."""

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(TITLE)}</title>
<meta name="viewport" content="width=device-width">
<link rel="icon" href="/docs/assets/favicon-32x32.png">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css"><link rel="stylesheet" href="/docs/assets/page.css">
<script src="/docs/assets/swagger-ui-bundle.js" defer></script><script src="/docs/assets/start.js" defer></script>
</head><body>
<p class="note">Sign in with <b>Authorize</b>, then <b>Try it out</b> at a request. The same
<a href="/docs?plain=true">without scripts</a>, and for programs as <a href="/openapi.json">OpenAPI</a>.</p>
<main id="swagger-ui"></main>
</body></html>
"""


@cache
def asset(name: str) -> tuple[bytes, str] | None:
    """A file of the page and its media type; None for any other name."""
    media_type = _SERVED.get(name)
    return ((_ASSETS / name).read_bytes(), media_type) if media_type else None
