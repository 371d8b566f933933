"""The wire contract as an AsyncAPI 3.0 document, generated from the models.

``python -m fedproc.contract.wire.asyncapi FILE`` writes it; docs/asyncapi.json is that file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fedproc.contract.wire import routing
from fedproc.contract.wire.messages import TYPES, VERSION, Envelope, Wire

_CHANNELS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "jobs": (routing.jobs_queue("{host}"), "Jobs for one host: quorum queue, consumed by that host alone.", ("job",)),
    "control": (
        routing.control_queue("{host}"),
        "What must not wait behind jobs: quorum queue, consumed by that host alone.",
        ("start", "proceed", "finish", "cancel", "inventory", "revocation"),
    ),
    "events": (
        routing.events_key("{host}", "{kind}"),  # type: ignore[arg-type]
        "What a host reports, published under its own routing key on the topic exchange 'events'.",
        ("snapshot", "record", "heartbeat", "report", "unread"),
    ),
}


def document() -> dict[str, Any]:
    """The AsyncAPI document as JSON-able data."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "fedproc wire contract",
            "version": str(VERSION),
            "description": "Every message is a compact JWS (ES256, typ fedproc-message+jws) whose payload is an "
            "Envelope; its 'body' is the message shown here. kid is the RFC 7638 thumbprint of the signer's key.",
        },
        "channels": {name: _channel(name) for name in _CHANNELS},
        "operations": {name: _operation(name) for name in _CHANNELS},
        "components": {"schemas": _schemas(), "messages": {name: _message(name) for name in TYPES}},
    }


def _channel(name: str) -> dict[str, Any]:
    address, description, types = _CHANNELS[name]
    parameters = {"host": {"description": "id of the host"}}
    if "{kind}" in address:
        parameters["kind"] = {"description": "type of the message"}
    return {
        "address": address,
        "description": description,
        "parameters": parameters,
        "messages": {kind: {"$ref": f"#/components/messages/{kind}"} for kind in types},
    }


def _operation(name: str) -> dict[str, Any]:
    action = "send" if name == "events" else "receive"
    return {"action": action, "channel": {"$ref": f"#/channels/{name}"}, "summary": f"A host's side of {name}."}


def _message(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "contentType": "application/jose",
        "summary": (TYPES[name].__doc__ or "").partition("\n")[0],
        "payload": {"$ref": f"#/components/schemas/{TYPES[name].__name__}"},
    }


def _schemas() -> dict[str, Any]:
    schemas: dict[str, Any] = {}
    models: list[type[Wire]] = [Envelope, *TYPES.values()]
    for model in models:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    return dict(sorted(schemas.items()))


def text() -> str:
    """The document as it stands in docs/asyncapi.json."""
    return json.dumps(document(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text())
