"""What the endpoints have in common: how ids in paths are read, and how answers are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter
from pydantic import AfterValidator, BaseModel, TypeAdapter, WithJsonSchema
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from fedproc.central.api.deps import AppState
from fedproc.central.auth.tokens import Caller
from fedproc.central.db.engine import is_sqlite, read_transaction
from fedproc.common.errors import NotFoundError
from fedproc.contract.api.base import Problem
from fedproc.contract.api.faults import PATTERNS
from fedproc.contract.api.submissions import SUBMISSION_PATTERN
from fedproc.contract.ids import (
    DIGEST_PATTERN,
    EXPERIMENT_PATTERN,
    FILE_PATTERN,
    HOST_PATTERN,
    JOB_PATTERN,
    TOOL_PATTERN,
)

T = TypeVar("T")
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Problem, "description": "what is wrong, where, and what to do (RFC 9457)"},
    "5XX": {"model": Problem, "description": "the centre, or what it needs, does not work"},
}


def router(tag: str) -> APIRouter:
    return APIRouter(tags=[tag], responses=PROBLEMS)


def _known(pattern: str, what: str) -> Any:
    """An id in a path: one that cannot exist is not found, like one that does not."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if len(value) > 80 or not compiled.fullmatch(value):
            raise NotFoundError(f"there is no {what} {value[:80]!r}: it {PATTERNS[pattern]}")
        return value

    return Annotated[str, AfterValidator(check), WithJsonSchema({"type": "string", "pattern": pattern})]


ExperimentPath = _known(EXPERIMENT_PATTERN, "experiment")
JobPath = _known(JOB_PATTERN, "job")
FilePath = _known(FILE_PATTERN, "file")
HostPath = _known(HOST_PATTERN, "host")
SubmissionPath = _known(SUBMISSION_PATTERN, "submission")
ToolPath = _known(TOOL_PATTERN, "tool")
DigestQuery = _known(DIGEST_PATTERN, "tool version")


def answer(view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A model as JSON, serialised once."""
    return Response(view.model_dump_json(), status, headers, "application/json")


def answer_list(adapter: TypeAdapter[Any], views: list[Any], headers: Mapping[str, str] | None = None) -> Response:
    return Response(adapter.dump_json(views), 200, headers, "application/json")


async def read_one(app: AppState, read: Callable[[Connection], T]) -> T:
    """What ``read`` finds by a key. On SQLite that takes less than to hand it to a thread, and waits for no writer."""

    def found() -> T:
        with read_transaction(app.engine) as connection:
            return read(connection)

    return found() if is_sqlite(app.engine) else await run_in_threadpool(found)


def owner_filter(caller: Caller) -> str | None:
    """Whose experiments and files the caller sees: None for everybody's."""
    return None if caller.operates else caller.sub


def add_alias(router: APIRouter, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
    """Serve a GET endpoint at a second path (with or without the final slash), undocumented."""
    router.add_api_route(path, endpoint, methods=["GET"], include_in_schema=False, **options)
