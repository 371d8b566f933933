"""The API's description as an OpenAPI document."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from fedproc.central.api.problems import MEDIA_TYPE
from fedproc.contract.api.files import NewUpload

TITLE = "fedproc: federated processing"
DESCRIPTION = (
    "The central API of the federated-processing infrastructure (D6.1, Analysis Platform API definition). "
    "Sign in with POST /token and send `Authorization: Bearer TOKEN`. Errors are problem details (RFC 9457) that "
    "say what is wrong, where, and what to do."
)


_TAGS = {
    "authentication": "A token for a user's name and password (D6.1).",
    "tools and tasks": "What can be run, and running it (D6.1).",
    "tasks": "Inputs and outputs of what runs (D6.1).",
    "hosts": "The federation's hosts, their health and datasets (D6.1).",
    "data": "A user's files: inputs that were put up, results that were released (D6.1).",
    "experiments": "One run of a tool over several hosts: start, watch, cancel, fetch.",
    "uploads": "Bytes go up in pieces that can be resumed (tus 1.0.0).",
    "enrolment": "A new host's way in.",
    "retention": "What is kept how long, and deleting what is one's own.",
    "system": "The API about itself, and its audit.",
}
"""The groups in the order in which a reader meets them: D6.1's endpoints first."""


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the application's routes."""
    found: dict[str, Any] = get_openapi(
        title=TITLE,
        version=version("fedproc"),
        description=DESCRIPTION,
        routes=app.routes,
        tags=[{"name": name, "description": text} for name, text in _TAGS.items()],
    )
    schemas = found["components"]["schemas"]
    schemas["NewUpload"] = NewUpload.model_json_schema(ref_template="#/components/schemas/{model}")
    _as_problems(found)
    return found


def _as_problems(found: dict[str, Any]) -> None:
    """An error is of the media type of RFC 9457, which FastAPI has no way to say of a model."""
    problem = {"$ref": "#/components/schemas/Problem"}
    for operations in found["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                content = response.get("content", {})
                for kind in [kind for kind, body in content.items() if body.get("schema") == problem]:
                    content[MEDIA_TYPE] = content.pop(kind)


def document_bytes(app: FastAPI) -> bytes:
    """The same as JSON text, made once per application."""
    if not hasattr(app.state, "openapi"):
        app.state.openapi = (json.dumps(document(app), indent=2, sort_keys=True) + "\n").encode()
    text: bytes = app.state.openapi
    return text
