"""What a tool's programs import that nothing brings: told before a first run, which would end with it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import packages_distributions
from pathlib import Path

from fedproc.contract.tool.tool import Manifest

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*==", re.MULTILINE)

_OTHERWISE = {"skimage": "scikit-image", "sklearn": "scikit-learn", "cv2": "opencv-python-headless", "PIL": "pillow"}
"""packages whose name says nothing of their module's"""


def unknown_imports(manifest: Manifest, folder: Path) -> list[str]:
    """One line for each module that is imported and is none of the tool's own, of Python's, or of a locked package.

    Nothing of a program whose environment an image alone brings, nor of what is imported only where it is there (in a
    ``try``). A package's modules are known by its name, or where it is installed here: "look at", and no fault. Of the
    tool's own packages only what its programs import is looked into: they may be shared, and larger than it needs. What
    a task runs finds the packages of that task; what is imported of the tool's own, those of any.
    """
    own = {part for file in manifest.files for part in Path(file.path).with_suffix("").parts}
    known = own | sys.stdlib_module_names
    installed = packages_distributions() if manifest.requirements else {}
    found: list[str] = []
    for path in sorted(_used(manifest, folder)) if manifest.requirements else ():
        if locks := _locks_of(manifest, path):
            where = f"which is neither in the folder nor in {', '.join(sorted(locks))} under that name"
            names = _unbrought(folder / path, known, _locked(locks, folder), installed)
            found += [f"{path}, line {line}: imports {name}, {where}" for line, name in names]
    return found


def _locks_of(manifest: Manifest, path: str) -> set[str]:
    tasks = manifest.tool.tasks
    running = [task for task in tasks if any(f"{{source}}/{path}" in step for step in (task.command, *task.prepare))]
    return {task.runtime.requirements for task in running or tasks if task.runtime.requirements}


def _unbrought(
    path: Path, known: set[str], locked: set[str], installed: Mapping[str, list[str]]
) -> Iterator[tuple[int, str]]:
    for line, name in _imported(path):
        brought = locked.intersection(map(_normal, installed.get(name, ())))
        near = any(_normal(name) in each for each in locked)  # grpc of grpcio, yaml of pyyaml
        if name not in known and not brought and _OTHERWISE.get(name) not in locked and not near:
            yield line, name


def unreadable(manifest: Manifest, folder: Path) -> Iterator[tuple[str, int, str]]:
    """Of the programs that are used, those that are no Python: path, line, and what Python says of it."""
    for path in sorted(_used(manifest, folder)):
        try:
            ast.parse((folder / path).read_bytes(), path)
        except SyntaxError as error:
            yield path, error.lineno or 1, error.msg
        except ValueError as error:  # as of NUL bytes
            yield path, 1, str(error)
        except (OSError, RecursionError, MemoryError):
            continue


def _used(manifest: Manifest, folder: Path) -> set[str]:
    """What lies in no package, and what that imports of the packages beside it, directly or not.

    All, where a task's own program lies in a package: who knows by which names it finds the others.
    """
    paths = {file.path for file in manifest.files if file.path.endswith(".py")}
    names = {path: _module(path, paths) for path in paths}
    run = {part.removeprefix("{source}/") for task in manifest.tool.tasks for part in task.command}
    if any("." in names[path] for path in paths & run):
        return paths
    waiting = [path for path, name in names.items() if "." not in name and not path.endswith("/__init__.py")]
    used = set(waiting)
    while waiting:
        path = waiting.pop()
        package = names[path] if path.endswith("/__init__.py") else names[path].rpartition(".")[0]
        wanted = _wanted(folder / path, package)
        found = {other for other, name in names.items() if name in wanted} - used
        used |= found
        waiting.extend(found)
    return used


def _module(path: str, paths: set[str]) -> str:
    """As it is imported: below the first folder that is no package."""
    place = Path(path).with_suffix("")
    parts, above = ([] if place.name == "__init__" else [place.name]), place.parent
    while f"{above}/__init__.py" in paths:
        parts.insert(0, above.name)
        above = above.parent
    return ".".join(parts)


def _wanted(path: Path, package: str) -> set[str]:
    """Names of all modules that a file may import, each with the packages that it lies in."""
    found: set[str] = set()
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    parts = [name.split(".") for name in found]
    return {".".join(each[:end]) for each in parts for end in range(1, len(each) + 1)}


def _parsed(path: Path) -> ast.Module:
    """Nothing in it, if it is no Python."""
    try:
        return ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.Module([], [])


def _locked(locks: Iterable[str], folder: Path) -> set[str]:
    texts = [(folder / name).read_text(errors="replace") for name in locks if (folder / name).is_file()]
    return {_normal(name) for text in texts for name in _PINNED.findall(text)}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _imported(path: Path) -> Iterator[tuple[int, str]]:
    """The first word of each module, where it is imported first; nothing of a file that is no Python."""
    seen: set[str] = set()
    for node in _outside_of_tries(_parsed(path)):
        for name in _names(node):
            if name not in seen:
                seen.add(name)
                yield node.lineno, name


def _outside_of_tries(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    queue: list[ast.AST] = [tree]
    while queue:
        node = queue.pop(0)
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif not isinstance(node, ast.Try):
            queue.extend(ast.iter_child_nodes(node))


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    return [] if node.level or not node.module else [node.module.partition(".")[0]]
