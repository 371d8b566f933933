"""A tool's example outputs against the rules, as a site with the default policy would look at them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedproc.common.text import did_you_mean
from fedproc.contract.ids import EXPERIMENT_PATTERN, HOST_PATTERN, JOB_PATTERN
from fedproc.contract.tool.json_schema import validator
from fedproc.contract.tool.task import OutputDecl, Task
from fedproc.contract.tool.tool import Tool
from fedproc.site.policy.disclosure import findings
from fedproc.site.policy.engine.disclosure_rules import SCHEMA
from fedproc.site.policy.engine.findings import Finding, Result, verdict
from fedproc.site.policy.engine.known import CATEGORIES, COLUMNS, Known, columns_of
from fedproc.site.policy.engine.schema import explained
from fedproc.site.policy.engine.strict_json import scalars, strictly
from fedproc.site.policy.engine.tables import rows_of
from fedproc.site.policy.policy_file import Policy, ToolRule
from fedproc.tables.description import read_description, read_json
from fedproc.tables.problems import TableError

_IDS = re.compile("|".join(pattern.strip("^$") for pattern in (HOST_PATTERN, JOB_PATTERN, EXPERIMENT_PATTERN)))


@dataclass(frozen=True)
class Example:
    """What would become of one output: with no ``findings`` it would leave by itself; None is without an example."""

    task: str
    output: OutputDecl
    findings: tuple[Finding, ...] | None

    @property
    def result(self) -> Result:
        return verdict(self.findings or ())


def examples_of(tool: Tool, folder: Path) -> Iterator[Example]:
    """Of each output of each task, by ``folder``/test/example_output/TASK and what test/example_input/TASK says."""
    for task in tool.tasks:
        written = folder / "test" / "example_output" / task.name
        for output in task.outputs:
            there = (written / output.path).exists()
            yield Example(task.name, output, tuple(_findings(tool, task, output, folder)) if there else None)


def odd_examples(tool: Tool, folder: Path) -> Iterator[str]:
    """What lies among the examples and is none, and what is missing there without which some cannot be judged."""
    tasks = {task.name: task for task in tool.tasks}
    for kind in ("example_input", "example_output"):
        for path in sorted((folder / "test" / kind).glob("*/")):
            if path.name not in tasks:
                yield f"test/{kind}/{path.name}: the tool has no task of this name{did_you_mean(path.name, tasks)}"
    for task in tool.tasks:
        declared = [output.path for output in task.outputs]
        written = folder / "test" / "example_output" / task.name
        for path in sorted(each for each in written.rglob("*") if each.is_file()):
            name = path.relative_to(written).as_posix()
            if not any(f"{name}/".startswith(f"{each}/") for each in declared):
                near = did_you_mean(name, declared)
                yield f"test/example_output/{task.name}/{name}: no output of the task has this path{near}"
    yield from odd_inputs(tool, folder)
    for name in without_input(tool, folder):
        yield f"test/example_input/{name} is missing: without what it was given, its outputs cannot be judged"


def without_input(tool: Tool, folder: Path) -> list[str]:
    """The tasks of which no example says what they were given."""
    return [task.name for task in tool.tasks if not (folder / "test" / "example_input" / task.name).is_dir()]


def odd_inputs(tool: Tool, folder: Path) -> Iterator[str]:
    """What no host would give a task: parameters that no researcher could, a dataset's description that is none."""
    for task in tool.tasks:
        given = folder / "test" / "example_input" / task.name
        for path in sorted([*given.glob("parameters.json"), *given.glob("input/**/dataset.json")]):
            lines = _of_parameters(tool, path) if path.name == "parameters.json" else _of_description(path)
            yield from (f"{path.parent.relative_to(folder).as_posix()}/{line}" for line in lines)


def _of_parameters(tool: Tool, path: Path) -> Iterator[str]:
    try:
        values = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        yield f"{path.name}: not JSON: {error.msg} (line {error.lineno})"
    except (OSError, ValueError, RecursionError):
        yield f"{path.name}: not JSON in UTF-8"
    else:
        for invalid in validator(tool.parameters).iter_errors(values):
            yield f"{path.name}: {''.join(f'{step}: ' for step in invalid.absolute_path)}{invalid.message}"


def _of_description(path: Path) -> Iterator[str]:
    """Of images and other files it needs neither tables nor columns."""
    try:
        if {"tables", "columns"} & read_json(path).keys():
            read_description(path.parent)
    except TableError as error:
        yield from error.lines(private=True)


def _findings(tool: Tool, task: Task, output: OutputDecl, folder: Path) -> list[Finding]:
    alone = task.model_copy(update={"outputs": (output,)})
    terms = Policy().terms(ToolRule(id=tool.id, digest="*"), alone)
    source = folder / "test" / "example_output" / task.name / output.path
    with tempfile.TemporaryDirectory() as sealed:
        target = Path(sealed, output.name, output.path)
        target.parent.mkdir(parents=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        known = _known(tool, task, folder / "test" / "example_input")
        return [_explained(each, output, source, known) for each in findings(terms, alone, Path(sealed), known)]


def _explained(finding: Finding, output: OutputDecl, source: Path, known: Known) -> Finding:
    """What differs from the schema is told with its place and value: an example is nobody's."""
    schema = output.content.schema_of_document() if output.content else None
    if finding.rule is not SCHEMA or output.content is None or schema is None or source.is_dir():
        return finding
    raw = source.read_bytes()
    document = rows_of(raw, output.content) if output.content.type == "csv" else strictly(raw)
    text = explained(document, schema, known.with_names() if known.elsewhere else known)
    return replace(finding, text=f"{finding.text}: {text}")


def _known(tool: Tool, task: Task, examples: Path) -> Known:
    """A task without datasets knows what sites show of theirs: the examples of the other tasks."""
    given, has_data = examples / task.name, any(entry.kind == "dataset" for entry in task.inputs)
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    defaults = {name: entry["default"] for name, entry in properties.items() if "default" in entry}
    parameters = [defaults, _read(given / "parameters.json")]
    data = [*given.glob("input/**/dataset.json")] if has_data else [*examples.glob("*/input/**/dataset.json")]
    described, folders = [_read(path) for path in data], [path.parent.name for path in data]
    inputs = [_read(path) for path in given.glob("input/**/*.json") if path.name != "dataset.json"]
    return _ExampleKnown(
        {
            "parameters": lambda: scalars(parameters),
            "steps": lambda: scalars(parameters),
            "dataset": lambda: scalars([described, folders]),
            "inputs": lambda: scalars(inputs),
            COLUMNS: lambda: columns_of(parameters),
            CATEGORIES: lambda: scalars([described, inputs]),
        },
        elsewhere=not has_data,
    )


class _ExampleKnown(Known):
    """Of an example no order is there: whatever looks like an id is one."""

    def holds(self, names: Any, value: Any) -> bool:
        is_id = "order" in names and isinstance(value, str) and _IDS.fullmatch(value) is not None
        return is_id or super().holds(names, value)


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError, RecursionError):
        return json.loads(path.read_bytes())
    return None
