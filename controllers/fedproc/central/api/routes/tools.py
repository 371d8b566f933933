"""Tools, their tasks, and starting one by its name (D6.1)."""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import Body, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, PlainTextResponse, Response

from fedproc.catalog.bundle import unpack
from fedproc.catalog.folder import MAX_BYTES
from fedproc.catalog.signing import verify_manifest
from fedproc.central.api.deps import AnyCaller, AppState, Operator, Researcher, app_state, audit_event
from fedproc.central.api.middleware import bounded_by
from fedproc.central.api.routes.common import DigestQuery, ToolPath, answer, answer_list, router
from fedproc.central.api.routes.experiments import IdempotencyKey, start
from fedproc.central.api.views import task_view, tool_summary, tool_view
from fedproc.central.db.engine import read_transaction, retry_on_conflict, serialized_transaction, write_transaction
from fedproc.central.db.repositories import tools
from fedproc.central.experiments import tool_recall
from fedproc.common.errors import ConflictError, InvalidInputError, NotFoundError
from fedproc.contract.api.base import Line
from fedproc.contract.api.experiments import ExperimentRequest, ExperimentView, RunRequest
from fedproc.contract.api.tools import RecalledVersion, TaskView, ToolRecall, ToolRecalled, ToolSummary, ToolView
from fedproc.contract.times import moment
from fedproc.contract.tool.tool import Manifest
from fedproc.contract.wire.limits import MANIFEST_BYTES

routes = router("tools and tasks")

_SUMMARIES = TypeAdapter(list[ToolSummary])
_TASKS = TypeAdapter(list[TaskView])
_NEW_VERSION: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["manifest", "bundle"],
                    "properties": {
                        "manifest": {"type": "string", "description": "the signed manifest, a compact JWS"},
                        "bundle": {"type": "string", "format": "binary", "description": "the packed source (tar.gz)"},
                    },
                }
            }
        },
    }
}
_NEVER_CHANGES = {"Cache-Control": "private, max-age=31536000, immutable"}


@routes.get("/tools", response_model=list[ToolSummary])
def list_tools(request: Request, caller: AnyCaller) -> Response:
    """The newest approved version of every tool."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        rows = tools.newest_of_each(connection)
        found = [tool_summary(app, row, tools.of_digest(connection, row.digest)) for row in rows]
    return answer_list(_SUMMARIES, found)


@routes.get("/tools/tasks", response_model=list[TaskView])
def list_tasks(
    request: Request,
    caller: AnyCaller,
    tool: Annotated[ToolPath | None, Query(description="only of this tool")] = None,
    version: Annotated[Line | None, Query(max_length=64, description="with tool: the newest unless given")] = None,
    name: Annotated[Line | None, Query(max_length=48, description="only the task of this name")] = None,
) -> Response:
    """Every task template: all that is needed to build its command at a site, with the variables filled in there."""
    with read_transaction(app_state(request).engine) as connection:
        rows = tools.newest_of_each(connection) if tool is None else [tools.find(connection, tool, version)]
        wanted = [tools.of_digest(connection, row.digest) for row in rows]
    found = [task_view(entry, task) for entry in wanted for task in entry.tasks if name in {None, task.name}]
    return answer_list(_TASKS, found)


Listed = Annotated[list[str] | None, Query(description="given more than once, with commas between, or as JSON list")]
JsonText = Annotated[
    str | None,
    Query(
        max_length=65_536,
        description="a JSON object, percent-encoded as every query is",
        json_schema_extra={"contentMediaType": "application/json", "contentSchema": {"type": "object"}},
    ),
]


@routes.get("/tools/job/{tool_name}", status_code=201, response_model=ExperimentView, deprecated=True)
async def run_tool_by_get(
    request: Request,
    tool_name: ToolPath,
    caller: Researcher,
    hosts: Listed = None,
    datasets: Listed = None,
    parameters: JsonText = None,
    host_parameters: JsonText = None,
    version: Annotated[Line | None, Query(max_length=64)] = None,
    label: Annotated[Line | None, Query(max_length=200)] = None,
) -> Response:
    """Start an experiment with this tool. A GET that acts is against HTTP: use ``POST /experiments``."""
    audit_event(request).is_action = True
    values = {
        "tool": tool_name,
        "hosts": _listed(hosts),
        "datasets": _listed(datasets),
        "parameters": _object("parameters", parameters),
        "host_parameters": _object("host_parameters", host_parameters),
        "version": version,
        "label": label,
    }
    return await _run(request, caller, values)


@routes.post("/tools/job/{tool_name}", status_code=201, response_model=ExperimentView)
async def run_tool(
    request: Request,
    tool_name: ToolPath,
    caller: Researcher,
    body: Annotated[RunRequest | None, Body()] = None,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start an experiment with this tool, as ``POST /experiments`` does."""
    values = {} if body is None else body.model_dump()
    return await _run(request, caller, {**values, "tool": tool_name}, idempotency_key)


async def _run(request: Request, caller: Researcher, values: dict[str, Any], key: str | None = None) -> Response:
    await run_in_threadpool(_check_known, request, values["tool"])
    try:
        return await start(request, ExperimentRequest.model_validate(values), caller, key)
    except ValidationError as error:
        raise RequestValidationError(error.errors(include_url=False, include_input=False)) from error


def _check_known(request: Request, tool: str) -> None:
    with read_transaction(app_state(request).engine) as connection:
        tools.find(connection, tool)


def _listed(values: list[str] | None) -> list[str]:
    found: list[str] = []
    for value in values or []:
        if value.startswith("["):
            found += [str(item) for item in _json("a list", value, list)]
        else:
            found += [item.strip() for item in value.split(",") if item.strip()]
    return found


def _object(name: str, text: str | None) -> dict[str, Any]:
    return _json(name, text, dict) if text else {}


def _json(name: str, text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"query {name}: not JSON: {error}", code="query.json") from error
    if not isinstance(value, kind):
        raise InvalidInputError(
            f"query {name}: must be a JSON {'object' if kind is dict else 'list'}", code="query.json"
        )
    return value


@routes.get("/tools/{tool_id}", response_model=ToolView)
def get_tool(
    request: Request, tool_id: ToolPath, caller: AnyCaller, version: Annotated[Line | None, Query(max_length=64)] = None
) -> Response:
    """One tool, with links to its tasks."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = tools.find(connection, tool_id, version)
        return answer(_view(connection, app, row))


def _view(connection: Connection, app: AppState, row: Row[Any]) -> ToolView:
    there = [other.version for other in tools.versions(connection, row.id)]
    view = tool_view(app, row, tools.of_digest(connection, row.digest), there)
    return view.model_copy(update={"recalled": [_recalled(each) for each in tools.recalled(connection, row.id)]})


def _recalled(row: Row[Any]) -> RecalledVersion:
    return RecalledVersion(version=row.version, digest=row.digest, at=moment(row.recalled), reason=row.recall_reason)


@routes.post("/tools/{tool_id}/recall", response_model=ToolRecalled)
def recall_tool(request: Request, tool_id: ToolPath, body: ToolRecall, caller: Operator) -> Response:
    """Recall one version: nobody starts it any more, and what runs of it is ended everywhere.

    It stays recalled: publish a mended one under another version. Again it ends what is left.
    """
    app, now = app_state(request), time.time()

    def write() -> ToolRecalled:
        with serialized_transaction(app.engine) as connection:
            count = tool_recall.recall(connection, tool_id, body.version, body.reason, now)
            audit_event(request).record(connection, 200, f"{tool_id} {body.version}", body.reason)
            (row,) = [each for each in tools.recalled(connection, tool_id) if each.version == body.version]
            return ToolRecalled(tool=tool_id, recalled=_recalled(row), experiments=count)

    done = retry_on_conflict(write)
    app.notifier.publish("outbox")
    app.notifier.publish("events")
    return answer(done)


@routes.get("/tools/{tool_id}/manifest", response_class=PlainTextResponse)
def get_manifest(
    request: Request,
    tool_id: ToolPath,
    caller: AnyCaller,
    version: Annotated[Line | None, Query(max_length=64)] = None,
    digest: DigestQuery | None = None,
) -> Response:
    """The signed manifest of one version: a compact JWS."""
    with read_transaction(app_state(request).engine) as connection:
        row = _exact(connection, tool_id, version, digest)
    headers = {"ETag": f'"{row.digest}"', **(_NEVER_CHANGES if digest else {})}
    return Response(row.signed, 200, headers, "application/jose")


@routes.get("/tools/{tool_id}/bundle", response_class=Response)
def get_bundle(
    request: Request,
    tool_id: ToolPath,
    caller: AnyCaller,
    version: Annotated[Line | None, Query(max_length=64)] = None,
    digest: DigestQuery | None = None,
) -> Response:
    """The source of one version, packed (tar.gz)."""
    app = app_state(request)
    with read_transaction(app.engine) as connection:
        row = _exact(connection, tool_id, version, digest)
    return FileResponse(app.blobs.path(row.bundle), headers=_NEVER_CHANGES, media_type="application/gzip")


def _exact(connection: Connection, tool: str, version: str | None, digest: str | None) -> Row[Any]:
    row = tools.by_digest(connection, digest or tools.find(connection, tool, version).digest)
    if row is None or row.id != tool or version not in {None, row.version}:
        raise NotFoundError(f"tool {tool} has no version with digest {digest}")
    return row


@routes.post("/tools", status_code=201, response_model=ToolView, openapi_extra=_NEW_VERSION)
@bounded_by(2 * MAX_BYTES)
async def add_tool(request: Request, caller: Operator) -> Response:
    """Take a version into the catalogue: signed by a catalogue key, its source exactly as the manifest says.

    Sent again it changes nothing; another content under the same version is refused (409).
    """
    # The form is read here, not as a parameter: that would be before it is known who sends it.
    async with request.form(max_files=1, max_fields=1, max_part_size=MANIFEST_BYTES) as form:
        manifest, bundle = form.get("manifest"), form.get("bundle")
        if not isinstance(manifest, str) or not isinstance(bundle, UploadFile):
            raise InvalidInputError(
                "send multipart/form-data with manifest (a text: the signed manifest) and bundle (a file: the source)",
                code="form",
            )
        return await run_in_threadpool(_add, request, manifest.strip(), await bundle.read())


def _add(request: Request, manifest: str, packed: bytes) -> Response:
    app = app_state(request)
    read, digest = verify_manifest(manifest, app.catalogue_keys)
    name = _stored(app, packed, read)

    def write() -> tuple[int, ToolView]:
        with write_transaction(app.engine) as connection:
            status = _add_version(connection, read, digest, manifest, name)
            audit_event(request).record(connection, status, f"{read.tool.id} {read.tool.version}", digest)
            row = tools.by_digest(connection, digest)
            assert row is not None
            return status, _view(connection, app, row)

    status, view = retry_on_conflict(write)
    return answer(view, status, {"Location": view.href})


def _stored(app: AppState, packed: bytes, manifest: Manifest) -> str:
    with tempfile.TemporaryDirectory(dir=app.blobs.folder, prefix=".bundle-") as folder:
        unpack(packed, manifest, Path(folder) / "source")
    name = hashlib.sha256(packed).hexdigest()
    app.blobs.put(name, packed)
    return name


def _add_version(connection: Connection, manifest: Manifest, digest: str, signed: str, bundle: str) -> int:
    tool = manifest.tool
    if tools.by_digest(connection, digest) is not None:
        return 200
    if any(row.version == tool.version for row in tools.all_versions(connection, tool.id)):
        raise ConflictError(f"{tool.id} {tool.version} is in the catalogue with other content; raise its version")
    tools.add(connection, tool, digest=digest, signed=signed, bundle=bundle, now=time.time())
    return 201
