"""The API's documentation as one page without scripts, made from the OpenAPI document; it loads nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI

from fedproc.central.api.openapi import document_bytes

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1d2733 }
h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccd3da }
details { border: 1px solid #ccd3da; border-radius: 4px; margin: .5rem 0; padding: .4rem .8rem }
summary { cursor: pointer } summary:focus-visible { outline: 3px solid #1a5fb4 }
code, pre { font: 14px/1.4 ui-monospace, monospace; background: #f2f4f6; border-radius: 3px }
code { padding: .1rem .3rem } pre { padding: .6rem; overflow-x: auto }
table { border-collapse: collapse } th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top }
.method { display: inline-block; width: 4.5rem; font-weight: 600 } .old { text-decoration: line-through }
@media (prefers-color-scheme: dark) {
  body { background: #14191f; color: #dfe5ea } code, pre { background: #232a32 } details, h2 { border-color: #3a444e }
  a { color: #8ab8ff }
}
"""


def page(app: FastAPI) -> str:
    """The whole page, made once per application."""
    if not hasattr(app.state, "docs_page"):
        app.state.docs_page = _render(json.loads(document_bytes(app)))
    text: str = app.state.docs_page
    return text


def _render(api: dict[str, Any]) -> str:
    info = api["info"]
    parts = [
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info['description'])}</p>",
        "<p>The same for programs, as OpenAPI: <a href=/openapi.json>/openapi.json</a></p>",
        *_operations(api),
        "<h2>Schemas</h2>",
        *(_schema(name, schema) for name, schema in sorted(api["components"]["schemas"].items())),
        "</body></html>",
    ]
    return "\n".join(parts)


def _operations(api: dict[str, Any]) -> Iterator[str]:
    groups: dict[str, list[str]] = {}
    for path, methods in sorted(api["paths"].items()):
        for method, operation in methods.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(path, method, operation))
    for tag, operations in groups.items():
        yield f"<h2>{escape(tag.capitalize())}</h2>"
        yield from operations


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    old = " class=old" if operation.get("deprecated") else ""
    description = "".join(f"<p>{_text(part)}</p>" for part in operation.get("description", "").split("\n\n"))
    return (
        f"<details><summary><span class=method>{method.upper()}</span> <code{old}>{escape(path)}</code></summary>"
        f"{description}{_parameters(operation)}{_body(operation)}{_answers(operation)}</details>"
    )


def _text(markdown: str) -> str:
    pieces = markdown.replace("``", "`").split("`")
    return "".join(f"<code>{escape(p)}</code>" if i % 2 else escape(p) for i, p in enumerate(pieces))


def _parameters(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(p['name'])}</code></td><td>{escape(p['in'])}{', required' if p.get('required') else ''}"
        f"</td><td>{_type(p.get('schema', {}))}</td><td>{_text(p.get('description', ''))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    return f"<table><tr><th>parameter<th>in<th>type<th></tr>{rows}</table>" if rows else ""


def _body(operation: dict[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(f"<p>Body: {escape(kind)} {_type(media.get('schema', {}))}</p>" for kind, media in content.items())


def _answers(operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td>{escape(status)}</td><td>{_content(answer)}</td><td>{_text(answer.get('description', ''))}</td></tr>"
        for status, answer in sorted(operation["responses"].items())
    )
    return f"<table><tr><th>status<th>body<th></tr>{rows}</table>"


def _content(answer: dict[str, Any]) -> str:
    return " ".join(_type(media.get("schema", {})) for media in answer.get("content", {}).values())


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#{escape(name)}'>{escape(name)}</a>"
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    if alternatives := schema.get("anyOf"):
        return " or ".join(_type(entry) for entry in alternatives if entry.get("type") != "null")
    return escape(str(schema.get("type", "")))


def _schema(name: str, schema: dict[str, Any]) -> str:
    text = escape(json.dumps(schema, indent=2))
    return f"<details id='{escape(name)}'><summary><code>{escape(name)}</code></summary><pre>{text}</pre></details>"
