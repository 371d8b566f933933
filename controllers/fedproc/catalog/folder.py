"""A tool's folder: ``tool.yaml`` and the source files beside it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fedproc.common.errors import InvalidInputError
from fedproc.common.files import sha256_of
from fedproc.contract.ids import is_safe_path
from fedproc.contract.tool.tool import Manifest, SourceFile, Tool

MAX_BYTES = 50_000_000
LEFT_OUT = frozenset({"test", "__pycache__"})


def load_tool(folder: Path) -> Manifest:
    """Read and check one tool, and hash its files.

    Left out of the manifest are ``test/``, ``__pycache__`` and dot files. Raises :class:`InvalidInputError` that names
    file, line and key of the first faults.
    """
    description = folder / "tool.yaml"
    tool = _parse(description)
    manifest = Manifest(tool=tool, files=tuple(sorted(_hashes(folder), key=lambda file: file.path)))
    known = {file.path for file in manifest.files}
    for task in tool.tasks:
        for path in (task.runtime.requirements, task.runtime.dockerfile):
            if path is not None and path not in known:
                raise InvalidInputError(f"{description}: task {task.name}: {path} is not in the folder")
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


def version_key(version: str) -> tuple[tuple[int, ...], int, str]:
    """Sorts versions; a pre-release comes before its release."""
    numbers, _, pre = version.partition("-")
    return tuple(map(int, numbers.split("."))), 0 if pre else 1, pre


def _parse(description: Path) -> Tool:
    try:
        text = description.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise InvalidInputError(f"{description}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{description}: not YAML: {error}") from error
    try:
        return Tool.model_validate(content)
    except ValidationError as error:
        lines = [
            f"{description}:{_line(root, entry['loc'])}: {'.'.join(map(str, entry['loc'])) or 'tool'}: {entry['msg']}"
            for entry in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidInputError("\n".join(lines)) from error


def _line(node: yaml.Node | None, where: tuple[int | str, ...]) -> int:
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
        return next((value for key, value in node.value if key.value == str(step)), None)
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
