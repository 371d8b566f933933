"""What an output holds, declared so that a host can check it: a JSON Schema, columns, names of files.

A manifest carries these declarations as the keyword ``x-outputs`` of its parameters' JSON Schema: readers of the
release before pass over a keyword that they do not know, and refuse such a key of an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from fedproc.contract.plain import plain_json
from fedproc.contract.tool.description import Model
from fedproc.contract.tool.json_schema import check_schema
from fedproc.contract.tool.statistics import FieldName

KEYWORD = "x-outputs"
_KEYS = ("content", "statistics")
MOST_ROWS = 5_000
"""of a table, and entries of a list"""

FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.#-]{0,63}(/[A-Za-z0-9][A-Za-z0-9_.#-]{0,63})*$")
]
"""A path below the output's folder, in which ``#`` is a number of one to four digits."""


class ColumnDecl(Model):
    """A column of a table."""

    name: FieldName
    type: Literal["integer", "number", "category"]
    values: tuple[str, ...] = Field((), max_length=1000, description="a category: all that it may be")
    taken_from: tuple[str, ...] = Field((), description="or where its values are taken from, as x-from of JSON")
    hidden: tuple[str, ...] = Field((), description="a number: what stands where it is hidden, beside nothing at all")

    def as_schema(self) -> dict[str, Any]:
        """What JSON Schema would say of its values; null is an empty cell."""
        if self.type != "category":
            return {"type": [self.type, "null"]}
        if self.taken_from:
            return {"type": ["string", "null"], "x-from": list(self.taken_from)}
        return {"enum": [*self.values, None]}


class ContentDecl(Model):
    """What the file, or each file of the folder, is."""

    type: Literal["json", "csv", "model", "image", "text"]
    json_schema: dict[str, Any] | None = Field(None, description="json: a JSON Schema (2020-12) without free text")
    columns: tuple[ColumnDecl, ...] = Field((), max_length=200, description="csv: all columns, in their order")
    max_rows: int = Field(MOST_ROWS, ge=1, le=MOST_ROWS)
    files: tuple[FileName, ...] = Field(
        (), max_length=50, description="a folder: the names of its files; # is a number of up to four digits"
    )

    @field_validator("json_schema")
    @classmethod
    def _schema(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        plain_json(value)
        check_schema(value or {}, "json_schema")
        return value

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        if (self.type == "json") != (self.json_schema is not None):
            raise ValueError("content: json_schema belongs to type json, and only there")
        if (self.type == "csv") != bool(self.columns):
            raise ValueError("content: columns belong to type csv, and only there")
        return self

    def schema_of_document(self) -> dict[str, Any] | None:
        """What JSON Schema says of it; of a table, as a list of its rows. None for what is neither."""
        if self.type != "csv":
            return self.json_schema
        row = {column.name: column.as_schema() for column in self.columns}
        rows = {"type": "object", "properties": row, "additionalProperties": False, "required": list(row)}
        return {"type": "array", "maxItems": self.max_rows, "items": rows}


def from_parameters(tool: Any) -> Any:
    """A tool as it is written, each output with what it declares. Raises ValueError for declarations of no output."""
    schema, tasks = (tool.get("parameters"), tool.get("tasks")) if isinstance(tool, dict) else (None, None)
    if not isinstance(schema, dict) or KEYWORD not in schema or not isinstance(tasks, list):
        return tool
    declared = schema[KEYWORD]
    if not _is_known(declared, tasks):
        raise ValueError(f"parameters: {KEYWORD} names no outputs of this tool; write it into its outputs instead")
    rest = {key: value for key, value in schema.items() if key != KEYWORD}
    return {**tool, "parameters": rest, "tasks": [_with_declared(task, declared) for task in tasks]}


def _is_known(declared: Any, tasks: list[Any]) -> bool:
    known = {str(_name(task)): {str(_name(output)) for output in _outputs(task)} for task in tasks}
    return isinstance(declared, dict) and all(
        task in known and isinstance(outputs, dict) and outputs.keys() <= known[task]
        and all(isinstance(each, dict) and each.keys() <= set(_KEYS) for each in outputs.values())
        for task, outputs in declared.items()
    )  # fmt: skip


def _name(part: Any) -> Any:
    return part.get("name") if isinstance(part, dict) else None


def _outputs(task: Any) -> list[Any]:
    outputs = task.get("outputs") if isinstance(task, dict) else None
    return list(outputs) if isinstance(outputs, list | tuple) else []


def _with_declared(task: Any, declared: Mapping[str, Any]) -> Any:
    mine = declared.get(str(_name(task)))
    if mine is None:
        return task
    return {**task, "outputs": [{**output, **mine.get(str(_name(output)), {})} for output in _outputs(task)]}


def into_parameters(data: dict[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The tool's ``data`` as it is sent: what its outputs declare is moved into its ``parameters``."""
    declared = {task["name"]: found for task in data.get("tasks", ()) if (found := _taken_out(task))}
    return data | {"parameters": {**parameters, KEYWORD: declared}} if declared else data


def _taken_out(task: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for output in task.get("outputs", ()):
        taken = {key: value for key in _KEYS if (value := output.pop(key, None))}
        found |= {output["name"]: taken} if taken else {}
    return found
