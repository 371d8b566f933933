"""What is wrong with a tool beyond the form of its parts, told to its provider before it is published.

These are not rules of the manifest: a host takes a manifest without them that was signed before.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import yaml

from fedproc.catalog.imports import unreadable
from fedproc.common.text import did_you_mean
from fedproc.contract.tool import columns
from fedproc.contract.tool.declared import problems_of
from fedproc.contract.tool.json_schema import validator
from fedproc.contract.tool.reading import MOST_AT_HOST, most_at_host
from fedproc.contract.tool.task import Placement, Task
from fedproc.contract.tool.tool import Manifest, Tool
from fedproc.contract.wire.datasets import ColumnType

Where = tuple[int | str, ...]

_SOURCE = re.compile(r"\{source\}/([^\s{}:;,'\"]+)")
_INPUT = re.compile(r"\{input\}/([\w.-]+)")
_OUTPUT = re.compile(r"\{output\}/([\w./-]+)(?![\w./-]|\{)")
_HARMLESS = re.compile(r"--prefer-binary|--only-binary[\s=]+(?!.*:none:).*")
"""options that pip-compile writes into a lock, that lead nowhere else, and by which no package is built"""
_ESCAPED = re.compile(r"\\[uU]")
_HALF = re.compile("[\ud800-\udfff]")
_REFERENCES = frozenset({"$ref", "$dynamicRef", "$recursiveRef"})
_CURE_OF_LOCKS = "pin each package with its hashes: pip-compile --generate-hashes"
_ADDRESSES = frozenset({"--index-url", "-i", "--extra-index-url", "--find-links", "-f", "--trusted-host", "--no-index"})
_CURE_OF_ADDRESSES = (
    "hosts take packages from where their site says: take the line away, or give pip-compile --no-emit-index-url "
    "--no-emit-find-links --no-emit-trusted-host"
)


@dataclass(frozen=True)
class Defect:
    """Where in ``tool.yaml`` it is, as keys and numbers from the root on, and what is wrong."""

    where: Where
    text: str


def defects_of(manifest: Manifest, folder: Path) -> list[Defect]:
    """All that keeps this tool from running, or from doing what it says."""
    files = {file.path for file in manifest.files}
    found = [defect for check in _CHECKS for defect in check(manifest.tool)]
    return [*found, *_files(manifest.tool, files), *_locks(manifest, folder), *_programs(manifest, folder)]


def doubled_keys(root: yaml.Node | None, seen: set[int] | None = None) -> Iterator[tuple[int, str]]:
    """Keys that stand twice in one table, of which YAML would keep the last: the line of the second, and what is so.

    Each node is looked at once, however many aliases lead to it, and though one may lead to itself.
    """
    seen = set() if seen is None else seen
    if id(root) in seen:
        return
    seen.add(id(root))
    if isinstance(root, yaml.SequenceNode):
        for entry in root.value:
            yield from doubled_keys(entry, seen)
    if not isinstance(root, yaml.MappingNode):
        return
    first: dict[str, int] = {}
    for key, value in root.value:
        name, line = str(key.value), key.start_mark.line + 1
        if name in first:
            yield line, f"{name}: stands in line {first[name]} already; keep one of them"
        first.setdefault(name, line)
        yield from doubled_keys(value, seen)


def half_characters(text: str) -> Iterator[tuple[int, str]]:
    """Lines of scalars with half of a surrogate pair (\\ud800 to \\udfff), which YAML can write and UTF-8 cannot."""
    if not _ESCAPED.search(text):
        return
    for token in yaml.scan(text, yaml.SafeLoader):
        if isinstance(token, yaml.ScalarToken) and _HALF.search(token.value):
            yield token.start_mark.line + 1, "holds half of a character (\\ud800 to \\udfff); write the whole one"


# -- files -------------------------------------------------------------------------------------------


def _files(tool: Tool, files: set[str]) -> Iterator[Defect]:
    for number, task in enumerate(tool.tasks):
        for key in ("requirements", "dockerfile"):
            path = getattr(task.runtime, key)
            if path is not None and path not in files:
                yield Defect(("tasks", number, "runtime", key), f"{path} is not in the folder")
        for where, text in _texts(task):
            for path in _SOURCE.findall(text):
                if not _is_there(path, files):
                    yield Defect(("tasks", number, *where), f"{{source}}/{path} is not in the folder")


def _paths(tool: Tool) -> Iterator[Defect]:
    """Inputs and outputs that a command names by another path than the task declares."""
    for number, task in enumerate(tool.tasks):
        inputs = {entry.name for entry in task.inputs}
        taken = inputs | {"artefacts"}
        written = {output.path for output in task.outputs}
        for where, text in _texts(task):
            place = ("tasks", number, *where)
            for name in _INPUT.findall(text):
                if name not in taken:
                    near = did_you_mean(name, inputs) or ";"
                    yield Defect(
                        place, f"{{input}}/{name} is no input of task {task.name}{near} it has {_list(inputs)}"
                    )
            for path in _OUTPUT.findall(text):
                if not _is_declared(path, written):
                    near = did_you_mean(path, written) or ";"
                    what = f"{{output}}/{path} is no output of task {task.name}{near} it has {_list(written)}"
                    yield Defect(place, f"{what}; what is not declared never leaves: add an output with this path")


def _is_declared(path: str, written: set[str]) -> bool:
    """An output itself, a folder around one, or something within one that is a folder."""
    plain = posixpath.normpath(path)
    return any(f"{each}/".startswith(f"{plain}/") or plain.startswith(f"{each}/") for each in written)


def _programs(manifest: Manifest, folder: Path) -> Iterator[Defect]:
    """Programs that Python cannot read: each job of them would end in its first second."""
    for path, line, text in unreadable(manifest, folder):
        yield Defect(_place_of(manifest.tool, path), f"{path}, line {line}: this is no Python: {text}")


def _place_of(tool: Tool, path: str) -> Where:
    named = (
        ("tasks", number, *where)
        for number, task in enumerate(tool.tasks)
        for where, text in _texts(task)
        if path in map(posixpath.normpath, _SOURCE.findall(text))
    )
    return next(named, ("tasks",))


def _is_there(path: str, files: set[str]) -> bool:
    plain = posixpath.normpath(path)
    return plain in files or any(plain == "." or file.startswith(f"{plain}/") for file in files)


def _texts(task: Task) -> Iterator[tuple[Where, str]]:
    yield from ((("command", number), text) for number, text in enumerate(task.command))
    for step, command in enumerate(task.prepare):
        yield from ((("prepare", step, number), text) for number, text in enumerate(command))
    yield from ((("environment", name), text) for name, text in task.environment.items())


def _locks(manifest: Manifest, folder: Path) -> Iterator[Defect]:
    for number, task in enumerate(manifest.tool.tasks):
        path = task.runtime.requirements
        if path is not None and (folder / path).is_file():
            for line, text in _unlocked((folder / path).read_text(errors="replace")):
                yield Defect(("tasks", number, "runtime", "requirements"), f"{path}, line {line}: {text}")


def _unlocked(content: str) -> Iterator[tuple[int, str]]:
    for line, text in _logical_lines(content):
        if _HARMLESS.fullmatch(text):
            continue
        name = re.split(r"[\s=]", text)[0] if text.startswith("-") else text.split()[0]
        if name.startswith("-"):
            cure = _CURE_OF_ADDRESSES if name in _ADDRESSES else _CURE_OF_LOCKS
            yield line, f"{name} does not do in a lock file; {cure}"
        elif "--hash=" not in text:
            yield line, f"{name} has no hash; {_CURE_OF_LOCKS}"


def _logical_lines(content: str) -> Iterator[tuple[int, str]]:
    """As pip joins them: with the number of the first, without comments and empty ones."""
    begun, parts = 0, list[str]()
    for number, line in enumerate(content.splitlines(), 1):
        begun = begun or number
        text = re.sub(r"(^|\s)#.*$", "", line).strip()
        parts.append(text.removesuffix("\\").strip())
        if not text.endswith("\\"):
            if joined := " ".join(filter(None, parts)):
                yield begun, joined
            begun, parts = 0, []


# -- parameters, mode, media types ---------------------------------------------------------------------


def _parameters(tool: Tool) -> Iterator[Defect]:
    schema: dict[str, Any] = tool.parameters
    if references := list(_references(schema, ("parameters",), set())):
        text = "no part of parameters may refer to another, here or elsewhere: write out what it refers to"
        yield from (Defect(where, text) for where in references)
        return  # a validator would fetch what is elsewhere
    properties: dict[str, Any] = schema.get("properties", {})
    for number, name in enumerate(schema.get("required", ())):
        if name not in properties:
            yield Defect(
                ("parameters", "required", number), f"there is no parameter {name}; known are {_list(properties)}"
            )
    whole = validator(schema)
    for name, entry in properties.items():
        if isinstance(entry, dict) and "default" in entry:
            for error in whole.evolve(schema=entry).iter_errors(entry["default"]):
                where = ("parameters", "properties", name, "default")
                yield Defect(where, f"this default would be refused as a value: {error.message}")


def _datasets_at_host(tool: Tool) -> Iterator[Defect]:
    if MOST_AT_HOST in tool.parameters and most_at_host(tool.parameters) is None:
        given = tool.parameters[MOST_AT_HOST]
        yield Defect(("parameters", MOST_AT_HOST), f"is a whole number of 1 or more, and not {given!r}")


def _column_keywords(tool: Tool) -> Iterator[Defect]:
    """Words of ``x-columns`` and ``x-column-types`` that nobody knows, of which a centre would think nothing."""
    yield from _odd_keywords(tool.parameters, ("parameters",), set())


def _odd_keywords(schema: Any, where: Where, seen: set[int]) -> Iterator[Defect]:
    if not isinstance(schema, dict) or id(schema) in seen:
        return
    seen.add(id(schema))
    kind, types = schema.get(columns.KEYWORD), schema.get(columns.TYPES_KEYWORD)
    if kind is not None and kind not in columns.KINDS:
        yield Defect((*where, columns.KEYWORD), f"is {' or '.join(columns.KINDS)}, and not {kind!r}")
    known = get_args(ColumnType)
    if types is not None and not (isinstance(types, list) and types and all(each in known for each in types)):
        yield Defect((*where, columns.TYPES_KEYWORD), f"is a list of {', '.join(known)}, and not {types!r}")
    if types is not None and kind is None and columns.OF_KEYWORD not in schema:
        yield Defect((*where, columns.TYPES_KEYWORD), f"is said of columns alone: add {columns.KEYWORD}: name")
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        yield from _odd_keywords(inner, (*where, "properties", name), seen)
    yield from _odd_keywords(schema.get("items"), (*where, "items"), seen)


def _references(schema: Any, where: Where, seen: set[int]) -> Iterator[Where]:
    """Where references stand; each part is looked at once, however many aliases lead to it."""
    if not isinstance(schema, dict | list) or id(schema) in seen:
        return
    seen.add(id(schema))
    for key, inner in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if key in _REFERENCES:
            yield (*where, key)
        yield from _references(inner, (*where, key), seen)


def _list(names: Any) -> str:
    return ", ".join(sorted(names) if isinstance(names, set) else names) or "none"


def _mode(tool: Tool) -> Iterator[Defect]:
    servers = [task.name for task in tool.tasks if task.placement is Placement.server]
    if tool.mode == "federated" and len(servers) in (0, len(tool.tasks)):
        yield Defect(("mode",), "federated is a task at the sites and one with placement server; see 'distributed'")
    if tool.mode == "distributed" and servers:
        yield Defect(
            ("mode",), f"distributed is each site for itself, and {_list(servers)} runs on the server: 'federated'"
        )
    if tool.mode == "standalone" and len(tool.tasks) != 1:
        yield Defect(
            ("mode",), f"standalone is one task, and there are {len(tool.tasks)}: 'distributed' or 'federated'"
        )


def _media_types(tool: Tool) -> Iterator[Defect]:
    for number, task in enumerate(tool.tasks):
        for place, entry in enumerate(task.inputs):
            where = ("tasks", number, "inputs", place, "media_types")
            for odd in (each for each in entry.media_types if "/" not in each):
                yield Defect(where, f"{odd!r} is no media type, as text/csv or application/dicom")
            source = tool.task(entry.task).output(entry.output) if entry.task and entry.output else None
            if source and entry.media_types and not any(fnmatchcase(source.media_type, t) for t in entry.media_types):
                yield Defect(where, f"output {source.name} of task {entry.task} is {source.media_type}")


def _declarations(tool: Tool) -> Iterator[Defect]:
    """What an output declares leaves no room for what it does not."""
    for number, task in enumerate(tool.tasks):
        for place, output in enumerate(task.outputs):
            where = ("tasks", number, "outputs", place)
            for text in problems_of(output):
                key = "statistics" if text.startswith("statistics: ") else "content"
                yield Defect((*where, key), f"output {output.name}: {text}")


_CHECKS: tuple[Callable[[Tool], Iterator[Defect]], ...] = (
    _parameters,
    _column_keywords,
    _datasets_at_host,
    _mode,
    _media_types,
    _declarations,
    _paths,
)
