"""A site's own Data API (D6.1, step 1'): what it offers, what of it a job is given, and the files of that.

``python -m fedproc.contract.data_api FILE`` writes its OpenAPI; docs/data-api.json is that file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field
from pydantic.json_schema import models_json_schema

from fedproc.contract.api.base import Problem, Request, View
from fedproc.contract.ids import DatasetId, ExperimentId, JobId, ToolId
from fedproc.contract.wire.datasets import DatasetColumns
from fedproc.contract.wire.selection import Selection

PREFIX = "/data/v1"
COHORT_PATTERN = r"^c-[0-9a-f]{32}$"
MOST_LISTED = 5000
"""files of one page"""

Kind = Literal["images", "tables", "files", "results"]


class ReleasedFile(View):
    output: str
    path: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0, description="bytes")


class ReleasedResult(View):
    """What the site released of one job: whose work it is, by which tool, of which data, and who decided."""

    job: JobId
    experiment: ExperimentId
    task: str
    tool: ToolId
    tool_version: str
    tool_digest: str
    datasets: dict[DatasetId, str] = Field({}, description="versions, by id at the host")
    decision: Literal["automatic", "persons"] = Field(description="whether the site's rules let it leave, or persons")
    is_part: bool = Field(False, description="the site keeps some of the outputs, which are not named")
    released: AwareDatetime
    files: tuple[ReleasedFile, ...] = ()


class DataApiDataset(View):
    """One dataset. ``persons``, ``studies`` and ``series`` are rounded by the site's floor; never a path."""

    id: DatasetId
    title: str = Field("", description="for people; with a description beside it, how the dataset is cited")
    description: str | None = None
    creators: tuple[str, ...] = Field((), description="persons or groups that made it")
    version: str = Field(description="follows from its content: another one means that a name or a byte is another")
    label: str = Field("", description="what the site itself calls this version")
    kinds: tuple[Kind, ...] = ()
    files: int | None = None
    size: int | None = Field(None, description="bytes")
    floor: int = Field(ge=1, description="numbers of persons are multiples of it")
    persons: int | None = None
    studies: int | None = None
    series: int | None = None
    result: ReleasedResult | None = Field(None, description="of the kind results: what the site released of a job")


class DatasetProblem(View):
    """A dataset that is not offered now, and why: for the site's own people, with its secret alone."""

    id: DatasetId
    problem: str
    cure: str = ""


class DatasetList(View):
    datasets: tuple[DataApiDataset, ...]
    problems: tuple[DatasetProblem, ...] = Field((), description="for whoever shows the site's secret")


class DatasetDescription(View):
    dataset: DataApiDataset
    columns: tuple[DatasetColumns, ...] = Field((), description="pages; the first has what its images are")


class CohortRequest(Request):
    """What a job is to be given: all of a dataset, or what is selected of it."""

    version: str | None = Field(None, description="the version that was chosen; another one is refused")
    selection: Selection | None = None
    floor: int = Field(
        1, ge=1, description="of persons, in it and left out of it; the site's own counts if it is larger"
    )


class CohortView(View):
    """What was frozen: later changes of the dataset do not change it. Whoever knows its id may read its files."""

    id: str = Field(pattern=COHORT_PATTERN)
    dataset: DatasetId
    dataset_version: str
    version: str = Field(description="of its files alone: the root of a Merkle tree over path, length and sha256")
    files: int
    size: int = Field(description="bytes")


class CohortFileView(View):
    path: str = Field(description="relative, its bytes percent-encoded but for the slashes (RFC 3986)")
    size: int = Field(ge=0, description="bytes")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class CohortFiles(View):
    """One page, in the order of the paths. ``next`` is to be given as ``after``; None on the last page."""

    files: tuple[CohortFileView, ...]
    next: str | None = None


class CohortPersons(View):
    """Who the persons of a cohort are, as the site itself tells them apart: an orchestrator compares by it what it
    releases with what it released. A way that does not tell all of them apart is left out."""

    images: tuple[str, ...] | None = Field(None, description="PatientIDs")
    column: tuple[str, ...] | None = Field(None, description="of the column of tables that says whose a row is")
    rows: tuple[str, ...] | None = Field(None, description="else of tables: hashes of their rows")


_PATHS: list[tuple[str, str, str, str, type[View] | None, type[Request] | None]] = [
    ("get", "/datasets", "listDatasets", "The datasets that are offered; kind=results: what was released instead.",
     DatasetList, None),
    ("get", "/datasets/{dataset}", "describeDataset", "One of them, with its columns.", DatasetDescription, None),
    ("post", "/datasets/{dataset}/cohorts", "freezeCohort", "Freeze it, or what is selected of it, for a job.",
     CohortView, CohortRequest),
    ("get", "/cohorts/{cohort}", "getCohort", "What was frozen.", CohortView, None),
    ("get", "/cohorts/{cohort}/files", "listFiles", "Its files (after, limit).", CohortFiles, None),
    ("get", "/cohorts/{cohort}/files/{path}", "readFile",
     "The bytes of one file; Range is taken. It is the file that was frozen, or 409.", None, None),
    ("get", "/cohorts/{cohort}/persons", "listPersons",
     "Who is in it; may be left out by a Data API, and nobody is known then.", CohortPersons, None),
    ("delete", "/cohorts/{cohort}", "forgetCohort", "Nobody needs it any more.", None, None),
]  # fmt: skip
_REFUSALS = {
    "400": "the request cannot be read",
    "401": "no token, or one that does not count here",
    "403": "refused: selection, identifying images, or a token of another kind",
    "404": "there is no such thing, or not any more",
    "409": "another version, or a file that was changed",
    "416": "behind the file's end",
    "503": "its folder does not answer, or too much is asked at once",
}


def openapi() -> dict[str, Any]:
    """The document as it stands in docs/data-api.json."""
    models = [model for entry in _PATHS for model in entry[4:] if model is not None]
    unique = list(dict.fromkeys([*models, Problem]))
    _, schemas = models_json_schema(
        [(model, "validation") for model in unique], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for method, path, name, text, answer, request in _PATHS:
        paths.setdefault(PREFIX + path, {})[method] = _operation(path, name, text, answer, request)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Data API of a site", "version": "1", "description": (__doc__ or "").split("\n\n")[0]},
        "paths": paths,
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {
                "bearer": {
                    "type": "http", "scheme": "bearer",
                    "description": "an access token with the host's audience, or, but for cohorts, the site's secret",
                }
            },
        },
        "security": [{"bearer": []}, {}],
    }  # fmt: skip


def _operation(path: str, name: str, text: str, answer: type[View] | None, request: type[Request] | None) -> Any:
    status = {"freezeCohort": "201", "forgetCohort": "204"}.get(name, "200")
    good: dict[str, Any] = {"description": text}
    if answer is not None:
        good["content"] = {"application/json": {"schema": _ref(answer)}}
    elif name == "readFile":
        good["content"] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    problem = {"application/problem+json": {"schema": _ref(Problem)}}
    found: dict[str, Any] = {
        "operationId": name,
        "summary": text,
        "responses": {status: good} | {code: {"description": t, "content": problem} for code, t in _REFUSALS.items()},
    }
    parameters = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    found["parameters"] = [_parameter(name, "path") for name in parameters]
    if name == "listDatasets":
        found["parameters"] += [_parameter("kind", "query")]
    if name == "listFiles":
        found["parameters"] += [_parameter("after", "query"), _parameter("limit", "query")]
    if request is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(request)}}}
    return found


def _parameter(name: str, place: str) -> dict[str, Any]:
    schema = {"type": "integer" if name == "limit" else "string"}
    return {"name": name, "in": place, "required": place == "path", "schema": schema}


def _ref(model: type[View] | type[Request]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(openapi(), indent=1) + "\n")
