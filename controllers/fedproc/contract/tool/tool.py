"""What a ``tool.yaml`` says as a whole: a bio.tools entry, D6.1's survey answers (Table 1), and how the tool runs.

Names of the descriptive part follow biotoolsSchema; those of the running part EUCAIM's FEMTask and CWL where
they have one. docs/tools.md explains each with an example.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from fedproc.contract.ids import Digest, Sha256, ToolId
from fedproc.contract.tool import metrics, outputs, privacy, traffic
from fedproc.contract.tool.checks import inconsistencies
from fedproc.contract.tool.description import BioTools, Model, Survey
from fedproc.contract.tool.json_schema import check_schema
from fedproc.contract.tool.task import Task


class OnHostLost(Model):
    """What becomes of the experiment when a host's job ends other than by success."""

    action: Literal["fail", "continue"] = "fail"
    min_hosts: int = Field(1, ge=1, description="with continue: how many must succeed")
    lost_after: int | None = Field(
        None,
        ge=300,
        le=90 * 86400,
        description="seconds of silence of a host, then it counts as lost, unless the experiment says otherwise; its "
        "jobs' last deadline unless given",
    )


class Tool(Model):
    """A whole ``tool.yaml``."""

    schema_version: Literal[1] = 1
    id: ToolId
    version: str = Field(pattern=r"^\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$")
    mode: Literal["federated", "distributed", "standalone"]
    biotools: BioTools
    survey: Survey
    parameters: dict[str, Any] = Field(
        default={"type": "object", "properties": {}, "additionalProperties": False},
        description="JSON Schema (2020-12) of an object; each property may carry 'x-scope': global (default) or host, "
        "and each text 'x-columns': name or formula, 'x-column-types': types of columns that it takes, 'x-form': in "
        "words what its pattern wants, each list of numbers 'x-rising': true; 'x-secure-sums' and 'x-privacy' say what "
        "protects persons, 'x-datasets-per-host' how many datasets one host may be given (docs/tools.md)",
    )
    tasks: tuple[Task, ...] = Field(min_length=1)
    on_host_lost: OnHostLost = OnHostLost()

    @model_validator(mode="before")
    @classmethod
    def _with_declarations(cls, value: Any) -> Any:
        return traffic.from_parameters(outputs.from_parameters(metrics.from_parameters(value)))

    @model_serializer(mode="wrap")
    def _as_sent(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        sent = metrics.into_parameters(handler(self), self.parameters)
        sent = outputs.into_parameters(sent, sent.get("parameters", self.parameters))
        return traffic.into_parameters(sent, sent.get("parameters", self.parameters))

    @field_validator("id")
    @classmethod
    def _reserved(cls, value: str) -> str:
        if value in {"tasks", "job"}:
            raise ValueError(f"tool id {value!r} is reserved: it is a path of the API")
        return value

    @field_validator("parameters")
    @classmethod
    def _schema(cls, value: dict[str, Any]) -> dict[str, Any]:
        check_schema(value, "parameters")
        if value.get("type") != "object":
            raise ValueError("parameters: the schema must have type object")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        errors = inconsistencies(self.tasks, self.parameters.get("properties", {}))
        goes_on = self.on_host_lost.action == "continue"
        if errors := [*errors, *privacy.problems(self.parameters, self.tasks, goes_on=goes_on)]:
            raise ValueError("; ".join(errors))
        return self

    def task(self, name: str) -> Task:
        """The task of that name; raises KeyError if there is none."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise KeyError(name)

    def host_parameters(self) -> frozenset[str]:
        """Names of the parameters that may differ from host to host."""
        properties: dict[str, Any] = self.parameters.get("properties", {})
        return frozenset(name for name, schema in properties.items() if schema.get("x-scope") == "host")


class SourceFile(Model):
    path: str
    sha256: Sha256
    size: int = Field(ge=0)
    executable: bool = False


class Manifest(Model):
    """What the catalogue signs: the tool and the hash of every file of its folder.

    The tool's digest is the sha256 of this object's canonical JSON (RFC 8785:
    :func:`fedproc.contract.wire.jws.canonical`).
    """

    tool: Tool
    files: tuple[SourceFile, ...]

    @property
    def requirements(self) -> frozenset[str]:
        return frozenset(t.runtime.requirements for t in self.tool.tasks if t.runtime.requirements)


class ToolRef(Model):
    """One exact version of a tool."""

    id: ToolId
    version: str
    digest: Digest
