"""What the pages load: vendored packages (``assets/vendored.json``, ``scripts/vendor-assets``) and our own few lines.

Each is addressed by the hash of its bytes, so that a browser keeps it for ever and never has an old one.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from pathlib import Path

from fastapi import Request
from starlette.responses import Response

from fedproc.central.api.routes.common import router
from fedproc.common.errors import NotFoundError

FOLDER = Path(__file__).parent / "assets"
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}

routes = router("dashboard")


@cache
def _files() -> dict[str, tuple[bytes, bytes, str]]:
    """By address below ``/dashboard/assets/``: the bytes, the same compressed, their type."""
    found = {}
    for path in sorted(FOLDER.rglob("*")):
        if kind := _TYPES.get(path.suffix):
            raw = path.read_bytes()
            found[f"{_hash(raw)}/{path.name}"] = (raw, gzip.compress(raw, 9, mtime=0), kind)
    return found


def _hash(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:16]


@cache
def address_of(name: str) -> str:
    """Where a page loads the file of that name."""
    return "/dashboard/assets/" + next(address for address in _files() if address.endswith(f"/{name}"))


@cache
def text_of(name: str) -> str:
    """The file of that name, for what stands by itself."""
    return next(raw for address, (raw, _, _) in _files().items() if address.endswith(f"/{name}")).decode()


@routes.get("/dashboard/assets/{digest}/{name}", include_in_schema=False)
async def get_asset(request: Request, digest: str, name: str) -> Response:
    """A file that pages load."""
    if (found := _files().get(f"{digest}/{name}")) is None:
        raise NotFoundError("there is no such file of the dashboard: reload the page")
    raw, compressed, kind = found
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(compressed, headers={**_FOR_EVER, "Content-Encoding": "gzip"}, media_type=kind)
    return Response(raw, headers=_FOR_EVER, media_type=kind)
