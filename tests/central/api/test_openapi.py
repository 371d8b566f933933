"""The API's published contract is the one that the code serves; D6.1's endpoints are there, and all is described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from fedproc.contract.api.base import Request

pytestmark = pytest.mark.slow  # the document is read, or made from the code

DOCUMENT = Path(__file__).parents[3] / "docs/openapi.json"

D61 = [
    ("post", "/token"),
    ("get", "/tools"),
    ("get", "/tools/{tool_id}"),
    ("get", "/tools/tasks"),
    ("get", "/tools/job/{tool_name}"),
    ("get", "/hosts/"),
    ("get", "/hosts/{host_id}"),
    ("get", "/hosts/health/"),
    ("get", "/docs"),
    ("put", "/tasks/{task_id}/input"),
    ("get", "/tasks/{task_id}/output"),
    ("get", "/data/files/"),
    ("get", "/data/file/{file_id}"),
    ("get", "/data/file/{file_id}/access/"),
    ("put", "/data/file/{file_path}"),
]
"""The endpoints of D6.1, "Analysis Platform API definition"."""


@cache
def served() -> str:
    from fastapi import FastAPI

    from fedproc.central.api.app import routed  # takes half a second: where it is used
    from fedproc.central.api.openapi import document_bytes

    return document_bytes(routed(FastAPI(openapi_url=None))).decode()


@cache
def published() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(served())
    return document


def test_the_document_in_docs_is_current() -> None:
    assert DOCUMENT.read_text() == served(), "run `make docs` and commit docs/openapi.json"


@pytest.mark.parametrize(("method", "path"), D61)
def test_every_endpoint_of_d61_is_there(method: str, path: str) -> None:
    operation = published()["paths"][path][method]
    assert operation["summary"]
    assert operation["description"]


def test_the_groups_have_an_order_and_none_is_left_out() -> None:
    operations = [operation for methods in published()["paths"].values() for operation in methods.values()]
    used = {tag for operation in operations for tag in operation["tags"]}
    assert used == {tag["name"] for tag in published()["tags"]}


def test_the_requests_that_a_person_makes_have_an_example_that_is_taken() -> None:
    from fedproc.central.api.routes.token import TokenForm

    models = {model.__name__: model for model in _of(Request)} | {"TokenForm": TokenForm}
    shown = {name: s["examples"] for name, s in published()["components"]["schemas"].items() if "examples" in s}
    assert {"ExperimentRequest", "RunRequest", "NewFile", "TokenForm", "NewEnrolment", "HostEnrolment"} <= shown.keys()
    for name, examples in shown.items():
        for example in examples:
            models[name].model_validate(example)


def _of(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for below in model.__subclasses__():
        yield below
        yield from _of(below)


def test_every_operation_says_how_it_fails_and_who_may() -> None:
    found = published()
    schemas = found["components"]["schemas"]
    text = json.dumps(found)
    assert {ref for ref in text.split('"#/components/schemas/')[1:] if ref.partition('"')[0] not in schemas} == set()
    open_to_all = {"/token", "/docs", "/metrics", "/hosts/health/", "/uploads", "/authority", "/enrolments/{host_id}"}
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            assert "4XX" in operation["responses"], (path, method)
            if path not in open_to_all:
                assert operation["security"], (path, method)


def test_errors_are_of_the_media_type_that_they_come_with() -> None:
    for path, methods in published()["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                if status in {"4XX", "5XX"}:
                    assert list(response["content"]) == ["application/problem+json"], (path, method)


def test_headers_of_tus_and_json_in_queries_are_described() -> None:
    paths = published()["paths"]
    for method, names in {
        "head": {"Tus-Resumable"},
        "patch": {"Tus-Resumable", "Upload-Offset", "Upload-Checksum"},
        "delete": {"Tus-Resumable"},
    }.items():
        operation = paths["/uploads/{file_id}"][method]
        assert {each["name"] for each in operation["parameters"] if each["in"] == "header"} == names
        (good,) = (response for status, response in operation["responses"].items() if status.startswith("2"))
        assert "Tus-Resumable" in good["headers"]
    query = {each["name"]: each["schema"] for each in paths["/tools/job/{tool_name}"]["get"]["parameters"]}
    assert "application/json" in json.dumps(query["parameters"])
    assert "application/json" in json.dumps(query["host_parameters"])
