"""A tool's folder: ``tool.yaml`` and the source files beside it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fedproc.catalog.authoring import defects_of, doubled_keys, half_characters
from fedproc.catalog.shape import shape_faults
from fedproc.common.errors import InvalidInputError
from fedproc.common.files import read_regular, sha256_of
from fedproc.contract.ids import is_safe_path, version_key
from fedproc.contract.tool.tool import Manifest, SourceFile, Tool

_Where = tuple[int | str, ...]
MAX_BYTES = 50_000_000
_SHOWN = 10
_NOT_YAML = (yaml.YAMLError, ValueError, ArithmeticError, AttributeError, LookupError, TypeError, RecursionError)
"""PyYAML lets its constructors' own errors through, as of a date without a 13th month"""
LEFT_OUT = frozenset({"test", "__pycache__"})


def load_tool(folder: Path) -> Manifest:
    """Read and check one tool, and hash its files.

    Left out of the manifest are ``test/``, ``__pycache__`` and dot files. Raises :class:`InvalidInputError` that names
    file, line and key of what is wrong.
    """
    description = folder / "tool.yaml"
    tool, root = _parse(description)
    manifest = Manifest(tool=tool, files=tuple(sorted(_hashes(folder), key=lambda file: file.path)))
    if defects := defects_of(manifest, folder):
        lines = [_fault(description, root, defect.where, defect.text) for defect in defects]
        raise InvalidInputError("\n".join(lines))
    return manifest


def load_catalogue(root: Path) -> dict[str, list[Manifest]]:
    """Every tool below ``root`` (one folder each, those with a ``tool.yaml``), by id, newest version last.

    Raises :class:`InvalidInputError` for a tool that is not right, or two folders with one id and version.
    """
    found: dict[str, list[Manifest]] = {}
    for description in sorted(root.glob("*/tool.yaml")):
        manifest = load_tool(description.parent)
        versions = found.setdefault(manifest.tool.id, [])
        if manifest.tool.version in {other.tool.version for other in versions}:
            raise InvalidInputError(f"{description}: {manifest.tool.id} {manifest.tool.version} is there twice")
        versions.append(manifest)
    for versions in found.values():
        versions.sort(key=lambda manifest: version_key(manifest.tool.version))
    return found


def _parse(description: Path) -> tuple[Tool, yaml.Node | None]:
    try:
        text = read_regular(description).decode("utf-8-sig")
        loader = yaml.SafeLoader(text)
        root = loader.get_single_node()
        defects = [f"{description}:{line}: {what}" for line, what in (*doubled_keys(root), *half_characters(text))]
        content = loader.construct_document(root) if root else None  # puts what it merges (<<) first into its tables
    except FileNotFoundError as error:
        raise InvalidInputError(_no_tool(description.parent)) from error
    except OSError as error:
        raise InvalidInputError(f"{description}: cannot be read: {error.strerror}") from error
    except _NOT_YAML as error:
        raise InvalidInputError(_not_yaml(description, error)) from error
    if defects:
        raise InvalidInputError("\n".join(defects))
    try:
        return Tool.model_validate(content), root
    except ValidationError as error:
        lines = [line for loc, text in shape_faults(error) for line in _told(description, root, loc, text)]
        raise InvalidInputError("\n".join(lines)) from error


def _no_tool(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder: name the one that holds the tool's tool.yaml"
    if below := sorted(path.parent.name for path in folder.glob("*/tool.yaml"))[:_SHOWN]:
        return f"{folder} holds no tool.yaml, and tools are below it: name each ({', '.join(below)})"
    return f"{folder} holds no tool.yaml: fedproc catalog new NAME writes a tool to begin with"


def _not_yaml(description: Path, error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f"{description}: not YAML: {error}"
    problem = str(getattr(error, "problem", "") or "")
    begun = getattr(error, "context_mark", None)
    if "\\t" in problem:
        what = "a tab stands here, and YAML is indented by blanks alone: put two blanks in its place"
    else:
        since = f", in what begins in line {begun.line + 1}" if begun is not None and begun.line != mark.line else ""
        what = f"not YAML: {problem}{since}; look for a missing quote, bracket, colon, or another indentation"
    return f"{description}:{mark.line + 1}: {what}"


def _told(description: Path, root: yaml.Node | None, where: _Where, text: str) -> Iterator[str]:
    """A fault of one key; of the whole tool, each relation that does not hold, at the task that it names."""
    if where:
        yield _fault(description, root, where, text)
        return
    for part in re.split(r"; (?=tasks? )", text.removeprefix("Value error, ")):
        yield f"{description}:{_line_of_relation(root, part)}: {part}"


def _fault(description: Path, root: yaml.Node | None, where: _Where, text: str) -> str:
    return f"{description}:{_line(root, where)}: {'.'.join(map(str, where))}: {text}"


def _line_of_relation(root: yaml.Node | None, text: str) -> int:
    """The line of what the text names in the task that it names."""
    named = re.match(r"tasks? ([\w-]+)", text)
    tasks = _child(root, "tasks")
    entries = tasks.value if named and isinstance(tasks, yaml.SequenceNode) else []
    task = next((entry for entry in entries if _scalar(_child(entry, "name")) == named[1]), None) if named else None
    if task is None:
        return _line(root, ("tasks",))
    wanted = re.search(
        r"(?:input|output|connection|port) ([\w-]+)|placeholder (\{[^}]*\})|'([^']+)'",
        text[named.end() :] if named else "",
    )
    word = next(filter(None, wanted.groups()), "") if wanted else ""
    found = [node for node in _scalars(task) if word and word in node.value]
    exact = [node for node in found if node.value == word]
    place: yaml.Node = [*exact, *found, task][0]
    return int(place.start_mark.line) + 1


def _scalar(node: yaml.Node | None) -> str | None:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _scalars(node: yaml.Node) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield from _scalars(entry)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)


def _line(node: yaml.Node | None, where: _Where) -> int:
    """The line of the innermost key of ``where`` that is there."""
    line = node.start_mark.line + 1 if node else 1
    for step in where:
        inner = _child(node, step)
        if inner is None:
            break
        node = inner
        line = node.start_mark.line + 1
    return line


def _child(node: Any, step: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in reversed(node.value) if key.value == str(step)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step]  # type: ignore[no-any-return]
    return None


def _hashes(folder: Path) -> Iterator[SourceFile]:
    left = MAX_BYTES
    for path, entry in _walk(folder):
        left -= entry.st_size
        if left < 0:
            raise InvalidInputError(
                f"{folder}: larger than {MAX_BYTES // 1_000_000} MB; large files belong into images"
            )
        relative = path.relative_to(folder).as_posix()
        if not is_safe_path(relative):
            raise InvalidInputError(f"{path}: this name is not accepted; rename it")
        digest = sha256_of(path)
        yield SourceFile(
            path=relative, sha256=digest, size=entry.st_size, executable=bool(entry.st_mode & stat.S_IXUSR)
        )


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in sorted(folder.iterdir()):
        if path.name in LEFT_OUT or path.name.startswith("."):
            continue
        entry = path.lstat()
        if stat.S_ISDIR(entry.st_mode):
            yield from _walk(path)
        elif stat.S_ISREG(entry.st_mode):
            yield path, entry
        else:
            raise InvalidInputError(f"{path}: neither a regular file nor a folder; put a copy in its place")
