"""The API's description as an OpenAPI document."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fedproc.contract.api.files import NewUpload

TITLE = "fedproc: federated processing"
DESCRIPTION = (
    "The central API of the federated-processing infrastructure (D6.1, Analysis Platform API definition). "
    "Sign in with POST /token and send `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457) that "
    "say what is wrong, where, and what to do."
)


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application's routes."""
    found: dict[str, Any] = get_openapi(
        title=TITLE, version=version("fedproc"), description=DESCRIPTION, routes=app.routes
    )
    schemas = found["components"]["schemas"]
    schemas["NewUpload"] = NewUpload.model_json_schema(ref_template="#/components/schemas/{model}")
    return found


def document_bytes(app: FastAPI) -> bytes:
    """The same as JSON text, made once per application."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = (json.dumps(document(app), indent=2, sort_keys=True) + "\n").encode()
    text: bytes = app.state.openapi
    return text
